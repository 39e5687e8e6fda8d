//! What the fraud list says, and which version of it.

use mini_platform_core::domain::{Etag, EventScreening, ListEntry, ListVersion, PartyRole};

use super::{ConvertError, InField, Problem, enum_value, message, required, timestamp};
use crate::v1;
use crate::v1::event_screening::{Clear, Hit, NoSubject, Verdict};

impl From<&EventScreening> for v1::EventScreening {
    fn from(screening: &EventScreening) -> Self {
        Self { list_version: Some(screening.version().into()), verdict: Some(screening.into()) }
    }
}

impl From<&EventScreening> for Verdict {
    fn from(screening: &EventScreening) -> Self {
        match screening {
            EventScreening::None { .. } => Self::None(NoSubject {}),
            EventScreening::Clear { .. } => Self::Clear(Clear {}),
            EventScreening::Hit { party, entry, .. } => {
                let (party, entry) = (v1::PartyRole::from(*party).into(), entry.as_str().to_owned());
                Self::Hit(Hit { party, entry })
            }
        }
    }
}

impl From<PartyRole> for v1::PartyRole {
    fn from(party: PartyRole) -> Self {
        match party {
            PartyRole::Sender => Self::Sender,
            PartyRole::Receiver => Self::Receiver,
            PartyRole::Depositor => Self::Depositor,
            PartyRole::Withdrawer => Self::Withdrawer,
        }
    }
}

impl From<&ListVersion> for v1::ListVersion {
    fn from(version: &ListVersion) -> Self {
        Self {
            published_at_micros: Some(version.published_at().as_micros()),
            etag: version.etag().as_str().to_owned(),
        }
    }
}

impl TryFrom<v1::EventScreening> for EventScreening {
    type Error = ConvertError;

    fn try_from(screening: v1::EventScreening) -> Result<Self, ConvertError> {
        let version = message(screening.list_version, "list_version")?;
        match required(screening.verdict, "verdict")? {
            Verdict::None(NoSubject {}) => Ok(Self::None { version }),
            Verdict::Clear(Clear {}) => Ok(Self::Clear { version }),
            Verdict::Hit(hit) => {
                let (party, entry) = party_and_entry(&hit).map_err(|error| error.within("hit"))?;
                Ok(Self::Hit { version, party, entry })
            }
        }
    }
}

fn party_and_entry(hit: &Hit) -> Result<(PartyRole, ListEntry), ConvertError> {
    Ok((party_role(hit.party).in_field("party")?, ListEntry::new(&hit.entry).in_field("entry")?))
}

fn party_role(number: i32) -> Result<PartyRole, Problem> {
    match enum_value(number)? {
        v1::PartyRole::Unspecified => Err(Problem::Unspecified),
        v1::PartyRole::Sender => Ok(PartyRole::Sender),
        v1::PartyRole::Receiver => Ok(PartyRole::Receiver),
        v1::PartyRole::Depositor => Ok(PartyRole::Depositor),
        v1::PartyRole::Withdrawer => Ok(PartyRole::Withdrawer),
    }
}

impl TryFrom<v1::ListVersion> for ListVersion {
    type Error = ConvertError;

    fn try_from(version: v1::ListVersion) -> Result<Self, ConvertError> {
        let published_at = timestamp(version.published_at_micros, "published_at_micros")?;
        Ok(Self::new(published_at, Etag::new(version.etag).in_field("etag")?))
    }
}
