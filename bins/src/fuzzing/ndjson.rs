//! Many events, one a line.
//!
//! The laws:
//! - every line has one result, in order, whatever the pieces and pauses in which the lines arrive;
//! - the result is what the event comes to when it is sent alone, after those before it;
//! - with `on_error=abort`, what stands behind the first mistake is skipped.
//!
//! The first line says how the rest is sent: see [`Choices`].

use http::StatusCode;

use super::first_line;
use super::many::{self, Choices, Sent};
use crate::http::HttpSettings;

/// The longest line: short, so that an input need not be long to be too long.
const MAX_LINE: usize = 256;

/// Checks the laws of a stream of lines.
pub fn ndjson(input: &[u8]) {
    let (head, lines) = first_line(input);
    many::run(checked(&Choices::of(head), lines));
}

async fn checked(choices: &Choices<'_>, lines: &[u8]) {
    let default_currency = "CZK".parse().expect("CZK is a currency");
    let settings = HttpSettings { max_line: MAX_LINE, ..HttpSettings::new(default_currency) };
    let response = many::post(settings, "application/x-ndjson", choices, lines).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.body();
    assert!(body.is_empty() || body.ends_with(b"\n"), "a result is a whole line");
    let results: Vec<_> = body.split_inclusive(|byte| *byte == b'\n').map(many::parsed).collect();
    let items: Vec<_> = lines.split_inclusive(|byte| *byte == b'\n').map(item).collect();
    many::check(&results, &items, choices.aborts, false).await;
}

fn item(line: &[u8]) -> Sent<'_> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > MAX_LINE { Sent::TooLong } else { Sent::Event(line) }
}
