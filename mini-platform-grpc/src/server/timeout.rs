//! How much time a caller gives a request.

use std::time::Duration;

use http::HeaderMap;

const HEADER: &str = "grpc-timeout";

/// The most digits that the header may have.
const MAX_DIGITS: usize = 8;

/// Reads how much time a request has; `None` when the caller does not say, or says it wrongly.
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(HEADER)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, value.parse().ok()?);
        of(&headers)
    }

    #[test]
    fn every_unit_is_understood() {
        for (value, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("2M", Duration::from_secs(120)),
            ("2S", Duration::from_secs(2)),
            ("2m", Duration::from_millis(2)),
            ("2u", Duration::from_micros(2)),
            ("2n", Duration::from_nanos(2)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parsed(value), Some(expected), "{value}");
        }
    }

    #[test]
    fn nonsense_is_no_timeout() {
        for value in ["", "S", "1", "1s", "-1S", "+1S", "1 S", "123456789S", "1ü"] {
            assert_eq!(parsed(value), None, "{value}");
        }
    }
}
