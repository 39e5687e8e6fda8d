//! Events as documents: one form in each of the two collections.
//!
//! Times are 64-bit integers of microseconds, because a BSON date holds only milliseconds. What is read goes
//! through the domain's constructors, so a document that somebody changed by hand is an error, not an event.

use mini_platform_core::domain::{
    Amount, BranchId, ClientId, Currency, Event, EventDetails, EventId, OccurredAt, OperationType,
    StoredEvent, Timestamp,
};
use mongodb::bson::RawDocument;
use serde::Serialize;

/// The collection of transactions. It knows every id: see [`Reservation`].
pub(crate) const TRANSACTIONS: &str = "transactions";

/// The collection of operations.
pub(crate) const OPERATIONS: &str = "operations";

/// What a [`Reservation`] is for.
const RESERVED_FOR: &str = "operation";

/// A document is not what this program writes. Says which field, never what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a document of the collection {collection} is damaged: field {field}")]
pub(crate) struct BadDocument {
    pub(crate) collection: &'static str,
    pub(crate) field: &'static str,
}

/// A transaction, as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct TransactionDocument<'a> {
    #[serde(rename = "_id")]
    id: &'a str,
    sender: &'a str,
    receiver: &'a str,
    #[serde(flatten)]
    facts: Facts,
}

/// An operation, as it is written.
#[derive(Debug, Serialize)]
pub(crate) struct OperationDocument<'a> {
    #[serde(rename = "_id")]
    id: &'a str,
    client: &'a str,
    branch: &'a str,
    operation: &'static str,
    #[serde(flatten)]
    facts: Facts,
}

/// Keeps an operation's id from being used by a transaction: it lies among the transactions, whose index of
/// ids is thereby the one that makes ids unique.
#[derive(Debug, Serialize)]
pub(crate) struct Reservation<'a> {
    #[serde(rename = "_id")]
    id: &'a str,
    reserved_for: &'static str,
}

/// What both kinds of event have.
#[derive(Debug, Clone, Copy, Serialize)]
struct Facts {
    amount: i64,
    currency: &'static str,
    occurred_at: i64,
    /// Whether the submitter said when; a time of receipt is no part of the content.
    time_given: bool,
    recorded_at: i64,
}

impl Facts {
    fn of(event: &Event, recorded_at: Timestamp) -> Self {
        Self {
            amount: event.amount().minor_units(),
            currency: event.currency().code(),
            occurred_at: event.occurred_at().timestamp().as_micros(),
            time_given: matches!(event.occurred_at(), OccurredAt::Given(_)),
            recorded_at: recorded_at.as_micros(),
        }
    }
}

/// The document of an event, in the form of its collection.
pub(crate) enum EventDocument<'a> {
    Transaction(TransactionDocument<'a>),
    Operation(OperationDocument<'a>),
}

impl<'a> EventDocument<'a> {
    pub(crate) fn of(event: &'a Event, recorded_at: Timestamp) -> Self {
        let (id, facts) = (event.id().as_str(), Facts::of(event, recorded_at));
        match event.details() {
            EventDetails::Transaction { sender, receiver } => {
                let (sender, receiver) = (sender.as_str(), receiver.as_str());
                Self::Transaction(TransactionDocument { id, sender, receiver, facts })
            }
            EventDetails::Operation { client, branch, operation } => {
                let (client, branch, operation) = (client.as_str(), branch.as_str(), operation.as_str());
                Self::Operation(OperationDocument { id, client, branch, operation, facts })
            }
        }
    }
}

impl<'a> OperationDocument<'a> {
    pub(crate) fn reservation(&self) -> Reservation<'a> {
        Reservation { id: self.id, reserved_for: RESERVED_FOR }
    }
}

/// What lies under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    Event(Box<StoredEvent>),
    /// The id belongs to an operation.
    Reserved(EventId),
}

impl Record {
    pub(crate) fn id(&self) -> &EventId {
        match self {
            Self::Event(stored) => stored.event.id(),
            Self::Reserved(id) => id,
        }
    }

    pub(crate) fn into_event(self) -> Option<StoredEvent> {
        match self {
            Self::Event(stored) => Some(*stored),
            Self::Reserved(_) => None,
        }
    }
}

/// Reads a document of a collection.
pub(crate) fn read(collection: &'static str, document: &RawDocument) -> Result<Record, BadDocument> {
    let fields = Fields { collection, document };
    let id = fields.parsed("_id", |text| EventId::new(text).ok())?;
    if collection == TRANSACTIONS && fields.has("reserved_for") {
        fields.parsed("reserved_for", |text| (text == RESERVED_FOR).then_some(()))?;
        return Ok(Record::Reserved(id));
    }
    let recorded_at = fields.time("recorded_at")?;
    let event = if collection == TRANSACTIONS { fields.transaction(id)? } else { fields.operation(id)? };
    Ok(Record::Event(Box::new(StoredEvent { event, recorded_at })))
}

#[derive(Clone, Copy)]
struct Fields<'a> {
    collection: &'static str,
    document: &'a RawDocument,
}

impl<'a> Fields<'a> {
    fn bad(self, field: &'static str) -> BadDocument {
        BadDocument { collection: self.collection, field }
    }

    fn has(self, field: &str) -> bool {
        matches!(self.document.get(field), Ok(Some(_)))
    }

    fn parsed<T>(
        self,
        field: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, BadDocument> {
        self.document.get_str(field).ok().and_then(parse).ok_or_else(|| self.bad(field))
    }

    fn number(self, field: &'static str) -> Result<i64, BadDocument> {
        self.document.get_i64(field).map_err(|_| self.bad(field))
    }

    fn time(self, field: &'static str) -> Result<Timestamp, BadDocument> {
        Timestamp::from_micros(self.number(field)?).map_err(|_| self.bad(field))
    }

    fn client(self, field: &'static str) -> Result<ClientId, BadDocument> {
        self.parsed(field, |text| ClientId::new(text).ok())
    }

    fn money(self) -> Result<(Amount, Currency), BadDocument> {
        let amount = Amount::from_minor_units(self.number("amount")?).map_err(|_| self.bad("amount"))?;
        Ok((amount, self.parsed("currency", |code| code.parse().ok())?))
    }

    fn occurred_at(self) -> Result<OccurredAt, BadDocument> {
        let at = self.time("occurred_at")?;
        let given = self.document.get_bool("time_given").map_err(|_| self.bad("time_given"))?;
        Ok(if given { OccurredAt::Given(at) } else { OccurredAt::Received(at) })
    }

    fn transaction(self, id: EventId) -> Result<Event, BadDocument> {
        let (sender, receiver) = (self.client("sender")?, self.client("receiver")?);
        let (amount, currency) = self.money()?;
        Event::transaction(id, sender, receiver, amount, currency, self.occurred_at()?)
            .map_err(|_| self.bad("receiver"))
    }

    fn operation(self, id: EventId) -> Result<Event, BadDocument> {
        let client = self.client("client")?;
        let branch = self.parsed("branch", |text| BranchId::new(text).ok())?;
        let operation = self.parsed("operation", |text| {
            [OperationType::Deposit, OperationType::Withdraw].into_iter().find(|kind| kind.as_str() == text)
        })?;
        let (amount, currency) = self.money()?;
        Ok(Event::operation(id, client, branch, operation, amount, currency, self.occurred_at()?))
    }
}
