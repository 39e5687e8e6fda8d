//! Shares of a whole.

use std::fmt;
use std::str::FromStr;

/// A number is no share of a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number from 0 to 1, such as 0.01 for one in a hundred")]
pub struct InvalidRatio;

/// A share of a whole, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// None of it.
    pub const NOTHING: Self = Self(0.0);
    /// One in a hundred.
    pub const ONE_PERCENT: Self = Self(0.01);
    /// One in two.
    pub const HALF: Self = Self(0.5);
    /// The whole.
    pub const ALL: Self = Self(1.0);

    /// Checks a number and makes a ratio of it.
    ///
    /// # Errors
    /// Below 0, above 1, or not a number.
    pub fn new(value: f64) -> Result<Self, InvalidRatio> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(InvalidRatio) }
    }

    /// Returns the ratio as a number from 0 to 1.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// Returns how many of `whole` are within the ratio, rounded down.
    #[must_use]
    pub fn of(self, whole: u64) -> u64 {
        /// Lifts products such as `100 × 0.29 = 28.999…` over the number that they stand for.
        const ROUNDING: f64 = 1e-6;
        ((whole as f64).mul_add(self.0, ROUNDING) as u64).min(whole)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Ratio {
    type Err = InvalidRatio;

    fn from_str(text: &str) -> Result<Self, InvalidRatio> {
        text.parse().map_err(|_| InvalidRatio).and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_lies_between_zero_and_one() {
        for text in ["0", "0.5", "1"] {
            assert!(text.parse::<Ratio>().is_ok(), "{text} is a ratio");
        }
        for text in ["-0.1", "1.01", "NaN", "inf", "half", ""] {
            assert_eq!(text.parse::<Ratio>(), Err(InvalidRatio), "{text} is none");
        }
    }

    #[test]
    fn a_share_is_rounded_down_but_not_below_what_it_says() {
        assert_eq!(Ratio(0.01).of(99), 0);
        assert_eq!(Ratio(0.01).of(100), 1);
        assert_eq!(Ratio(0.29).of(100), 29);
        assert_eq!(Ratio(1.0).of(7), 7);
        assert_eq!(Ratio(0.0).of(u64::MAX), 0);
    }
}
