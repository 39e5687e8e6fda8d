//! `Debug` of the messages that hold names: it hides them, so that logging a message gives nobody away.

use std::fmt;

use crate::v1::{Operation, Transaction, event_screening::Hit};

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Transaction(<redacted>)")
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("operation", &self.operation()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Hit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hit").field("party", &self.party()).finish_non_exhaustive()
    }
}
