//! The events of a load: as they are sent, kept in the ledger, and read back from wherever they went.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use mini_platform_core::domain::{Event, EventDetails, Timestamp};
use serde::{Deserialize, Serialize};

/// An event of either kind. What is not of its kind is absent; fields that only the platform adds are not read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoadEvent {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sender: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) receiver: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<Cow<'static, str>>,
    pub(super) amount: i64,
    pub(super) currency: Cow<'static, str>,
    pub(super) occurred_at: String,
}

impl LoadEvent {
    /// Returns where one event of this kind is submitted.
    pub(super) fn route(&self) -> &'static str {
        if self.is_transaction() { "/v1/transactions" } else { "/v1/operations" }
    }

    pub(super) fn is_transaction(&self) -> bool {
        self.sender.is_some()
    }

    /// Returns whose event it is: who sends, deposits or withdraws.
    pub(super) fn owner(&self) -> &str {
        self.sender.as_deref().or(self.client.as_deref()).unwrap_or_default()
    }

    /// Returns the clients that take part.
    pub(super) fn parties(&self) -> impl Iterator<Item = &str> {
        [&self.sender, &self.receiver, &self.client].into_iter().flatten().map(String::as_str)
    }

    /// Returns when it occurred, in microseconds; `None` when that is no time.
    pub(super) fn occurred_at(&self) -> Option<i64> {
        self.occurred_at.parse().ok().map(Timestamp::as_micros)
    }

    /// Returns a number that events of equal content share, whatever their ids; others do not, but for one in 2⁶⁴.
    pub(super) fn fingerprint(&self) -> u64 {
        let Self { id: _, sender, receiver, client, branch, operation, amount, currency, occurred_at: _ } =
            self;
        let content = (sender, receiver, client, branch, operation, amount, currency, self.occurred_at());
        fingerprint(&content)
    }
}

impl From<&Event> for LoadEvent {
    fn from(event: &Event) -> Self {
        let common = Self {
            id: event.id().as_str().to_owned(),
            amount: event.amount().minor_units(),
            currency: event.currency().code().into(),
            occurred_at: event.occurred_at().timestamp().to_string(),
            ..Self::default()
        };
        match event.details() {
            EventDetails::Transaction { sender, receiver } => Self {
                sender: Some(sender.as_str().to_owned()),
                receiver: Some(receiver.as_str().to_owned()),
                ..common
            },
            EventDetails::Operation { client, branch, operation } => Self {
                client: Some(client.as_str().to_owned()),
                branch: Some(branch.as_str().to_owned()),
                operation: Some(operation.as_str().into()),
                ..common
            },
        }
    }
}

/// Returns the number that stands for a value where the value itself would take too much room.
pub(super) fn fingerprint<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns the id of the event with this number.
pub(super) fn id(run: &str, number: u64) -> String {
    format!("{}{number}", id_prefix(run))
}

/// Returns what the ids of a run's events start with.
pub(super) fn id_prefix(run: &str) -> String {
    format!("load-{run}-")
}

/// Returns the number of an event whose id starts with `prefix`, which [`id_prefix`] made.
pub(super) fn number(prefix: &str, id: &str) -> Option<u64> {
    let number = id.strip_prefix(prefix)?;
    let is_plain =
        number.bytes().all(|byte| byte.is_ascii_digit()) && (number == "0" || !number.starts_with('0'));
    if is_plain { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deposit() -> LoadEvent {
        LoadEvent {
            id: id("r1", 7),
            client: Some("Zoë / 1".to_owned()),
            branch: Some("Brno".to_owned()),
            operation: Some("deposit".into()),
            amount: 5,
            currency: "EUR".into(),
            occurred_at: "2026-01-05T08:00:00Z".to_owned(),
            ..LoadEvent::default()
        }
    }

    #[test]
    fn an_event_is_read_back_as_it_was_sent_whatever_the_platform_added() {
        let mut answered = serde_json::to_value(deposit()).unwrap();
        answered["recorded_at"] = "2026-01-05T08:00:01Z".into();
        answered["type"] = "operation".into();
        assert_eq!(serde_json::from_value::<LoadEvent>(answered).unwrap(), deposit());
    }

    #[test]
    fn a_fingerprint_tells_contents_apart_and_nothing_else() {
        let event = deposit();
        let again = LoadEvent {
            id: id("r1", 8),
            occurred_at: "2026-01-05T09:00:00.000+01:00".to_owned(),
            ..event.clone()
        };
        assert_eq!(event.fingerprint(), again.fingerprint(), "the same instant, written differently");
        let others = [
            LoadEvent { amount: 6, ..event.clone() },
            LoadEvent { currency: "CZK".into(), ..event.clone() },
            LoadEvent { client: Some("Zoë / 2".to_owned()), ..event.clone() },
            LoadEvent { branch: Some("Zlín".to_owned()), ..event.clone() },
            LoadEvent { operation: Some("withdraw".into()), ..event.clone() },
            LoadEvent { occurred_at: "2026-01-05T08:00:00.000001Z".to_owned(), ..event.clone() },
            LoadEvent { sender: event.client.clone(), client: None, ..event.clone() },
            LoadEvent { receiver: event.client.clone(), client: None, ..event.clone() },
        ];
        for other in others {
            assert_ne!(event.fingerprint(), other.fingerprint(), "{other:?}");
        }
    }

    #[test]
    fn only_ids_of_the_run_have_a_number() {
        let prefix = id_prefix("r1");
        assert_eq!(number(&prefix, &id("r1", 0)), Some(0));
        assert_eq!(number(&prefix, &id("r1", 412)), Some(412));
        for other in ["load-r1-", "load-r1-x", "load-r1-07", "load-r1-+7", "load-r2-7", "7", "load-r1-7-7"] {
            assert_eq!(number(&prefix, other), None, "{other}");
        }
    }
}
