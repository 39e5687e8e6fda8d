//! Points in time, to the microsecond.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text is no RFC 3339 date-time, or lies outside of the years 0001 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 date-time with a zone, such as 2024-05-01T12:30:00Z")]
pub struct InvalidTimestamp;

/// A point in time: microseconds since 1970-01-01T00:00:00Z, in the years 0001 to 9999.
///
/// Parsing keeps microseconds and drops what is finer. The text form is RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

/// 0001-01-01T00:00:00Z.
const MIN_MICROS: i64 = -62_135_596_800_000_000;
/// 9999-12-30T22:00:00Z, the last second that every zone can write with four digits.
const MAX_MICROS: i64 = 253_402_207_200_000_000;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);

    /// Makes a timestamp of microseconds since the Unix epoch.
    ///
    /// # Errors
    /// Outside of the years 0001 to 9999.
    pub fn from_micros(micros: i64) -> Result<Self, InvalidTimestamp> {
        if (MIN_MICROS..=MAX_MICROS).contains(&micros) { Ok(Self(micros)) } else { Err(InvalidTimestamp) }
    }

    /// Returns the microseconds since the Unix epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Returns the time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Returns this time moved by a duration, held within the supported years.
    #[must_use]
    pub fn saturating_add(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros).min(MAX_MICROS))
    }
}

/// Whether a text has the shape of RFC 3339, which is narrower than what the parser behind it accepts.
fn has_rfc3339_shape(text: &[u8]) -> bool {
    const SHAPE: &[u8; 19] = b"dddd-dd-ddTdd:dd:dd";
    let Some((start, rest)) = text.split_first_chunk::<19>() else { return false };
    let start_fits = start.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'd' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't'),
        other => byte == other,
    });
    let zone = match rest.strip_prefix(b".") {
        None => rest,
        Some(fraction) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return false;
            }
            fraction.get(digits..).unwrap_or_default()
        }
    };
    start_fits && is_zone(zone)
}

fn is_zone(zone: &[u8]) -> bool {
    match zone {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].into_iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Digits of a second beyond which a fraction cannot matter; longer ones are cut before parsing.
const FRACTION_DIGITS: usize = 9;

/// Cuts a fraction to the digits that the parser takes: RFC 3339 allows any number of them.
fn cut_fraction(text: &str) -> std::borrow::Cow<'_, str> {
    let Some((seconds, rest)) = text.split_once('.') else { return text.into() };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    match (rest.get(..FRACTION_DIGITS), rest.get(digits..)) {
        (Some(fraction), Some(zone)) if digits > FRACTION_DIGITS => {
            format!("{seconds}.{fraction}{zone}").into()
        }
        _ => text.into(),
    }
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        if !has_rfc3339_shape(text.as_bytes()) {
            return Err(InvalidTimestamp);
        }
        let parsed: jiff::Timestamp = cut_fraction(text).parse().map_err(|_| InvalidTimestamp)?;
        let micros = parsed.as_nanosecond().div_euclid(1_000);
        Self::from_micros(i64::try_from(micros).map_err(|_| InvalidTimestamp)?)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => Err(fmt::Error),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = InvalidTimestamp;
    fn try_from(micros: i64) -> Result<Self, InvalidTimestamp> {
        Self::from_micros(micros)
    }
}

impl From<Timestamp> for i64 {
    fn from(timestamp: Timestamp) -> i64 {
        timestamp.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_kept_to_the_microsecond_in_utc() {
        let parsed: Timestamp = "2024-05-01T12:30:00.123456789+02:00".parse().unwrap();
        assert_eq!(parsed.to_string(), "2024-05-01T10:30:00.123456Z");
        let long: Timestamp = "2024-05-01T12:30:00.12345678901234567890Z".parse().unwrap();
        assert_eq!(long.to_string(), "2024-05-01T12:30:00.123456Z");
    }

    #[test]
    fn times_before_1970_round_down_like_times_after() {
        let parsed: Timestamp = "1969-12-31T23:59:59.9999995Z".parse().unwrap();
        assert_eq!(parsed.as_micros(), -1);
    }

    #[test]
    fn what_rfc_3339_does_not_allow_is_refused() {
        for text in [
            "2024-05-01T12:30:00",
            "2024-05-01",
            "2024-05-01 12:30:00Z",
            "2024-05-01T12:30Z",
            "2024-02-30T00:00:00Z",
            "2024-05-01T12:30:00.Z",
            "2024-05-01T12:30:00+0200",
            "2024-05-01T12:30:00Z[UTC]",
            "+002024-05-01T12:30:00Z",
            "0000-01-01T00:00:00Z",
            "",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text} must be refused");
        }
    }

    #[test]
    fn both_ends_of_the_range_can_be_written() {
        for micros in [MIN_MICROS, MAX_MICROS] {
            let timestamp = Timestamp::from_micros(micros).unwrap();
            assert_eq!(timestamp.to_string().parse(), Ok(timestamp));
        }
    }
}
