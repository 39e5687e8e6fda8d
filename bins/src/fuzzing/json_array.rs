//! Many events, as one JSON array.
//!
//! The laws:
//! - what another JSON reader takes for an array is taken, whatever the pieces and pauses in which it arrives, and
//!   nothing else is: then no event of it is taken in;
//! - every item has one result, in order: what the event comes to when it is sent alone, after those before it;
//! - with `on_error=abort`, what stands behind the first mistake is skipped.
//!
//! The first line says how the rest is sent: see [`Choices`].

use http::StatusCode;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::first_line;
use super::many::{self, Choices, Sent};
use crate::http::HttpSettings;
use crate::http::fuzzing::without_mark;

/// The longest array: short, so that an input need not be long to be too long.
const MAX_ARRAY: usize = 2048;

/// Checks the laws of an array of events.
pub fn json_array(input: &[u8]) {
    let (head, array) = first_line(input);
    many::run(checked(&Choices::of(head), array));
}

async fn checked(choices: &Choices<'_>, array: &[u8]) {
    let default_currency = "CZK".parse().expect("CZK is a currency");
    let settings = HttpSettings { max_array: MAX_ARRAY, ..HttpSettings::new(default_currency) };
    let response = many::post(settings, "application/json", choices, array).await;
    let answer = many::parsed(response.body());
    let json = without_mark(array);
    let items: Option<Vec<IgnoredAny>> = serde_json::from_slice(json).ok();
    let expected = match &items {
        _ if array.len() > MAX_ARRAY => StatusCode::PAYLOAD_TOO_LARGE,
        None => StatusCode::BAD_REQUEST,
        Some(_) => StatusCode::OK,
    };
    assert_eq!(response.status(), expected, "{answer}");
    let (StatusCode::OK, Some(items)) = (expected, items) else {
        assert!(answer.get("code").is_some_and(Value::is_string), "a problem has a code");
        return;
    };
    let results = answer.as_array().expect("an array is answered by an array");
    // Of an array that is no text in UTF-8, the other reader says no more than how many items there are.
    match serde_json::from_slice::<Vec<&RawValue>>(json) {
        Ok(texts) => {
            let items: Vec<_> = texts.iter().map(|text| Sent::Event(text.get().as_bytes())).collect();
            many::check(results, &items, choices.aborts, true).await;
        }
        Err(_) => assert_eq!(results.len(), items.len(), "every item has one result"),
    }
}
