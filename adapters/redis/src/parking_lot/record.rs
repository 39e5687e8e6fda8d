//! A parcel as its record in Redis.
//!
//! ```text
//! sequence (6 bytes) | attempts (4) | reason (1) | parked at (7) | lease under which it was settled last (7)
//! | cause of death, 0 while it is parked (1) | died at (7) | length of the client (2) | client | content
//! ```
//!
//! Numbers are big-endian, times microseconds since 1970. Scripts write records; here they are only read.

use mini_platform_core::domain::{
    ClientId, DeadLetter, DeathCause, Parcel, ParcelContent, ParcelId, ParkReason, ParkedParcel, Timestamp,
};

use crate::error::Failure;

/// What is answered where a record is none that this program writes.
const INVALID: Failure = Failure::Corrupt("a parked event is none that this program writes");

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) parked: ParkedParcel,
    /// Why and when it died, if it is dead.
    death: Option<(DeathCause, Timestamp)>,
}

impl Record {
    pub(super) fn read(id: &[u8], record: &[u8]) -> Result<Self, Failure> {
        Self::parse(id, record).ok_or(INVALID)
    }

    fn parse(id: &[u8], record: &[u8]) -> Option<Self> {
        let id = ParcelId::from_bytes(id.try_into().ok()?);
        let (_sequence, rest) = number::<6>(record)?;
        let (attempts, rest) = number::<4>(rest)?;
        let (reason, rest) = number::<1>(rest)?;
        let (parked_at, rest) = number::<7>(rest)?;
        let (_lease, rest) = number::<7>(rest)?;
        let (cause, rest) = number::<1>(rest)?;
        let (died_at, rest) = number::<7>(rest)?;
        let (length, rest) = number::<2>(rest)?;
        let (client, content) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let parcel = Parcel {
            id,
            client: ClientId::new(std::str::from_utf8(client).ok()?).ok()?,
            content: ParcelContent::new(content.to_vec()).ok()?,
            reason: ParkReason::ALL.into_iter().find(|known| u64::from(reason_code(*known)) == reason)?,
        };
        let attempts = u32::try_from(attempts).ok()?;
        let parked = ParkedParcel { parcel, attempts, parked_at: timestamp(parked_at).ok()? };
        let death = match cause {
            0 => None,
            code => Some((cause_of(code)?, timestamp(died_at).ok()?)),
        };
        Some(Self { parked, death })
    }

    /// Returns the dead letter, if the parcel is one.
    pub(super) fn dead_letter(self) -> Option<DeadLetter> {
        let (cause, died_at) = self.death?;
        Some(DeadLetter { parked: self.parked, cause, died_at })
    }
}

/// Takes a number of so many bytes off the front.
fn number<const BYTES: usize>(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<BYTES>()?;
    Some((number.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)), rest))
}

/// Reads a time of the server.
pub(super) fn timestamp(micros: u64) -> Result<Timestamp, Failure> {
    let micros = i64::try_from(micros).map_err(|_| INVALID)?;
    Timestamp::from_micros(micros).map_err(|_| INVALID)
}

/// Returns the code of a reason in records. A code is never given to another.
pub(super) fn reason_code(reason: ParkReason) -> u8 {
    match reason {
        ParkReason::NoWorkers => 1,
        ParkReason::Timeout => 2,
        ParkReason::Screening => 3,
        ParkReason::Storing => 4,
        ParkReason::Linking => 5,
        ParkReason::Worker => 6,
        ParkReason::Logging => 7,
        ParkReason::Outage => 8,
    }
}

/// Returns the code of a cause in records. A code is never given to another.
pub(super) fn cause_code(cause: DeathCause) -> u8 {
    match cause {
        DeathCause::AttemptsSpent => 1,
        DeathCause::Undecodable => 2,
    }
}

fn cause_of(code: u64) -> Option<DeathCause> {
    let causes = [DeathCause::AttemptsSpent, DeathCause::Undecodable];
    causes.into_iter().find(|cause| u64::from(cause_code(*cause)) == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mini_platform_core::testkit::{at, client};

    const ID: [u8; 16] = [7; 16];

    fn record(reason: u8, cause: u8, name: &str, content: &[u8]) -> Vec<u8> {
        let mut record = vec![0, 0, 0, 0, 0, 9, 0, 0, 1, 2, reason];
        record.extend([0, 0, 0, 0, 0x0F, 0x42, 0x40]);
        record.extend([0, 0, 0, 0, 0, 0, 5, cause]);
        record.extend([0, 0, 0, 0, 0x1E, 0x84, 0x80]);
        record.extend(u16::try_from(name.len()).unwrap().to_be_bytes());
        [&record, name.as_bytes(), content].concat()
    }

    #[test]
    fn a_record_says_what_the_readme_says() {
        let read = Record::read(&ID, &record(2, 0, "á:{b}", b"\0\xff")).unwrap();
        let parcel = Parcel {
            id: ParcelId::from_bytes(ID),
            client: client("á:{b}"),
            content: ParcelContent::new(&b"\0\xff"[..]).unwrap(),
            reason: ParkReason::Timeout,
        };
        let parked = ParkedParcel { parcel, attempts: 258, parked_at: at(1) };
        assert_eq!(read, Record { parked: parked.clone(), death: None });
        assert_eq!(read.dead_letter(), None);
        let dead = Record::read(&ID, &record(2, 2, "á:{b}", b"\0\xff")).unwrap().dead_letter();
        assert_eq!(dead, Some(DeadLetter { parked, cause: DeathCause::Undecodable, died_at: at(2) }));
    }

    #[test]
    fn every_reason_and_cause_has_a_code_of_its_own() {
        let codes = ParkReason::ALL.map(reason_code);
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 8], "records that were written keep their meaning");
        for cause in [DeathCause::AttemptsSpent, DeathCause::Undecodable] {
            assert_eq!(cause_of(cause_code(cause).into()), Some(cause));
        }
    }

    #[test]
    fn what_is_no_record_is_not_read() {
        let good = record(1, 0, "ann", b"x");
        let mut long_name = good.clone();
        long_name[34] = 200;
        for bad in [
            &b""[..],
            &good[..34],
            &good[..36],
            &long_name,
            &record(0, 0, "ann", b"x"),
            &record(99, 0, "ann", b"x"),
            &record(1, 9, "ann", b"x"),
            &record(1, 0, "", b"x"),
        ] {
            assert_eq!(Record::read(&ID, bad), Err(INVALID), "{bad:?}");
        }
        assert_eq!(Record::read(&ID[1..], &good), Err(INVALID));
    }
}
