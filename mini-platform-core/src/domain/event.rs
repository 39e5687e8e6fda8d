//! Events: transactions and operations.

use serde::{Deserialize, Serialize};

use super::{Amount, BranchId, ClientId, Currency, EventId, Recording, Timestamp};

/// When an event happened, and who said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OccurredAt {
    /// The submitter said when.
    Given(Timestamp),
    /// The submitter said nothing, so the time of receipt stands in. It differs on every resend and is
    /// therefore no part of the event's content.
    Received(Timestamp),
}

impl OccurredAt {
    /// Returns the time, whoever said it.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        match self {
            Self::Given(at) | Self::Received(at) => at,
        }
    }
}

/// What an operation does at a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperationType {
    /// The client brings money.
    Deposit,
    /// The client takes money.
    Withdraw,
}

impl OperationType {
    /// Returns the wire name: `deposit` or `withdraw`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Withdraw => "withdraw",
        }
    }
}

/// What sets the two kinds of event apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventDetails {
    /// A transfer from one client to another.
    Transaction {
        /// Who pays.
        sender: ClientId,
        /// Who is paid; never the sender.
        receiver: ClientId,
    },
    /// A deposit or withdrawal at a branch.
    Operation {
        /// Whose account it is.
        client: ClientId,
        /// Where it happens.
        branch: BranchId,
        /// Which of the two it is.
        operation: OperationType,
    },
}

/// The part that a client plays in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartyRole {
    /// Pays in a transaction.
    Sender,
    /// Is paid in a transaction.
    Receiver,
    /// Brings money to a branch.
    Depositor,
    /// Takes money from a branch.
    Withdrawer,
}

impl PartyRole {
    /// Returns the name of the event's field that holds this party.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::Depositor | Self::Withdrawer => "client",
        }
    }
}

/// The sender and the receiver of a transaction are the same client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sender and receiver must be different clients")]
pub struct SameParty;

/// One fact from a bank: a transaction or an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    id: EventId,
    details: EventDetails,
    amount: Amount,
    currency: Currency,
    occurred_at: OccurredAt,
}

impl Event {
    /// Makes a transfer from `sender` to `receiver`.
    ///
    /// # Errors
    /// The two are the same client.
    pub fn transaction(
        id: EventId,
        sender: ClientId,
        receiver: ClientId,
        amount: Amount,
        currency: Currency,
        occurred_at: OccurredAt,
    ) -> Result<Self, SameParty> {
        if sender == receiver {
            return Err(SameParty);
        }
        Ok(Self {
            id,
            details: EventDetails::Transaction { sender, receiver },
            amount,
            currency,
            occurred_at,
        })
    }

    /// Makes a deposit or a withdrawal of `client` at `branch`.
    #[must_use]
    pub fn operation(
        id: EventId,
        client: ClientId,
        branch: BranchId,
        operation: OperationType,
        amount: Amount,
        currency: Currency,
        occurred_at: OccurredAt,
    ) -> Self {
        Self {
            id,
            details: EventDetails::Operation { client, branch, operation },
            amount,
            currency,
            occurred_at,
        }
    }

    /// Returns the idempotency key.
    #[must_use]
    pub fn id(&self) -> &EventId {
        &self.id
    }

    /// Returns what sets the two kinds of event apart.
    #[must_use]
    pub fn details(&self) -> &EventDetails {
        &self.details
    }

    /// Returns the amount.
    #[must_use]
    pub fn amount(&self) -> Amount {
        self.amount
    }

    /// Returns the currency.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Returns when the event happened, and who said so.
    #[must_use]
    pub fn occurred_at(&self) -> OccurredAt {
        self.occurred_at
    }

    /// Returns the clients of this event with the part that each plays: two of a transaction, one of an
    /// operation.
    pub fn parties(&self) -> impl Iterator<Item = (PartyRole, &ClientId)> {
        let (first, second) = match &self.details {
            EventDetails::Transaction { sender, receiver } => {
                ((PartyRole::Sender, sender), Some((PartyRole::Receiver, receiver)))
            }
            EventDetails::Operation { client, operation: OperationType::Deposit, .. } => {
                ((PartyRole::Depositor, client), None)
            }
            EventDetails::Operation { client, operation: OperationType::Withdraw, .. } => {
                ((PartyRole::Withdrawer, client), None)
            }
        };
        std::iter::once(first).chain(second)
    }

    /// Returns the client whose event it is: who pays in a transaction, who uses a branch in an operation.
    ///
    /// What is kept in order per client is kept by this one.
    #[must_use]
    pub fn client(&self) -> &ClientId {
        match &self.details {
            EventDetails::Transaction { sender: client, .. } | EventDetails::Operation { client, .. } => {
                client
            }
        }
    }

    /// Says another time at which the event happened.
    #[must_use]
    pub fn happened(self, occurred_at: OccurredAt) -> Self {
        Self { occurred_at, ..self }
    }

    /// Whether `self` says the same as the `stored` event of the same id.
    ///
    /// A time that the submitter left out says nothing, so it agrees with any.
    #[must_use]
    pub fn is_resend_of(&self, stored: &Self) -> bool {
        let same_time = match self.occurred_at {
            OccurredAt::Given(at) => at == stored.occurred_at.timestamp(),
            OccurredAt::Received(_) => true,
        };
        same_time
            && self.id == stored.id
            && self.details == stored.details
            && self.amount == stored.amount
            && self.currency == stored.currency
    }
}

/// An event as the event store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// When the worker stored it.
    pub recorded_at: Timestamp,
}

impl StoredEvent {
    /// Returns the times under which the event is stored.
    #[must_use]
    pub fn recording(&self) -> Recording {
        Recording { occurred_at: self.event.occurred_at().timestamp(), recorded_at: self.recorded_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(receiver: &str, amount: i64, occurred_at: OccurredAt) -> Event {
        Event::transaction(
            EventId::new("e1").unwrap(),
            ClientId::new("ann").unwrap(),
            ClientId::new(receiver).unwrap(),
            Amount::from_minor_units(amount).unwrap(),
            "EUR".parse().unwrap(),
            occurred_at,
        )
        .unwrap()
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).unwrap()
    }

    #[test]
    fn nobody_pays_themselves() {
        let ann = ClientId::new("ann").unwrap();
        let refused = Event::transaction(
            EventId::new("e1").unwrap(),
            ann.clone(),
            ann,
            Amount::from_minor_units(1).unwrap(),
            "EUR".parse().unwrap(),
            OccurredAt::Given(at(0)),
        );
        assert_eq!(refused, Err(SameParty));
    }

    #[test]
    fn a_resend_without_a_time_says_the_same() {
        let stored = transfer("bob", 5, OccurredAt::Received(at(1)));
        assert!(transfer("bob", 5, OccurredAt::Received(at(2))).is_resend_of(&stored));
        assert!(transfer("bob", 5, OccurredAt::Given(at(1))).is_resend_of(&stored));
    }

    #[test]
    fn a_resend_with_another_time_party_or_amount_says_something_else() {
        let stored = transfer("bob", 5, OccurredAt::Given(at(1)));
        assert!(!transfer("bob", 5, OccurredAt::Given(at(2))).is_resend_of(&stored));
        assert!(!transfer("eve", 5, OccurredAt::Given(at(1))).is_resend_of(&stored));
        assert!(!transfer("bob", 6, OccurredAt::Given(at(1))).is_resend_of(&stored));
    }
}
