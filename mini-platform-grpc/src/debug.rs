//! `Debug` of the messages that hold names: it hides them, so that logging a message gives nobody away.

use std::fmt;

use crate::v1;
use crate::v1::{Operation, event_screening::Hit};

macro_rules! redacted {
    ($($message:ty),+ $(,)?) => {
        $(impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($message), "(<redacted>)"))
            }
        })+
    };
}

redacted!(
    v1::BranchLink,
    v1::CheckNameRequest,
    v1::FetchBranchesRequest,
    v1::FetchClientRequest,
    v1::FetchInteractionsRequest,
    v1::FetchOperationsRequest,
    v1::FetchTransactionsRequest,
    v1::Interaction,
    v1::JoinRequest,
    v1::PageRequest,
    v1::Submission,
    v1::Transaction,
    v1::check_name_response::Hit,
    v1::submission::Details,
);

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
