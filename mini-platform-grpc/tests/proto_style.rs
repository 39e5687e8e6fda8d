//! The files in `proto/` keep the rules of `proto/README.md`, so that a client author can rely on them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::sync::LazyLock;

use mini_platform_grpc::generated::DESCRIPTORS;
use protox::prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};
use protox::prost_reflect::{DescriptorPool, EnumDescriptor, MessageDescriptor};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap());

fn files() -> impl Iterator<Item = &'static FileDescriptorProto> {
    POOL.file_descriptor_protos().filter(|file| !file.package().starts_with("google."))
}

fn enums() -> impl Iterator<Item = EnumDescriptor> {
    POOL.all_enums()
}

fn messages() -> impl Iterator<Item = MessageDescriptor> {
    POOL.all_messages()
}

/// Writes `JoinRejectionReason` as `JOIN_REJECTION_REASON`.
fn screaming(name: &str) -> String {
    let mut out = String::new();
    for (place, letter) in name.chars().enumerate() {
        if place > 0 && letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

fn is_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

#[test]
fn a_file_is_in_the_folder_of_its_package() {
    assert_eq!(files().count(), 4, "event, worker, cluster and ingest");
    for file in files() {
        assert_eq!((file.package(), file.syntax()), ("mini_platform.v1", "proto3"), "{}", file.name());
        let name = file.name().strip_prefix("mini_platform/v1/").and_then(|name| name.strip_suffix(".proto"));
        assert!(name.is_some_and(is_snake), "{}", file.name());
    }
}

#[test]
fn the_values_of_an_enum_begin_with_its_name_and_zero_is_unspecified() {
    for kind in enums() {
        let prefix = format!("{}_", screaming(kind.name()));
        for value in kind.values() {
            assert!(value.name().starts_with(&prefix), "{} begins with {prefix}", value.name());
            let unspecified = value.name() == format!("{prefix}UNSPECIFIED");
            assert_eq!(value.number() == 0, unspecified, "{} is zero alone", value.name());
        }
        assert_eq!(kind.default_value().number(), 0, "{}", kind.full_name());
    }
}

#[test]
fn a_service_is_called_so_and_each_call_has_messages_of_its_own() {
    let mut taken = HashSet::new();
    for service in POOL.services() {
        assert!(service.name().ends_with("Service") && is_pascal(service.name()), "{}", service.name());
        for call in service.methods() {
            for (message, ending) in [(call.input(), "Request"), (call.output(), "Response")] {
                let short = format!("{}{ending}", call.name());
                let long = format!("{}{short}", service.name());
                let name = message.name().to_owned();
                assert!(name == short || name == long, "{} has {name}", call.full_name());
                assert!(taken.insert(name), "{} shares a message with another call", call.full_name());
            }
        }
    }
}

#[test]
fn names_are_written_as_everybody_expects() {
    for message in messages() {
        assert!(is_pascal(message.name()), "{}", message.full_name());
        for field in message.fields() {
            assert!(is_snake(field.name()), "{}", field.full_name());
        }
        for oneof in message.oneofs() {
            assert!(is_snake(oneof.name().trim_start_matches('_')), "{}", oneof.full_name());
        }
    }
    for value in enums().flat_map(|kind| kind.values().collect::<Vec<_>>()) {
        assert_eq!(value.name(), value.name().to_ascii_uppercase());
    }
}

#[test]
fn a_number_whose_zero_has_a_meaning_can_be_told_from_a_missing_one() {
    for field in messages().flat_map(|message| message.fields().collect::<Vec<_>>()) {
        if field.name().ends_with("_micros") {
            assert!(field.supports_presence(), "{} is a time: make it optional", field.full_name());
        }
    }
}

/// Collects the paths of all that a file declares, as `SourceCodeInfo` numbers them, with a name to complain about.
#[derive(Default)]
struct Declared(Vec<(Vec<i32>, String)>);

impl Declared {
    fn add(&mut self, path: &[i32], more: &[i32], name: &str) -> Vec<i32> {
        let path = [path, more].concat();
        self.0.push((path.clone(), name.to_owned()));
        path
    }

    fn add_message(&mut self, path: &[i32], message: &DescriptorProto) {
        for (place, field) in (0..).zip(&message.field) {
            self.add(path, &[2, place], &format!("{}.{}", message.name(), field.name()));
        }
        for (place, oneof) in (0..).zip(&message.oneof_decl) {
            if !oneof.name().starts_with('_') {
                self.add(path, &[8, place], &format!("{}.{}", message.name(), oneof.name()));
            }
        }
        for (place, nested) in (0..).zip(&message.nested_type) {
            let path = self.add(path, &[3, place], nested.name());
            self.add_message(&path, nested);
        }
        for (place, kind) in (0..).zip(&message.enum_type) {
            let path = self.add(path, &[4, place], kind.name());
            self.add_enum(&path, kind);
        }
    }

    fn add_enum(&mut self, path: &[i32], kind: &EnumDescriptorProto) {
        for (place, value) in (0..).zip(&kind.value) {
            self.add(path, &[2, place], value.name());
        }
    }

    fn of(file: &FileDescriptorProto) -> Self {
        let mut declared = Self::default();
        declared.add(&[], &[12], file.name());
        for (place, message) in (0..).zip(&file.message_type) {
            let path = declared.add(&[], &[4, place], message.name());
            declared.add_message(&path, message);
        }
        for (place, kind) in (0..).zip(&file.enum_type) {
            let path = declared.add(&[], &[5, place], kind.name());
            declared.add_enum(&path, kind);
        }
        for (place, service) in (0..).zip(&file.service) {
            let path = declared.add(&[], &[6, place], service.name());
            for (place, call) in (0..).zip(&service.method) {
                declared.add(&path, &[2, place], call.name());
            }
        }
        declared
    }
}

#[test]
fn everything_that_is_declared_has_a_comment() {
    for file in files() {
        let info = file.source_code_info.as_ref().unwrap();
        let commented: HashSet<&[i32]> = info
            .location
            .iter()
            .filter(|place| {
                let said = |text: &str| text.trim_end().ends_with(['.', '|']);
                said(place.leading_comments())
                    || place.leading_detached_comments.iter().any(|text| said(text))
            })
            .map(|place| place.path.as_slice())
            .collect();
        let declared = Declared::of(file);
        assert!(declared.0.len() > 5, "{} declares something", file.name());
        for (path, name) in declared.0 {
            assert!(
                commented.contains(path.as_slice()),
                "{}: {name} has no comment of sentences",
                file.name()
            );
        }
    }
}
