//! Values: postcard behind a byte that names the form, so that the form can change.
//!
//! What is read goes through the constructors of the domain, so that damaged data is a fault and not a value
//! that cannot be.

use std::borrow::Cow;

use mini_platform_core::domain::{
    Amount, BranchId, ClientId, DeathCause, Event, EventDetails, EventId, ListEntry, ListVersion, OccurredAt,
    OperationType, ParcelContent, ParcelId, ParkReason, StoredEvent, Timestamp,
};
use mini_platform_core::lanes::{Held, Pause, Record, RecordState};
use serde::{Deserialize, Serialize};

use crate::error::BadRecord;
use crate::parking_lot::OnDisk;

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

/// A parcel without its id, which is the key, and without its content. Reasons are kept by their wire names.
#[derive(Serialize, Deserialize)]
struct ParcelRecord<'a> {
    client: &'a str,
    bytes: u16,
    reason: &'a str,
    attempts: u32,
    parked_at: Timestamp,
    #[serde(borrow)]
    state: ParcelState<'a>,
}

#[derive(Serialize, Deserialize)]
enum ParcelState<'a> {
    /// With the beginning and the end of a pause.
    Parked {
        sequence: u64,
        pause: Option<(Timestamp, Timestamp)>,
    },
    Dead {
        cause: &'a str,
        died_at: Timestamp,
    },
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

/// Writes the value of a parcel.
pub(crate) fn write_parcel(parcel: &Record<OnDisk>) -> Vec<u8> {
    let held = &parcel.held;
    let state = match parcel.state {
        RecordState::Parked { sequence, pause } => {
            ParcelState::Parked { sequence, pause: pause.map(|pause| (pause.since, pause.until)) }
        }
        RecordState::Dead { cause, died_at } => ParcelState::Dead { cause: cause.as_str(), died_at },
    };
    let record = ParcelRecord {
        client: held.client.as_str(),
        bytes: held.content.0,
        reason: held.reason.as_str(),
        attempts: held.attempts,
        parked_at: held.parked_at,
        state,
    };
    let mut out = Vec::new();
    encode(&record, &mut out);
    out
}

/// Reads a parcel.
pub(crate) fn read_parcel(key: &[u8], bytes: &[u8]) -> Result<Record<OnDisk>, BadRecord> {
    let record: ParcelRecord<'_> = decode("parcels", bytes)?;
    let restored = key.try_into().ok().and_then(|id| restore_parcel(ParcelId::from_bytes(id), &record));
    restored.ok_or(BadRecord { keyspace: "parcels", reason: "it is no valid parcel" })
}

fn restore_parcel(id: ParcelId, record: &ParcelRecord<'_>) -> Option<Record<OnDisk>> {
    let held = Held {
        id,
        client: ClientId::new(record.client).ok()?,
        content: OnDisk(record.bytes),
        reason: ParkReason::from_name(record.reason)?,
        attempts: record.attempts,
        parked_at: record.parked_at,
    };
    let state = match record.state {
        ParcelState::Parked { sequence, pause } => {
            RecordState::Parked { sequence, pause: pause.map(|(since, until)| Pause { since, until }) }
        }
        ParcelState::Dead { cause, died_at } => {
            RecordState::Dead { cause: DeathCause::from_name(cause)?, died_at }
        }
    };
    Some(Record { held, state })
}

/// Writes the content of a parcel, as it is.
pub(crate) fn write_content(content: &ParcelContent) -> Vec<u8> {
    [&[FORM], content.as_bytes()].concat()
}

/// Reads the content of a parcel.
pub(crate) fn read_content(bytes: &[u8]) -> Result<ParcelContent, BadRecord> {
    let bad = |reason| BadRecord { keyspace: "contents", reason };
    let content = bytes.strip_prefix(&[FORM]).ok_or(bad("its form is unknown"))?;
    ParcelContent::new(content.to_vec()).map_err(|_| bad("it is too long"))
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

    fn parcels() -> [Record<OnDisk>; 3] {
        let held = Held {
            id: ParcelId::from_bytes([7; 16]),
            client: ClientId::new("Ann 🦀").unwrap(),
            content: OnDisk(300),
            reason: ParkReason::Timeout,
            attempts: 3,
            parked_at: at(-5),
        };
        let pause = Some(Pause { since: at(1), until: at(9) });
        [
            RecordState::Parked { sequence: u64::MAX, pause },
            RecordState::Parked { sequence: 0, pause: None },
            RecordState::Dead { cause: DeathCause::Undecodable, died_at: at(7) },
        ]
        .map(|state| Record { held: held.clone(), state })
    }

    #[test]
    fn a_parcel_survives_its_record() {
        for parcel in parcels() {
            let written = write_parcel(&parcel);
            assert_eq!(read_parcel(&[7; 16], &written), Ok(parcel));
            assert!(read_parcel(&[7; 15], &written).is_err(), "its key is its id");
            for length in 0..written.len() {
                assert!(read_parcel(&[7; 16], &written[..length]).is_err(), "cut to {length}");
            }
        }
    }

    #[test]
    fn the_form_of_parcels_on_the_disk_stays_as_it_is() {
        let [waiting, _, dead] = parcels().map(|parcel| write_parcel(&parcel));
        let expected: &[u8] =
            b"\x01\x08Ann \xf0\x9f\xa6\x80\xac\x02\x07timeout\x03\x09\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x02\x12";
        assert_eq!(waiting, expected);
        let expected: &[u8] =
            b"\x01\x08Ann \xf0\x9f\xa6\x80\xac\x02\x07timeout\x03\x09\x01\x0bundecodable\x0e";
        assert_eq!(dead, expected);
    }

    #[test]
    fn contents_are_kept_as_they_are() {
        for content in [&b""[..], b"\xff\0", &[1; 16 * 1024]] {
            let content = ParcelContent::new(content.to_vec()).unwrap();
            assert_eq!(read_content(&write_content(&content)), Ok(content));
        }
        assert!(read_content(b"").is_err() && read_content(b"\x02x").is_err());
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
                let _ = read_parcel(&[7; 16], bytes);
                let _ = read_content(bytes);
            }
        }
    }
}
