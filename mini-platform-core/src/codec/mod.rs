//! The forms in which events outlive this program: records of the long-term log and parcels of the parking lot.
//!
//! Both are JSON with the number of their schema, so that people can read them and later programs can, too. An event
//! looks as over HTTP. To change a form: add the next number, write that, and keep on reading the older ones.

mod event_json;
mod parcel;
mod record;

pub use parcel::{PARCEL_SCHEMA, ParkedEvent};
pub use record::RECORD_SCHEMA;

/// A text is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is no JSON of this form, or breaks a rule of its fields.
    #[error("not of its form")]
    Form(#[source] InvalidForm),
    /// It is of a schema that this program does not know.
    #[error("schema {found} is none of 1 to {newest}; read it with a newer program")]
    Schema {
        /// The schema that it says.
        found: u32,
        /// The newest one that is known here.
        newest: u32,
    },
}

/// Says where a text leaves its form, and never what stands there.
#[derive(Debug, thiserror::Error)]
#[error("{category} at line {line} column {column}")]
pub struct InvalidForm {
    category: &'static str,
    line: usize,
    column: usize,
}

impl From<serde_json::Error> for DecodeError {
    /// Keeps the place: the message of the error may quote what was read, such as names.
    fn from(error: serde_json::Error) -> Self {
        let category = match error.classify() {
            serde_json::error::Category::Io => "a failed read",
            serde_json::error::Category::Syntax => "no JSON",
            serde_json::error::Category::Data => "a field that breaks its rule",
            serde_json::error::Category::Eof => "an early end",
        };
        Self::Form(InvalidForm { category, line: error.line(), column: error.column() })
    }
}

/// Reads the number of the schema before anything else, because the rest depends on it.
fn schema_of(text: &[u8], newest: u32) -> Result<u32, DecodeError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        schema: u32,
    }
    let Versioned { schema: found } = serde_json::from_slice(text)?;
    if (1..=newest).contains(&found) { Ok(found) } else { Err(DecodeError::Schema { found, newest }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        Event, EventScreening, ListEntry, LogRecord, OccurredAt, Outcome, ParcelContent, PartyRole, WorkerId,
    };
    use crate::testkit::{at, list_version, transfer, untimed_transfer, withdrawal};

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn parked(event: Event) -> ParkedEvent {
        ParkedEvent { event, received_at: at(5), trace: TRACE.parse().ok() }
    }

    fn record(event: Event, outcome: Outcome, screening: EventScreening) -> LogRecord {
        LogRecord {
            event,
            outcome,
            screening,
            recorded_at: (outcome == Outcome::Stored).then(|| at(7)),
            worker: WorkerId::LOCAL,
            received_at: at(5),
            finished_at: at(6),
            trace: TRACE.parse().unwrap(),
        }
    }

    fn content(text: &str) -> ParcelContent {
        ParcelContent::new(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn an_event_comes_out_of_a_parcel_as_it_went_in() {
        let name = "Ω'%/\\\"🦀 محمد";
        for event in [
            transfer("t", name, "bob", -3),
            untimed_transfer("u", "ann", name, 3),
            withdrawal("w", name, "Hl.m. Praha", 5),
        ] {
            for trace in [TRACE.parse().ok(), None] {
                let parked = ParkedEvent { trace, ..parked(event.clone()) };
                assert_eq!(ParkedEvent::decode(&parked.encode().unwrap()).unwrap(), parked);
            }
        }
    }

    #[test]
    fn parcels_of_the_first_schema_are_read() {
        let text = r#"{"schema":1,"event":{"type":"transaction","id":"t","sender":"ann","receiver":"bob","amount":100,"currency":"EUR","occurred_at":"1970-01-01T00:00:05Z"},"received_at":"1970-01-01T00:00:06Z"}"#;
        let parked = ParkedEvent::decode(&content(text)).unwrap();
        assert_eq!((parked.event.id().as_str(), parked.received_at, parked.trace), ("t", at(6), None));
        assert_eq!(parked.event.occurred_at(), OccurredAt::Given(at(5)));
    }

    #[test]
    fn what_is_no_parcel_is_refused_without_being_quoted() {
        let good = parked(transfer("t", "Ann", "Bob", 1)).encode().unwrap();
        let good = std::str::from_utf8(good.as_bytes()).unwrap();
        for text in [
            "",
            "garbage",
            "{}",
            "\u{0}\u{1}",
            &good.replace("\"Bob\"", "\"Ann\""),
            &good.replace("\"Bob\"", "\" Bob\""),
            &good.replace("\"amount\":", "\"amuont\":"),
            &good.replace("transaction", "operation"),
            &good.replace("1970", "19 70"),
            &good[..good.len() - 1],
        ] {
            let error = ParkedEvent::decode(&content(text)).unwrap_err();
            let text = crate::error::Causes(&error).to_string();
            assert!(text.starts_with("not of its form: ") && !text.contains("Ann"), "{text}");
        }
        for schema in [0, PARCEL_SCHEMA + 1] {
            let text = good.replace("\"schema\":2", &format!("\"schema\":{schema}"));
            assert!(
                matches!(ParkedEvent::decode(&content(&text)), Err(DecodeError::Schema { .. })),
                "{schema}"
            );
        }
    }

    #[test]
    fn a_record_comes_out_of_its_json_as_it_went_in() {
        let version = list_version(3);
        let entry = ListEntry::new("Mallory \"Mole\"").unwrap();
        let hit = |party| EventScreening::Hit { version: version.clone(), party, entry: entry.clone() };
        for record in [
            record(
                transfer("t", "ann", "bob", 1),
                Outcome::Stored,
                EventScreening::Clear { version: version.clone() },
            ),
            record(transfer("t", "ann", "bob", 1), Outcome::Fraudulent, hit(PartyRole::Sender)),
            record(transfer("t", "ann", "bob", 1), Outcome::Fraudulent, hit(PartyRole::Receiver)),
            record(withdrawal("w", "ann", "north", 1), Outcome::Fraudulent, hit(PartyRole::Withdrawer)),
            record(
                crate::testkit::deposit("d", "ann", "north", 1),
                Outcome::Conflict,
                hit(PartyRole::Depositor),
            ),
            record(
                withdrawal("w", "ann", "north", 1),
                Outcome::Duplicate,
                EventScreening::None { version: version.clone() },
            ),
        ] {
            let json = record.to_json();
            assert!(!json.contains(&b'\n'), "a record is one line");
            assert_eq!(LogRecord::from_json(&json).unwrap(), record);
        }
    }

    #[test]
    fn a_record_looks_as_it_is_documented() {
        let screening = EventScreening::Clear { version: list_version(3) };
        let json = record(transfer("t", "ann", "bob", 1), Outcome::Stored, screening).to_json();
        let json = String::from_utf8(json).unwrap();
        let version = list_version(3);
        assert_eq!(
            json,
            format!(
                r#"{{"schema":1,"event":{{"type":"transaction","id":"t","sender":"ann","receiver":"bob","amount":{amount},"currency":"{currency}","occurred_at":"1970-01-01T00:00:01Z"}},"outcome":"stored","screening":{{"list_version":"{version}","verdict":"clear"}},"worker":"local","received_at":"1970-01-01T00:00:05Z","finished_at":"1970-01-01T00:00:06Z","recorded_at":"1970-01-01T00:00:07Z","trace":"{TRACE}"}}"#,
                amount = transfer("t", "ann", "bob", 1).amount().minor_units(),
                currency = transfer("t", "ann", "bob", 1).currency(),
            )
        );
    }
}
