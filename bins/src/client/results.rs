//! Results of submitted events, as they arrive.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use super::ClientError;
use super::activity::Activity;

/// The longest line of an answer that is taken: far above any result.
const MAX_RESULT_BYTES: usize = 1024 * 1024;

/// What became of one submitted event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultOutcome {
    /// Clear, and durable in the event store.
    Stored,
    /// Was stored before, with the same content.
    Duplicate,
    /// Durably kept; will be retried by the platform.
    Parked,
    /// A subject is on the fraud list; not stored.
    Fraudulent,
    /// The id exists with other content; not stored.
    Conflict,
    /// Invalid; not stored.
    Rejected,
    /// Could neither be finished nor kept; nothing is promised.
    Unavailable,
    /// Not looked at, because an earlier event was rejected.
    Skipped,
}

impl ResultOutcome {
    /// Every outcome, in the order in which summaries show them.
    pub const ALL: [Self; 8] = [
        Self::Stored,
        Self::Duplicate,
        Self::Parked,
        Self::Fraudulent,
        Self::Conflict,
        Self::Rejected,
        Self::Unavailable,
        Self::Skipped,
    ];

    /// Returns the wire name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Duplicate => "duplicate",
            Self::Parked => "parked",
            Self::Fraudulent => "fraudulent",
            Self::Conflict => "conflict",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the platform decided on the event, durably: asking again cannot change the answer for the
    /// worse.
    #[must_use]
    pub fn is_acknowledged(self) -> bool {
        match self {
            Self::Stored | Self::Duplicate | Self::Parked | Self::Fraudulent | Self::Conflict => true,
            Self::Rejected | Self::Unavailable | Self::Skipped => false,
        }
    }

    /// Whether the submitter has to do something about the event.
    #[must_use]
    pub fn needs_attention(self) -> bool {
        match self {
            Self::Stored | Self::Duplicate | Self::Parked | Self::Fraudulent => false,
            Self::Conflict | Self::Rejected | Self::Unavailable | Self::Skipped => true,
        }
    }
}

/// The result of one submitted event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EventResult {
    /// The idempotency key; absent when the event was too broken to have one.
    pub id: Option<String>,
    /// What became of the event.
    pub outcome: ResultOutcome,
    /// Why it was not stored.
    pub error: Option<ResultError>,
}

/// Why one event was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ResultError {
    /// The stable code, such as `invalid_field`.
    pub code: String,
    /// What a person can act on.
    pub detail: Option<String>,
    /// Which field is meant.
    pub pointer: Option<String>,
}

/// The results of one request, in the order of its lines.
#[derive(Debug)]
pub struct EventResults {
    body: Incoming,
    activity: Activity,
    lines: LineCutter,
}

impl EventResults {
    pub(super) fn new(body: Incoming, activity: Activity) -> Self {
        Self { body, activity, lines: LineCutter::default() }
    }

    /// Waits for the results that arrive next; `None` when the answer is complete.
    ///
    /// # Errors
    /// The connection broke or stands still, or the answer is none of the platform's.
    pub async fn next_batch(&mut self) -> Result<Option<Vec<EventResult>>, ClientError> {
        let Some(lines) = self.next_lines().await? else { return Ok(None) };
        lines.iter().map(|line| parse(line)).collect::<Result<_, _>>().map(Some)
    }

    /// Waits for the lines that arrive next, without reading what they say.
    pub(super) async fn next_lines(&mut self) -> Result<Option<Vec<Bytes>>, ClientError> {
        loop {
            let Some(frame) = self.activity.watch(self.body.frame()).await? else {
                return Ok(self.lines.finish().map(|line| vec![line]));
            };
            let frame = frame.map_err(|source| ClientError::Broken { source })?;
            let Ok(data) = frame.into_data() else { continue };
            let lines = self.lines.cut(&data)?;
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<EventResult, ClientError> {
    serde_json::from_slice(line).map_err(|error| ClientError::Protocol(format!("no result: {error}")))
}

/// Cuts an answer into its lines, wherever the network cut it.
#[derive(Debug, Default)]
struct LineCutter {
    pending: BytesMut,
}

impl LineCutter {
    fn cut(&mut self, data: &[u8]) -> Result<Vec<Bytes>, ClientError> {
        let searched = self.pending.len();
        self.pending.extend_from_slice(data);
        let Some(last) = data.iter().rposition(|byte| *byte == b'\n') else {
            if self.pending.len() > MAX_RESULT_BYTES {
                return Err(ClientError::Protocol(format!("a result longer than {MAX_RESULT_BYTES} bytes")));
            }
            return Ok(Vec::new());
        };
        let whole = self.pending.split_to(searched + last + 1).freeze();
        let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        Ok(lines.filter(|line| !line.is_empty()).map(|line| whole.slice_ref(line)).collect())
    }

    /// Returns the last line when it has no line end.
    fn finish(&mut self) -> Option<Bytes> {
        let rest = self.pending.split().freeze();
        (!rest.trim_ascii().is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_wherever_the_network_cuts_them() {
        let text = b"{\"a\":1}\n\r\n{\"b\":2}\r\n{\"c\":3}";
        for size in 1..text.len() {
            let mut cutter = LineCutter::default();
            let mut lines: Vec<Bytes> =
                text.chunks(size).flat_map(|chunk| cutter.cut(chunk).unwrap()).collect();
            lines.extend(cutter.finish());
            assert_eq!(lines, ["{\"a\":1}", "{\"b\":2}", "{\"c\":3}"], "cut every {size} bytes");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_instead_of_kept() {
        let mut cutter = LineCutter::default();
        assert!(cutter.cut(&vec![b'x'; MAX_RESULT_BYTES]).is_ok());
        assert!(cutter.cut(b"x").is_err());
    }

    #[test]
    fn a_result_is_read_with_or_without_screening_and_error() {
        let stored = parse(br#"{"id":"e1","outcome":"stored","screening":{"verdict":"none"}}"#).unwrap();
        assert_eq!((stored.id.as_deref(), stored.outcome), (Some("e1"), ResultOutcome::Stored));
        let rejected =
            parse(br#"{"id":null,"outcome":"rejected","error":{"code":"invalid_json","detail":"x"}}"#)
                .unwrap();
        assert_eq!(rejected.error.map(|error| error.code).as_deref(), Some("invalid_json"));
        assert!(parse(br#"{"id":"e1","outcome":"lost"}"#).is_err());
    }

    #[test]
    fn wire_names_are_read_and_written_alike() {
        for outcome in ResultOutcome::ALL {
            let line = format!(r#"{{"id":"e","outcome":"{}"}}"#, outcome.as_str());
            assert_eq!(parse(line.as_bytes()).unwrap().outcome, outcome);
        }
    }
}
