//! Makes the section structs and the reading of them from one table of keys.

/// Declares the configuration. A row is `"path" = "default" => field: Type as Kind;`.
///
/// For each section it makes a struct of the fields, and for all of them a `Config`. The doc comment of a
/// row documents the field and is the help text of the key.
macro_rules! config_table {
    ($(
        $(#[doc = $section_help:literal])+
        $section:ident: $Section:ident {
            $(
                $(#[doc = $help:literal])+
                $path:literal = $default:literal => $field:ident: $Type:ty as $kind:expr;
            )+
        }
    )+) => {
        /// The configuration that is in effect, by section.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Config {
            $( $(#[doc = $section_help])+ pub $section: $Section, )+
        }

        impl Config {
            fn read(reader: &mut Reader) -> Option<Self> {
                $( let $section = $Section::read(reader); )+
                Some(Self { $( $section: $section?, )+ })
            }
        }

        $(
            $(#[doc = $section_help])+
            #[derive(Debug, Clone, PartialEq)]
            pub struct $Section {
                $( $(#[doc = $help])+ pub $field: $Type, )+
            }

            impl $Section {
                fn read(reader: &mut Reader) -> Option<Self> {
                    let section_help = &[$($section_help),+];
                    $(
                        let key = Key { path: $path, default: $default, help: &[$($help),+], section_help };
                        let $field = reader.read(key, &$kind);
                    )+
                    Some(Self { $( $field: $field?, )+ })
                }
            }
        )+
    };
}

pub(super) use config_table;
