//! What differs between the links of a client and what its events imply.

use crate::domain::{BranchId, ClientId, Edge, Side, Timestamp};

/// What a link of a client leads to. An interaction has two sides, and each is a link.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Neighbour {
    /// Another client.
    Client {
        /// Who it is.
        counterparty: ClientId,
        /// On which side the client stood whose link it is.
        side: Side,
    },
    /// A branch.
    Branch(BranchId),
}

impl Neighbour {
    /// Makes the edge of this link at a time.
    #[must_use]
    pub fn edge(&self, client: &ClientId, at: Timestamp) -> Edge {
        let client = client.clone();
        match self {
            Self::Client { counterparty, side } => {
                Edge::Interaction { client, counterparty: counterparty.clone(), side: *side, at }
            }
            Self::Branch(branch) => Edge::Branch { client, branch: branch.clone(), at },
        }
    }

    /// Returns what differences of one client are ordered by: clients, then branches, each by its id.
    pub(super) fn order(&self) -> (bool, &str, bool) {
        match self {
            Self::Client { counterparty, side } => (false, counterparty.as_str(), *side == Side::Received),
            Self::Branch(branch) => (true, branch.as_str(), false),
        }
    }
}

/// How a link differs from what the stored events imply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// There is no link, although an event implies one.
    Missing {
        /// The time that the link should hold.
        implied: Timestamp,
    },
    /// The link holds an earlier time than that of the latest event.
    Older {
        /// The time that the link held.
        kept: Timestamp,
        /// The time that it should hold.
        implied: Timestamp,
    },
    /// The link holds a later time than that of the latest event.
    Newer {
        /// The time that the link held.
        kept: Timestamp,
        /// The time that it should hold.
        implied: Timestamp,
    },
    /// There is a link that no event implies.
    Surplus {
        /// The time that the link held.
        kept: Timestamp,
    },
}

impl DifferenceKind {
    /// Compares a link with what is implied; `None` when they agree.
    pub(super) fn of(kept: Option<Timestamp>, implied: Option<Timestamp>) -> Option<Self> {
        match (kept, implied) {
            (None, Some(implied)) => Some(Self::Missing { implied }),
            (Some(kept), Some(implied)) if kept < implied => Some(Self::Older { kept, implied }),
            (Some(kept), Some(implied)) if kept > implied => Some(Self::Newer { kept, implied }),
            (Some(kept), None) => Some(Self::Surplus { kept }),
            _ => None,
        }
    }

    /// Returns the kind as a word: `missing`, `older`, `newer` or `surplus`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing",
            Self::Older { .. } => "older",
            Self::Newer { .. } => "newer",
            Self::Surplus { .. } => "surplus",
        }
    }

    /// Returns the time that the link held, if there was one.
    #[must_use]
    pub fn kept(self) -> Option<Timestamp> {
        match self {
            Self::Missing { .. } => None,
            Self::Older { kept, .. } | Self::Newer { kept, .. } | Self::Surplus { kept } => Some(kept),
        }
    }

    /// Returns the time that the link should hold, if there should be one.
    #[must_use]
    pub fn implied(self) -> Option<Timestamp> {
        match self {
            Self::Missing { implied } | Self::Older { implied, .. } | Self::Newer { implied, .. } => {
                Some(implied)
            }
            Self::Surplus { .. } => None,
        }
    }

    /// Whether the link holds more than the events imply, so that it has to be removed first.
    pub(super) fn is_excess(self) -> bool {
        matches!(self, Self::Newer { .. } | Self::Surplus { .. })
    }
}

/// A link that is not what the stored events imply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose link it is. For the operator's eyes, never for a log.
    pub client: ClientId,
    /// What the link leads to.
    pub neighbour: Neighbour,
    /// How it differs.
    pub kind: DifferenceKind,
}

impl Difference {
    /// Returns the edge that is to be removed exactly as it is, if any.
    pub(super) fn excess(&self) -> Option<Edge> {
        let kept = self.kind.kept().filter(|_| self.kind.is_excess())?;
        Some(self.neighbour.edge(&self.client, kept))
    }

    /// Returns the edge that is to be linked, if any.
    pub(super) fn implied(&self) -> Option<Edge> {
        Some(self.neighbour.edge(&self.client, self.kind.implied()?))
    }
}
