//! Events.

use mini_platform_core::domain::{
    Amount, BranchId, ClientId, Currency, Event, EventDetails, EventId, OccurredAt, OperationType,
    StoredEvent,
};

use super::{ConvertError, InField, Problem, enum_value, message, required, timestamp};
use crate::v1;
use crate::v1::event;

impl From<&Event> for v1::Event {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id().as_str().to_owned(),
            amount_minor_units: event.amount().minor_units(),
            currency: event.currency().code().to_owned(),
            occurred_at: Some(event.occurred_at().into()),
            details: Some(event.details().into()),
        }
    }
}

impl From<OccurredAt> for event::OccurredAt {
    fn from(occurred_at: OccurredAt) -> Self {
        match occurred_at {
            OccurredAt::Given(at) => Self::GivenAtMicros(at.as_micros()),
            OccurredAt::Received(at) => Self::ReceivedAtMicros(at.as_micros()),
        }
    }
}

impl From<&EventDetails> for event::Details {
    fn from(details: &EventDetails) -> Self {
        match details {
            EventDetails::Transaction { sender, receiver } => Self::Transaction(v1::Transaction {
                sender: sender.as_str().to_owned(),
                receiver: receiver.as_str().to_owned(),
            }),
            EventDetails::Operation { client, branch, operation } => Self::Operation(v1::Operation {
                client: client.as_str().to_owned(),
                branch: branch.as_str().to_owned(),
                operation: v1::OperationType::from(*operation).into(),
            }),
        }
    }
}

impl From<OperationType> for v1::OperationType {
    fn from(operation: OperationType) -> Self {
        match operation {
            OperationType::Deposit => Self::Deposit,
            OperationType::Withdraw => Self::Withdraw,
        }
    }
}

impl From<&StoredEvent> for v1::StoredEvent {
    fn from(stored: &StoredEvent) -> Self {
        Self { event: Some((&stored.event).into()), recorded_at_micros: Some(stored.recorded_at.as_micros()) }
    }
}

/// What events of all kinds have.
struct Common {
    id: EventId,
    amount: Amount,
    currency: Currency,
    occurred_at: OccurredAt,
}

impl TryFrom<v1::Event> for Event {
    type Error = ConvertError;

    fn try_from(event: v1::Event) -> Result<Self, ConvertError> {
        let common = Common {
            id: EventId::new(event.id).in_field("id")?,
            amount: Amount::from_minor_units(event.amount_minor_units).in_field("amount_minor_units")?,
            currency: event.currency.parse::<Currency>().in_field("currency")?,
            occurred_at: required(event.occurred_at, "occurred_at")?.try_into()?,
        };
        match required(event.details, "details")? {
            event::Details::Transaction(details) => {
                transaction(common, &details).map_err(|error| error.within("transaction"))
            }
            event::Details::Operation(details) => {
                operation(common, &details).map_err(|error| error.within("operation"))
            }
        }
    }
}

impl TryFrom<event::OccurredAt> for OccurredAt {
    type Error = ConvertError;

    fn try_from(occurred_at: event::OccurredAt) -> Result<Self, ConvertError> {
        match occurred_at {
            event::OccurredAt::GivenAtMicros(at) => timestamp(Some(at), "given_at_micros").map(Self::Given),
            event::OccurredAt::ReceivedAtMicros(at) => {
                timestamp(Some(at), "received_at_micros").map(Self::Received)
            }
        }
    }
}

fn transaction(common: Common, details: &v1::Transaction) -> Result<Event, ConvertError> {
    let Common { id, amount, currency, occurred_at } = common;
    let sender = ClientId::new(&details.sender).in_field("sender")?;
    let receiver = ClientId::new(&details.receiver).in_field("receiver")?;
    Event::transaction(id, sender, receiver, amount, currency, occurred_at).in_field("receiver")
}

fn operation(common: Common, details: &v1::Operation) -> Result<Event, ConvertError> {
    let Common { id, amount, currency, occurred_at } = common;
    let client = ClientId::new(&details.client).in_field("client")?;
    let branch = BranchId::new(&details.branch).in_field("branch")?;
    let operation = operation_type(details.operation).in_field("operation")?;
    Ok(Event::operation(id, client, branch, operation, amount, currency, occurred_at))
}

fn operation_type(number: i32) -> Result<OperationType, Problem> {
    match enum_value(number)? {
        v1::OperationType::Unspecified => Err(Problem::Unspecified),
        v1::OperationType::Deposit => Ok(OperationType::Deposit),
        v1::OperationType::Withdraw => Ok(OperationType::Withdraw),
    }
}

impl TryFrom<v1::StoredEvent> for StoredEvent {
    type Error = ConvertError;

    fn try_from(stored: v1::StoredEvent) -> Result<Self, ConvertError> {
        Ok(Self {
            event: message(stored.event, "event")?,
            recorded_at: timestamp(stored.recorded_at_micros, "recorded_at_micros")?,
        })
    }
}
