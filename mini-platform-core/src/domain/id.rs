//! Identifiers of events, clients and branches.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// The longest event id, in bytes.
///
/// Long enough for a UUID with a prefix; short enough to be part of every index key.
pub const MAX_EVENT_ID_BYTES: usize = 64;

/// The longest client or branch id, in bytes of UTF-8.
///
/// Ids are often real names; the longest legal names on record stay below this.
pub const MAX_NAME_BYTES: usize = 256;

/// Says which rule a text broke on its way to becoming an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    /// There was no text.
    #[error("must not be empty")]
    Empty,
    /// The text has more bytes than the limit.
    #[error("must be at most {max} bytes long, got {actual}")]
    TooLong {
        /// The limit, in bytes.
        max: usize,
        /// What was given, in bytes.
        actual: usize,
    },
    /// A byte is outside of printable ASCII, or is a space.
    #[error("must be printable ASCII without spaces")]
    NotPrintableAscii,
    /// A control character is in the text.
    #[error("must not contain control characters")]
    ControlCharacter,
    /// White space is at the start or the end.
    #[error("must not start or end with white space")]
    OuterWhiteSpace,
}

fn check_length(text: &str, max: usize) -> Result<(), InvalidId> {
    match text.len() {
        0 => Err(InvalidId::Empty),
        actual if actual > max => Err(InvalidId::TooLong { max, actual }),
        _ => Ok(()),
    }
}

fn check_event_id(text: &str) -> Result<(), InvalidId> {
    check_printable(text, MAX_EVENT_ID_BYTES)
}

pub(super) fn check_printable(text: &str, max: usize) -> Result<(), InvalidId> {
    check_length(text, max)?;
    if text.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(()) } else { Err(InvalidId::NotPrintableAscii) }
}

pub(super) fn check_name(text: &str, max: usize) -> Result<(), InvalidId> {
    check_length(text, max)?;
    if text.chars().any(char::is_control) {
        return Err(InvalidId::ControlCharacter);
    }
    if text.trim().len() != text.len() {
        return Err(InvalidId::OuterWhiteSpace);
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "SmolStr", into = "SmolStr")]
        pub struct $name(SmolStr);

        impl $name {
            /// Checks a text and makes an id of it.
            ///
            /// # Errors
            /// Says the first rule that the text breaks.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                let check: fn(&str) -> Result<(), InvalidId> = $check;
                check(text)?;
                Ok(Self(SmolStr::new(text)))
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<SmolStr> for $name {
            type Error = InvalidId;
            fn try_from(text: SmolStr) -> Result<Self, InvalidId> {
                let check: fn(&str) -> Result<(), InvalidId> = $check;
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for SmolStr {
            fn from(id: $name) -> SmolStr {
                id.0
            }
        }
    };
}

text_id! {
    /// The idempotency key of an event: 1–64 bytes of printable ASCII without spaces.
    ///
    /// The submitter makes it and keeps it on a resend.
    EventId, check_event_id
}

text_id! {
    /// A client of a bank: 1–256 bytes of UTF-8 without control characters or outer white space.
    ///
    /// Often a real name, so its `Debug` form hides it; show it with [`ClientId::as_str`], never in a log.
    ClientId, |text| check_name(text, MAX_NAME_BYTES)
}

text_id! {
    /// A branch of a bank: same rules as [`ClientId`].
    BranchId, |text| check_name(text, MAX_NAME_BYTES)
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({})", self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientId(<redacted>)")
    }
}

impl fmt::Debug for BranchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BranchId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_printable_ascii_of_at_most_64_bytes() {
        assert!(EventId::new("a".repeat(64)).is_ok());
        assert_eq!(EventId::new(""), Err(InvalidId::Empty));
        assert_eq!(EventId::new("a".repeat(65)), Err(InvalidId::TooLong { max: 64, actual: 65 }));
        for text in ["a b", "ž", "a\n", "\u{7f}"] {
            assert_eq!(EventId::new(text), Err(InvalidId::NotPrintableAscii), "{text:?} must be refused");
        }
    }

    #[test]
    fn a_client_id_takes_real_names() {
        for name in ["Václav Novák", "O'Neil / \"Sons\" 100%", "🦀", "محمد", "a".repeat(256).as_str()]
        {
            assert!(ClientId::new(name).is_ok(), "{name} must be taken");
        }
    }

    #[test]
    fn a_client_id_has_no_control_characters_or_outer_white_space() {
        assert_eq!(ClientId::new("a\u{0}b"), Err(InvalidId::ControlCharacter));
        assert_eq!(ClientId::new("a\u{85}"), Err(InvalidId::ControlCharacter));
        assert_eq!(ClientId::new(" a"), Err(InvalidId::OuterWhiteSpace));
        assert_eq!(ClientId::new("a\u{3000}"), Err(InvalidId::OuterWhiteSpace));
        assert_eq!(ClientId::new("é".repeat(129)), Err(InvalidId::TooLong { max: 256, actual: 258 }));
    }

    #[test]
    fn debug_output_never_shows_a_client() {
        let client = ClientId::new("Václav Novák").unwrap();
        assert!(!format!("{client:?}").contains("Novák"));
    }
}
