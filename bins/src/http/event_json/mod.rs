//! One JSON event, parsed in one pass: no intermediate value, strings borrowed where they can be.
//!
//! Whatever is well-formed JSON is read to its end, and the first thing that is wrong with it is reported, with a
//! pointer to the field: `fields` knows the rules, `scalar` what JSON can hold.

mod fields;
mod scalar;
#[cfg(test)]
mod tests;

use std::fmt;

use mini_platform_core::domain::{Currency, Event, EventId};
use mini_platform_core::port::Clock;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use self::fields::Fields;
use self::scalar::{Key, Scalar};
use super::problem::{Code, Rejection};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Sets transactions and operations apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Transaction,
    Operation,
}

impl Kind {
    /// Returns the wire name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Operation => "operation",
        }
    }
}

/// What a parser must know besides the text.
#[derive(Clone)]
pub(crate) struct EventRules<'a> {
    /// The kind that the route takes; `None` when each event says its own.
    pub(crate) kind: Option<Kind>,
    /// The id that was sent beside the body.
    pub(crate) key: Option<EventId>,
    /// The currency of an event that names none.
    pub(crate) default_currency: Currency,
    /// Tells when an event was received.
    pub(crate) clock: &'a dyn Clock,
}

impl fmt::Debug for EventRules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRules").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// An event that is wrong, under its id when that much is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectedEvent {
    pub(crate) id: Option<EventId>,
    pub(crate) rejection: Rejection,
}

/// Parses one event.
///
/// # Errors
/// Says the first thing that is wrong.
pub(crate) fn parse_event(json: &[u8], rules: &EventRules<'_>) -> Result<Event, Box<RejectedEvent>> {
    let mut fields = Fields::default();
    let event = read(json, &mut fields).and_then(|()| fields.event(rules));
    event.map_err(|rejection| Box::new(RejectedEvent { id: fields.id(rules), rejection }))
}

/// Reads a text into fields; what is wrong inside of an object is noted there.
fn read(json: &[u8], fields: &mut Fields) -> Result<(), Rejection> {
    let json = without_mark(json);
    if json.iter().all(u8::is_ascii_whitespace) {
        return Err(Rejection::new(Code::InvalidJson, "There is no event here; send a JSON object."));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let top =
        deserializer.deserialize_any(EventVisitor(fields)).and_then(|top| deserializer.end().map(|()| top));
    match top {
        Ok(None) => Ok(()),
        Ok(Some(found)) => {
            Err(Rejection::new(Code::InvalidJson, format!("An event is a JSON object, found {found}.")))
        }
        Err(error) => stopped(&error, json, fields),
    }
}

/// Drops the byte order mark that some editors write.
pub(crate) fn without_mark(json: &[u8]) -> &[u8] {
    json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json)
}

/// Says where a text stops being JSON. The parser's message holds nothing of the text.
pub(super) fn broken(error: &serde_json::Error) -> Rejection {
    let (reason, line, column) = (reason(&error.to_string()).to_owned(), error.line(), error.column());
    let place = if line > 1 { format!("line {line}, column {column}") } else { format!("column {column}") };
    Rejection::new(Code::InvalidJson, format!("This is not JSON: {reason}, at {place}."))
}

/// Returns a message of the parser without the place.
fn reason(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(reason, _)| reason)
}

/// Says what is wrong where parsing stopped: a number that no type can hold is JSON all the same, if what follows is.
fn stopped(error: &serde_json::Error, json: &[u8], fields: &mut Fields) -> Result<(), Rejection> {
    match fields.current {
        Some(field) if reason(&error.to_string()) == "number out of range" => {
            serde_json::from_slice::<IgnoredAny>(json).map_err(|error| broken(&error))?;
            fields.take(field, &Scalar::Fraction);
            Ok(())
        }
        _ => Err(broken(error)),
    }
}

/// Reads an object into fields, or says what else there is.
struct EventVisitor<'f>(&'f mut Fields);

impl<'de> Visitor<'de> for EventVisitor<'_> {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let fields = self.0;
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Known(field) => {
                    fields.current = Some(field);
                    let value = map.next_value::<Scalar<'de>>()?;
                    fields.take(field, &value);
                    fields.current = None;
                }
                Key::Unknown(name) => {
                    map.next_value::<IgnoredAny>()?;
                    fields.note_unknown(&name);
                }
            }
        }
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some("an array"))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Some("text"))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Some("true or false"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Some("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Some("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Some("a number"))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Some("null"))
    }
}
