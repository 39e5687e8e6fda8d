//! What is known of one event: a few bytes, as there are millions.

use super::super::ledger::Answer;

/// One event of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    /// The fingerprint of what was sent.
    pub(super) content: u64,
    /// The line of the ledger with the first send; 0 when it was never sent.
    pub(super) sent: u32,
    /// The line of the ledger with the acknowledgement; 0 when there is none.
    pub(super) acknowledged: u32,
    /// The acknowledgement, or the last answer when there is none.
    pub(super) answer: Option<Answer>,
    /// Which platform it was last sent to.
    pub(super) to: u8,
    marks: u16,
}

/// Something that is true of an event.
#[derive(Debug, Clone, Copy)]
#[repr(u16)]
pub(super) enum Mark {
    /// A subject of it is said to be on the fraud list.
    Listed = 1,
    /// It is a transaction, so that two clients have it.
    Transaction = 1 << 1,
    /// It is among the transactions of who sent.
    WithSender = 1 << 2,
    /// It is among the transactions of who received.
    WithReceiver = 1 << 3,
    /// It is among the operations of its client.
    WithClient = 1 << 4,
    /// It was asked for by its id.
    LookedUp = 1 << 5,
    /// It was found by its id.
    Found = 1 << 6,
    Parked = 1 << 7,
    Dead = 1 << 8,
    LoggedStored = 1 << 9,
    LoggedFraudulent = 1 << 10,
    LoggedConflict = 1 << 11,
    /// It was sent more than once.
    SentAgain = 1 << 12,
}

impl Account {
    pub(super) fn set(&mut self, mark: Mark) {
        self.marks |= mark as u16;
    }

    pub(super) fn has(&self, mark: Mark) -> bool {
        self.marks & mark as u16 != 0
    }

    fn has_any(&self, marks: &[Mark]) -> bool {
        marks.iter().any(|mark| self.has(*mark))
    }

    /// Whether it may be anywhere at all.
    pub(super) fn was_sent(&self) -> bool {
        self.sent != 0 && self.answer != Some(Answer::NotSent)
    }

    /// Whether a client's pages show it.
    pub(super) fn is_paged(&self) -> bool {
        self.has_any(&[Mark::WithSender, Mark::WithReceiver, Mark::WithClient])
    }

    /// Whether the pages of every party show it.
    pub(super) fn is_paged_everywhere(&self) -> bool {
        if self.has(Mark::Transaction) {
            self.has(Mark::WithSender) && self.has(Mark::WithReceiver)
        } else {
            self.has(Mark::WithClient)
        }
    }

    pub(super) fn is_stored(&self) -> bool {
        self.is_paged() || self.has(Mark::Found)
    }

    pub(super) fn is_logged(&self) -> bool {
        self.has_any(&[Mark::LoggedStored, Mark::LoggedFraudulent, Mark::LoggedConflict])
    }

    /// Whether it waits: parked, or given up as a dead letter.
    pub(super) fn is_put_off(&self) -> bool {
        self.has_any(&[Mark::Parked, Mark::Dead])
    }

    /// Whether the platform said, or must have found out by now, that it is clear.
    pub(super) fn is_settled(&self) -> bool {
        match self.answer {
            Some(Answer::Stored | Answer::Duplicate) => true,
            Some(Answer::Parked) => !self.is_put_off(),
            _ => false,
        }
    }
}
