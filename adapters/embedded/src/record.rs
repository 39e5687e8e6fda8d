//! Values: postcard behind a byte that names the form, so that the form can change.
//!
//! What is read goes through the constructors of the domain, so that damaged data is a fault and not a value
//! that cannot be.

use std::borrow::Cow;

use mini_platform_core::domain::{
    Amount, BranchId, ClientId, Event, EventDetails, EventId, ListEntry, ListVersion, OccurredAt,
    OperationType, StoredEvent, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::error::BadRecord;

/// First byte of every value.
const FORM: u8 = 1;

#[derive(Serialize, Deserialize)]
enum DetailsRecord<'a> {
    Transaction { sender: &'a str, receiver: &'a str },
    Operation { client: &'a str, branch: &'a str, operation: OperationType },
}

/// An event without its id, which is the key.
#[derive(Serialize, Deserialize)]
struct EventRecord<'a> {
    #[serde(borrow)]
    details: DetailsRecord<'a>,
    amount: i64,
    currency: &'a str,
    occurred_at: OccurredAt,
    recorded_at: Timestamp,
}

/// One fraud list that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptList {
    /// Leads the keys of its chunks.
    pub(crate) number: u64,
    pub(crate) chunks: u32,
    pub(crate) version: ListVersion,
    pub(crate) entries: u64,
    pub(crate) source: String,
    pub(crate) loaded_at: Timestamp,
}

/// Which fraud lists are kept, and which of them is in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct ListsRecord {
    /// The newest publication that was ever held.
    pub(crate) newest: Option<ListVersion>,
    /// The number of the list in force, one of `kept`.
    pub(crate) in_force: Option<u64>,
    /// Newest publication first.
    pub(crate) kept: Vec<KeptList>,
}

fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    out.clear();
    out.push(FORM);
    let encoded = postcard::to_extend(value, std::mem::take(out));
    debug_assert!(encoded.is_ok(), "a vector takes any value");
    *out = encoded.unwrap_or_default();
}

fn decode<'a, T: Deserialize<'a>>(keyspace: &'static str, bytes: &'a [u8]) -> Result<T, BadRecord> {
    let bad = |reason| BadRecord { keyspace, reason };
    let (form, value) = bytes.split_first().ok_or(bad("it is empty"))?;
    if *form != FORM {
        return Err(bad("its form is unknown"));
    }
    let (value, rest) = postcard::take_from_bytes(value).map_err(|_| bad("it cannot be decoded"))?;
    if rest.is_empty() { Ok(value) } else { Err(bad("it is too long")) }
}

/// Writes the value of an event.
pub(crate) fn write_event(event: &Event, recorded_at: Timestamp, out: &mut Vec<u8>) {
    let details = match event.details() {
        EventDetails::Transaction { sender, receiver } => {
            DetailsRecord::Transaction { sender: sender.as_str(), receiver: receiver.as_str() }
        }
        EventDetails::Operation { client, branch, operation } => DetailsRecord::Operation {
            client: client.as_str(),
            branch: branch.as_str(),
            operation: *operation,
        },
    };
    let record = EventRecord {
        details,
        amount: event.amount().minor_units(),
        currency: event.currency().code(),
        occurred_at: event.occurred_at(),
        recorded_at,
    };
    encode(&record, out);
}

/// Reads the value of an event.
pub(crate) fn read_event(id: EventId, bytes: &[u8]) -> Result<StoredEvent, BadRecord> {
    let record: EventRecord<'_> = decode("events", bytes)?;
    let recorded_at = record.recorded_at;
    let event =
        restore(id, &record).ok_or(BadRecord { keyspace: "events", reason: "it is no valid event" })?;
    Ok(StoredEvent { event, recorded_at })
}

fn restore(id: EventId, record: &EventRecord<'_>) -> Option<Event> {
    let amount = Amount::from_minor_units(record.amount).ok()?;
    let currency = record.currency.parse().ok()?;
    match record.details {
        DetailsRecord::Transaction { sender, receiver } => {
            let (sender, receiver) = (ClientId::new(sender).ok()?, ClientId::new(receiver).ok()?);
            Event::transaction(id, sender, receiver, amount, currency, record.occurred_at).ok()
        }
        DetailsRecord::Operation { client, branch, operation } => {
            let (client, branch) = (ClientId::new(client).ok()?, BranchId::new(branch).ok()?);
            Some(Event::operation(id, client, branch, operation, amount, currency, record.occurred_at))
        }
    }
}

/// Writes the value of a link: its latest time.
pub(crate) fn write_link(at: Timestamp, out: &mut Vec<u8>) {
    encode(&at, out);
}

/// Reads the value of a link.
pub(crate) fn read_link(bytes: &[u8]) -> Result<Timestamp, BadRecord> {
    decode("links", bytes)
}

/// Writes a time that is kept for itself.
pub(crate) fn write_time(at: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&at, &mut out);
    out
}

/// Reads a time that is kept for itself.
pub(crate) fn read_time(bytes: &[u8]) -> Result<Timestamp, BadRecord> {
    decode("meta", bytes)
}

/// Writes a chunk of a fraud list.
pub(crate) fn write_chunk(entries: &[ListEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    let texts: Vec<&str> = entries.iter().map(ListEntry::as_str).collect();
    encode(&texts, &mut out);
    out
}

/// Reads a chunk of a fraud list.
pub(crate) fn read_chunk(bytes: &[u8]) -> Result<Vec<ListEntry>, BadRecord> {
    let texts: Vec<Cow<'_, str>> = decode("lists", bytes)?;
    let entries: Result<_, _> = texts.iter().map(ListEntry::new).collect();
    entries.map_err(|_| BadRecord { keyspace: "lists", reason: "it holds an invalid entry" })
}

/// Writes which lists there are.
pub(crate) fn write_lists(lists: &ListsRecord) -> Vec<u8> {
    let mut out = Vec::new();
    encode(lists, &mut out);
    out
}

/// Reads which lists there are.
pub(crate) fn read_lists(bytes: &[u8]) -> Result<ListsRecord, BadRecord> {
    decode("meta", bytes)
}

#[cfg(test)]
mod tests {
    use mini_platform_core::domain::Etag;
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    fn id() -> EventId {
        EventId::new("e1").unwrap()
    }

    fn transfer() -> Event {
        let (ann, bob) = (ClientId::new("Ann 🦀").unwrap(), ClientId::new("بوب").unwrap());
        let amount = Amount::from_minor_units(i64::MAX).unwrap();
        Event::transaction(id(), ann, bob, amount, "CZK".parse().unwrap(), OccurredAt::Given(at(-5))).unwrap()
    }

    fn withdrawal() -> Event {
        let (ann, branch) = (ClientId::new("ann").unwrap(), BranchId::new("Hl.m. Praha").unwrap());
        let amount = Amount::from_minor_units(1).unwrap();
        let received = OccurredAt::Received(at(1));
        Event::operation(id(), ann, branch, OperationType::Withdraw, amount, "JPY".parse().unwrap(), received)
    }

    fn written(event: &Event) -> Vec<u8> {
        let mut out = Vec::new();
        write_event(event, at(9), &mut out);
        out
    }

    #[test]
    fn an_event_survives_its_record() {
        for event in [transfer(), withdrawal()] {
            let stored = read_event(id(), &written(&event)).unwrap();
            assert_eq!(stored, StoredEvent { event, recorded_at: at(9) });
        }
    }

    #[test]
    fn lists_survive_their_records() {
        let version = ListVersion::new(at(3), Etag::new("v3").unwrap());
        let kept = vec![KeptList {
            number: 7,
            chunks: 1,
            version: version.clone(),
            entries: 2,
            source: "file:x".into(),
            loaded_at: at(4),
        }];
        let lists = ListsRecord { newest: Some(version.clone()), in_force: Some(7), kept };
        let mut as_always = Vec::new();
        let list = (7_u64, 1_u32, (&version, 2_u64, "file:x", at(4)));
        encode(&(Some(&version), Some(7_u64), vec![list]), &mut as_always);
        assert_eq!(write_lists(&lists), as_always, "folders keep the form of their lists");
        assert_eq!(read_lists(&write_lists(&lists)), Ok(lists));
        let entries = vec![ListEntry::new("Ann").unwrap(), ListEntry::new("Б").unwrap()];
        assert_eq!(read_chunk(&write_chunk(&entries)), Ok(entries));
    }

    #[test]
    fn a_record_that_is_cut_or_longer_is_refused() {
        let whole = written(&transfer());
        for length in 0..whole.len() {
            assert!(read_event(id(), &whole[..length]).is_err(), "cut to {length}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert_eq!(read_event(id(), &longer).unwrap_err().reason, "it is too long");
    }

    #[test]
    fn a_record_of_an_unknown_form_is_refused() {
        let mut record = written(&transfer());
        record[0] = FORM + 1;
        assert_eq!(read_event(id(), &record).unwrap_err().reason, "its form is unknown");
    }

    #[test]
    fn a_record_that_is_no_valid_event_is_refused() {
        let record = EventRecord {
            details: DetailsRecord::Transaction { sender: "ann", receiver: "ann" },
            amount: 1,
            currency: "EUR",
            occurred_at: OccurredAt::Given(at(0)),
            recorded_at: at(0),
        };
        let mut out = Vec::new();
        encode(&record, &mut out);
        assert_eq!(read_event(id(), &out).unwrap_err().reason, "it is no valid event");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let formed = [&[FORM], bytes.as_slice()].concat();
            for bytes in [&bytes, &formed] {
                let _ = read_event(id(), bytes);
                let _ = read_link(bytes);
                let _ = read_chunk(bytes);
                let _ = read_lists(bytes);
            }
        }
    }
}
