//! Amounts and currencies.

use std::fmt;
use std::num::NonZeroI64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Says why a number or a text is no amount or currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMoney {
    /// The amount is zero or negative.
    #[error("must be at least 1, in minor units of the currency")]
    NotPositive,
    /// The text is no code of the ISO 4217 table.
    #[error("must be an ISO 4217 alphabetic code, such as EUR")]
    UnknownCurrency,
}

/// A positive amount, in minor units of its currency (cents of a euro, yen).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Amount(NonZeroI64);

impl Amount {
    /// Makes an amount of minor units, 1 to `i64::MAX`.
    ///
    /// # Errors
    /// Zero or negative.
    pub fn from_minor_units(units: i64) -> Result<Self, InvalidMoney> {
        NonZeroI64::new(units).filter(|units| units.is_positive()).map(Self).ok_or(InvalidMoney::NotPositive)
    }

    /// Returns the minor units.
    #[must_use]
    pub fn minor_units(self) -> i64 {
        self.0.get()
    }
}

impl TryFrom<i64> for Amount {
    type Error = InvalidMoney;
    fn try_from(units: i64) -> Result<Self, InvalidMoney> {
        Self::from_minor_units(units)
    }
}

impl From<Amount> for i64 {
    fn from(amount: Amount) -> i64 {
        amount.minor_units()
    }
}

/// A currency of the ISO 4217 table, such as `CZK`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "smol_str::SmolStr", into = "smol_str::SmolStr")]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Returns the three letters.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }
}

impl FromStr for Currency {
    type Err = InvalidMoney;

    fn from_str(code: &str) -> Result<Self, InvalidMoney> {
        iso_currency::Currency::from_code(code).map(Self).ok_or(InvalidMoney::UnknownCurrency)
    }
}

impl TryFrom<smol_str::SmolStr> for Currency {
    type Error = InvalidMoney;
    fn try_from(code: smol_str::SmolStr) -> Result<Self, InvalidMoney> {
        code.parse()
    }
}

impl From<Currency> for smol_str::SmolStr {
    fn from(currency: Currency) -> Self {
        Self::new_static(currency.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_positive() {
        assert_eq!(Amount::from_minor_units(0), Err(InvalidMoney::NotPositive));
        assert_eq!(Amount::from_minor_units(-1), Err(InvalidMoney::NotPositive));
        assert_eq!(Amount::from_minor_units(i64::MAX).map(Amount::minor_units), Ok(i64::MAX));
    }

    #[test]
    fn a_currency_is_in_the_table_and_in_capitals() {
        assert_eq!("CZK".parse::<Currency>().map(Currency::code), Ok("CZK"));
        for code in ["czk", "XXZ", "", "EURO"] {
            assert_eq!(
                code.parse::<Currency>(),
                Err(InvalidMoney::UnknownCurrency),
                "{code} must be refused"
            );
        }
    }
}
