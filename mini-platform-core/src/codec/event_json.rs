//! Events as JSON.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{
    Amount, BranchId, ClientId, Currency, Event, EventDetails, EventId, OccurredAt, OperationType, SameParty,
    Timestamp,
};

/// An event as it is written and read. Times are RFC 3339.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventJson {
    r#type: Kind,
    id: EventId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sender: Option<ClientId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    receiver: Option<ClientId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    client: Option<ClientId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    branch: Option<BranchId>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    operation: Option<Operation>,
    amount: Amount,
    currency: Currency,
    #[serde(with = "rfc3339")]
    occurred_at: Timestamp,
    /// Says that the submitter gave no time, so that the time of receipt stands in.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    untimed: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Transaction,
    Operation,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Operation {
    Deposit,
    Withdraw,
}

impl From<&Event> for EventJson {
    fn from(event: &Event) -> Self {
        let mut json = Self {
            r#type: Kind::Transaction,
            id: event.id().clone(),
            sender: None,
            receiver: None,
            client: None,
            branch: None,
            operation: None,
            amount: event.amount(),
            currency: event.currency(),
            occurred_at: event.occurred_at().timestamp(),
            untimed: matches!(event.occurred_at(), OccurredAt::Received(_)),
        };
        match event.details() {
            EventDetails::Transaction { sender, receiver } => {
                (json.sender, json.receiver) = (Some(sender.clone()), Some(receiver.clone()));
            }
            EventDetails::Operation { client, branch, operation } => {
                json.r#type = Kind::Operation;
                (json.client, json.branch) = (Some(client.clone()), Some(branch.clone()));
                json.operation = Some(match operation {
                    OperationType::Deposit => Operation::Deposit,
                    OperationType::Withdraw => Operation::Withdraw,
                });
            }
        }
        json
    }
}

impl EventJson {
    fn into_event(self) -> Option<Result<Event, SameParty>> {
        let Self { r#type, id, sender, receiver, client, branch, operation, amount, currency, .. } = self;
        let occurred_at = match self.untimed {
            true => OccurredAt::Received(self.occurred_at),
            false => OccurredAt::Given(self.occurred_at),
        };
        match (r#type, sender, receiver, client, branch, operation) {
            (Kind::Transaction, Some(sender), Some(receiver), None, None, None) => {
                Some(Event::transaction(id, sender, receiver, amount, currency, occurred_at))
            }
            (Kind::Operation, None, None, Some(client), Some(branch), Some(operation)) => {
                let operation = match operation {
                    Operation::Deposit => OperationType::Deposit,
                    Operation::Withdraw => OperationType::Withdraw,
                };
                Some(Ok(Event::operation(id, client, branch, operation, amount, currency, occurred_at)))
            }
            _ => None,
        }
    }
}

/// Writes and reads an event as a field.
pub(super) mod event {
    use serde::de::Error as _;

    use super::{Deserialize, Deserializer, Event, EventJson, Serialize, Serializer};

    pub(in crate::codec) fn serialize<S: Serializer>(
        event: &Event,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        EventJson::from(event).serialize(serializer)
    }

    pub(in crate::codec) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Event, D::Error> {
        let event = EventJson::deserialize(from)?.into_event();
        event.ok_or_else(|| D::Error::custom("fields of another kind of event"))?.map_err(D::Error::custom)
    }
}

/// Writes and reads a time as RFC 3339.
pub(super) mod rfc3339 {
    use std::borrow::Cow;

    use serde::de::Error as _;

    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    pub(in crate::codec) fn serialize<S: Serializer>(
        at: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(at)
    }

    pub(in crate::codec) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        Cow::<'de, str>::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The same of a time that may be missing.
pub(super) mod optional_rfc3339 {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Timestamp, rfc3339};

    #[derive(Serialize, Deserialize)]
    struct At(#[serde(with = "rfc3339")] Timestamp);

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(in crate::codec) fn serialize<S: Serializer>(
        at: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(At).serialize(serializer)
    }

    pub(in crate::codec) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<At>::deserialize(from)?.map(|At(at)| at))
    }
}

/// Writes and reads what has a text form.
pub(super) mod text {
    use std::borrow::Cow;
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error as _;

    use super::{Deserialize, Deserializer, Serializer};

    pub(in crate::codec) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(in crate::codec) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        Cow::<'de, str>::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
