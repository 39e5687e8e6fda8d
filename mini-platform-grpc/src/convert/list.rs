//! The fraud list in force, and its verdict on one name.

use mini_platform_core::domain::{ListEntry, ListInfo, Screening, Verdict};

use super::{ConvertError, InField, Problem, message, optional_timestamp, required, timestamp};
use crate::v1;
use crate::v1::check_name_response as response;

/// The longest name of a source that is taken, in bytes: a path has at most 4096.
const MAX_SOURCE_BYTES: usize = 8192;

impl From<&ListInfo> for v1::FraudListInfo {
    fn from(list: &ListInfo) -> Self {
        Self {
            version: Some((&list.version).into()),
            entries: list.entries,
            source: list.source.clone(),
            loaded_at_micros: Some(list.loaded_at.as_micros()),
            confirmed_at_micros: Some(list.confirmed_at.as_micros()),
        }
    }
}

impl TryFrom<v1::FraudListInfo> for ListInfo {
    type Error = ConvertError;

    fn try_from(list: v1::FraudListInfo) -> Result<Self, ConvertError> {
        let loaded_at = timestamp(list.loaded_at_micros, "loaded_at_micros")?;
        let confirmed_at = optional_timestamp(list.confirmed_at_micros, "confirmed_at_micros")?;
        Ok(Self {
            version: message(list.version, "version")?,
            entries: list.entries,
            source: source(list.source).in_field("source")?,
            loaded_at,
            confirmed_at: confirmed_at.unwrap_or(loaded_at),
        })
    }
}

fn source(text: String) -> Result<String, Problem> {
    let max = MAX_SOURCE_BYTES;
    if text.len() > max { Err(Problem::TextTooLong { max }) } else { Ok(text) }
}

impl From<&Screening> for v1::CheckNameResponse {
    /// Sends the verdict on one name; a screening of none or several is sent without, and refused.
    fn from(screening: &Screening) -> Self {
        let verdict = match screening.verdicts.as_slice() {
            [Verdict::Clear] => Some(response::Verdict::Clear(response::Clear {})),
            [Verdict::Hit { entry }] => {
                Some(response::Verdict::Hit(response::Hit { entry: entry.as_str().to_owned() }))
            }
            _ => None,
        };
        Self { list_version: Some((&screening.version).into()), verdict }
    }
}

impl TryFrom<v1::CheckNameResponse> for Screening {
    type Error = ConvertError;

    fn try_from(checked: v1::CheckNameResponse) -> Result<Self, ConvertError> {
        let version = message(checked.list_version, "list_version")?;
        let verdict = match required(checked.verdict, "verdict")? {
            response::Verdict::Clear(response::Clear {}) => Verdict::Clear,
            response::Verdict::Hit(hit) => {
                Verdict::Hit { entry: ListEntry::new(&hit.entry).in_field("hit.entry")? }
            }
        };
        Ok(Self { version, verdicts: vec![verdict] })
    }
}
