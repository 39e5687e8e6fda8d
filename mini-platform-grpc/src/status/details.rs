//! The rich details of a status: `google.rpc.ErrorInfo` and `google.rpc.RetryInfo`.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, ErrorInfo, RetryInfo, StatusExt, pb};

use super::reason::Reason;
use crate::text;

/// Whose reasons they are.
const DOMAIN: &str = "mini-platform";

/// The longest pause that is believed: whoever asks for more has a mistake.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// The most details that are looked at.
const MAX_DETAILS: usize = 16;

/// Makes a status with details.
pub(super) fn status(code: Code, message: &str, reason: Reason, retry_after: Option<Duration>) -> Status {
    let mut details = ErrorDetails::with_error_info(reason.as_str(), DOMAIN, HashMap::new());
    if let Some(pause) = retry_after {
        details.set_retry_info(Some(pause));
    }
    Status::with_error_details(code, text::cut(message), details)
}

/// Makes the status of a message that breaks a rule.
pub(super) fn invalid(field: &str, message: &str) -> Status {
    let metadata = HashMap::from([("field".to_owned(), text::cut(field))]);
    let details = ErrorDetails::with_error_info(Reason::InvalidMessage.as_str(), DOMAIN, metadata);
    Status::with_error_details(Code::InvalidArgument, text::cut(message), details)
}

/// What the details of a status say. Whatever is not as it should be is passed over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    /// The status is from one of our programs, maybe a newer one.
    pub(super) ours: bool,
    /// What failed, as far as it is known here.
    pub(super) reason: Option<Reason>,
    /// When it may be tried again.
    pub(super) retry_after: Option<Duration>,
}

impl Details {
    pub(super) fn of(status: &Status) -> Self {
        let mut read = Self::default();
        let Ok(message) = pb::Status::decode(status.details()) else { return read };
        for detail in message.details.iter().take(MAX_DETAILS) {
            match detail.type_url.as_str() {
                ErrorInfo::TYPE_URL => read.take_reason(&detail.value),
                RetryInfo::TYPE_URL => read.take_pause(&detail.value),
                _ => {}
            }
        }
        read
    }

    fn take_reason(&mut self, bytes: &[u8]) {
        let Ok(info) = pb::ErrorInfo::decode(bytes) else { return };
        if info.domain == DOMAIN {
            self.ours = true;
            self.reason = Reason::named(&info.reason);
        }
    }

    fn take_pause(&mut self, bytes: &[u8]) {
        let Some(delay) = pb::RetryInfo::decode(bytes).ok().and_then(|info| info.retry_delay) else { return };
        let (Ok(seconds), Ok(nanos)) = (u64::try_from(delay.seconds), u32::try_from(delay.nanos)) else {
            return;
        };
        let pause = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()));
        self.retry_after = Some(pause.min(MAX_RETRY_AFTER));
    }
}
