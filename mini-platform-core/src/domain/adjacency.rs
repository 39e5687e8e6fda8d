//! Links between a client and what its events name: other clients, branches.

use super::{AppendOutcome, BranchId, ClientId, Event, EventBatch, EventDetails, Timestamp};

/// The side on which a client stood in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client paid.
    Sent,
    /// The client was paid.
    Received,
}

/// A fact about one client that an event implies; linking it twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edge {
    /// The client exchanged money with another client.
    Interaction {
        /// Whose link it is.
        client: ClientId,
        /// The other party.
        counterparty: ClientId,
        /// On which side `client` stood.
        side: Side,
        /// When.
        at: Timestamp,
    },
    /// The client used a branch.
    Branch {
        /// Whose link it is.
        client: ClientId,
        /// The branch.
        branch: BranchId,
        /// When.
        at: Timestamp,
    },
}

impl Edge {
    /// Returns the edges that an event implies: two of a transaction, one of an operation.
    ///
    /// `at` is the time under which the event is stored.
    pub fn implied_by(event: &Event, at: Timestamp) -> impl Iterator<Item = Self> + use<> {
        let (first, second) = match event.details() {
            EventDetails::Transaction { sender, receiver } => (
                interaction(sender, receiver, Side::Sent, at),
                Some(interaction(receiver, sender, Side::Received, at)),
            ),
            EventDetails::Operation { client, branch, .. } => {
                (Self::Branch { client: client.clone(), branch: branch.clone(), at }, None)
            }
        };
        std::iter::once(first).chain(second)
    }

    /// Returns the edges that the stored events of a batch imply, and the duplicates, under the times under which they
    /// are stored: so appending a batch again repairs a crash between append and link.
    #[must_use]
    pub fn implied_by_appended(batch: &EventBatch, outcomes: &[AppendOutcome]) -> Vec<Self> {
        let mut edges = Vec::with_capacity(2 * batch.len());
        for (event, outcome) in batch.events().iter().zip(outcomes) {
            match outcome {
                AppendOutcome::Stored => {
                    edges.extend(Self::implied_by(event, event.occurred_at().timestamp()));
                }
                AppendOutcome::Duplicate(recording) => {
                    edges.extend(Self::implied_by(event, recording.occurred_at));
                }
                AppendOutcome::Conflict => {}
            }
        }
        edges
    }
}

fn interaction(client: &ClientId, counterparty: &ClientId, side: Side, at: Timestamp) -> Edge {
    Edge::Interaction { client: client.clone(), counterparty: counterparty.clone(), side, at }
}

/// In which directions a client exchanged money with another, and when last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Only paid.
    Sent,
    /// Only was paid.
    Received,
    /// Both.
    Both,
}

impl Direction {
    /// Returns the wire name: `sent`, `received` or `both`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Received => "received",
            Self::Both => "both",
        }
    }
}

/// A client with whom money was exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interaction {
    /// The other client.
    pub counterparty: ClientId,
    /// When the client whose link it is last paid, if it did.
    sent_at: Option<Timestamp>,
    received_at: Option<Timestamp>,
    direction: Direction,
    last_at: Timestamp,
}

impl Interaction {
    /// Makes an interaction of the latest time on each side; `None` when there is neither.
    #[must_use]
    pub fn new(
        counterparty: ClientId,
        sent_at: Option<Timestamp>,
        received_at: Option<Timestamp>,
    ) -> Option<Self> {
        let last_at = sent_at.max(received_at)?;
        let direction = match (sent_at, received_at) {
            (Some(_), Some(_)) => Direction::Both,
            (Some(_), None) => Direction::Sent,
            _ => Direction::Received,
        };
        Some(Self { counterparty, sent_at, received_at, direction, last_at })
    }

    /// Returns in which directions money went.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Returns the time of the latest transaction on either side.
    #[must_use]
    pub fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// Returns the time of the latest transaction on one side.
    #[must_use]
    pub fn last_at_on(&self, side: Side) -> Option<Timestamp> {
        match side {
            Side::Sent => self.sent_at,
            Side::Received => self.received_at,
        }
    }
}

/// A branch that a client used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchLink {
    /// The branch.
    pub branch: BranchId,
    /// The time of the latest operation there.
    pub last_at: Timestamp,
}
