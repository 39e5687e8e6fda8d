//! Import of newline-delimited JSON: one event per line, as `POST /v1/events` takes them.
//!
//! Lines are passed on as they are, so it is the platform that says what is wrong with one.

use std::borrow::Cow;
use std::io::Read;

use serde::Deserialize;

use super::lines::{LineReader, MAX_LINE_BYTES};
use super::rows::{Row, RowSource};

/// The lines of a file or of standard input; empty ones are passed over.
pub(super) struct NdjsonRows {
    lines: LineReader,
}

impl NdjsonRows {
    pub(super) fn new(input: impl Read + Send + 'static) -> Self {
        Self { lines: LineReader::new(input) }
    }
}

/// What has to be known of a line to recognise its result.
#[derive(Deserialize)]
struct Keyed<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

impl RowSource for NdjsonRows {
    fn next_row(&mut self) -> anyhow::Result<Option<Row>> {
        while let Some(line) = self.lines.next_line()? {
            let text = line.text.trim_ascii();
            if line.is_too_long {
                let reason = format!("longer than {MAX_LINE_BYTES} bytes");
                return Ok(Some(Row::Unusable { line: line.number, reason }));
            }
            if !text.is_empty() {
                let id = serde_json::from_slice::<Keyed<'_>>(text).ok().and_then(|keyed| keyed.id);
                let id = id.map(|id| id.into());
                return Ok(Some(Row::Event { line: line.number, id, json: text.to_vec() }));
            }
        }
        Ok(None)
    }

    fn position(&self) -> u64 {
        self.lines.position()
    }

    fn may_wait(&self) -> bool {
        self.lines.may_wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: impl Into<Vec<u8>>) -> Vec<Row> {
        let mut source = NdjsonRows::new(std::io::Cursor::new(text.into()));
        std::iter::from_fn(|| source.next_row().unwrap()).collect()
    }

    fn event(line: u64, id: Option<&str>, json: &str) -> Row {
        Row::Event { line, id: id.map(Into::into), json: json.into() }
    }

    #[test]
    fn lines_are_passed_on_as_they_are_with_their_id_and_number() {
        let text = "{\"id\":\"e1\",\"amount\":1}\r\n\n  {\"id\":\"\\u0065\\u0032\"}\n{\"amount\":1}";
        assert_eq!(
            rows(text),
            [
                event(1, Some("e1"), "{\"id\":\"e1\",\"amount\":1}"),
                event(3, Some("e2"), "{\"id\":\"\\u0065\\u0032\"}"),
                event(4, None, "{\"amount\":1}"),
            ]
        );
    }

    #[test]
    fn what_is_no_event_is_left_to_the_platform() {
        assert_eq!(
            rows("{\"id\":7}\n{\"id\":\"e1\",\"id\":\"e2\"}\n{\"id\":\"e3\""),
            [
                event(1, None, "{\"id\":7}"),
                event(2, None, "{\"id\":\"e1\",\"id\":\"e2\"}"),
                event(3, None, "{\"id\":\"e3\""),
            ]
        );
    }

    #[test]
    fn a_line_over_the_limit_is_unusable() {
        let mut text = vec![b'x'; MAX_LINE_BYTES + 1];
        text.extend_from_slice(b"\n{}\n");
        let rows = rows(text);
        assert!(matches!(rows.first(), Some(Row::Unusable { line: 1, .. })));
        assert_eq!(rows.get(1), Some(&event(2, None, "{}")));
    }
}
