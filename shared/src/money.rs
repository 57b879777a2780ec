//! Exact amounts of money: decimals with the scale of their currency, never floats, never rounded.

mod currency;
mod input;

use std::{borrow::Cow, fmt};

use mongodb::bson::Decimal128;
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sqlx::{Row, mysql::MySqlRow};
use thiserror::Error;

pub use currency::{Currency, UnknownCurrency};
pub use input::{AmountInput, AmountInputError};

use crate::violation::Violation;

/// Before the point; MySQL stores `DECIMAL(23, 4)`.
const MOST_INTEGER_DIGITS: u32 = 19;
/// No currency of ISO 4217 has more decimals.
const MOST_DECIMALS: u32 = 4;

/// An amount that is not negative, with as many decimals as its currency has: `100.50` of `USD`.
///
/// Text in JSON. In BSON a `Decimal128` of the same digits. Compared by value, whatever the scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(Decimal);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AmountError {
    #[error("{currency} has {decimals} decimals")]
    TooManyDecimals { currency: Currency, decimals: u32 },
    #[error("at most {MOST_INTEGER_DIGITS} digits before the point")]
    TooLarge,
    #[error("an amount is not negative")]
    Negative,
}

impl AmountError {
    /// As what a client is told.
    #[must_use]
    pub fn violation(self, pointer: &str) -> Violation {
        let code = match self {
            Self::TooManyDecimals { .. } => "too-many-decimals",
            Self::TooLarge | Self::Negative => "out-of-range",
        };
        Violation::at(pointer, code, self.to_string())
    }
}

impl Amount {
    /// The decimal as an amount of the currency.
    ///
    /// # Errors
    /// If it is none without rounding.
    pub fn of(decimal: Decimal, currency: Currency) -> Result<Self, AmountError> {
        let decimals = currency.decimals();
        if decimal.is_sign_negative() && !decimal.is_zero() {
            return Err(AmountError::Negative);
        }
        if decimal.trunc() >= Decimal::from_i128_with_scale(10_i128.pow(MOST_INTEGER_DIGITS), 0) {
            return Err(AmountError::TooLarge);
        }
        let mut scaled = decimal.abs().normalize();
        if scaled.scale() > decimals {
            return Err(AmountError::TooManyDecimals { currency, decimals });
        }
        scaled.rescale(decimals);
        Ok(Self(scaled))
    }

    /// As MySQL has it, where every amount has four decimals.
    pub(crate) fn from_row(row: &MySqlRow, column: &str, currency: Currency) -> sqlx::Result<Self> {
        Self::of(row.try_get(column)?, currency)
            .map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() })
    }

    #[must_use]
    pub fn zero(currency: Currency) -> Self {
        Self(Decimal::new(0, currency.decimals()))
    }

    #[must_use]
    pub fn decimal(self) -> Decimal {
        self.0
    }

    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// So many of it; None where that is no amount any more.
    #[must_use]
    pub fn times(self, quantity: u32) -> Option<Self> {
        self.scaled_alike(self.0.checked_mul(quantity.into())?)
    }

    /// Both together; None where that is no amount any more.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        self.scaled_alike(self.0.checked_add(other.0)?)
    }

    /// Arithmetic loses the scale of nothing: three times 0.00 is 0.
    fn scaled_alike(self, mut decimal: Decimal) -> Option<Self> {
        decimal.rescale(self.0.scale());
        (decimal.trunc() < Decimal::from_i128_with_scale(10_i128.pow(MOST_INTEGER_DIGITS), 0)).then_some(Self(decimal))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let decimal: Decimal128 = self.to_string().parse().map_err(serde::ser::Error::custom)?;
        decimal.serialize(serializer)
    }
}

/// Of what was stored: the text is trusted to have its currency's scale.
impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Decimal::from_str_exact(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Type for Amount {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_amount".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let mut schema = MetaSchema::new_with_format("string", "decimal");
        schema.description = Some("Exact, with as many decimals as the currency has.");
        schema.pattern = Some(format!("^[0-9]{{1,{MOST_INTEGER_DIGITS}}}(\\.[0-9]{{1,{MOST_DECIMALS}}})?$"));
        schema.example = Some("100.50".into());
        MetaSchemaRef::Inline(Box::new(schema))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Amount {
    fn to_json(&self) -> Option<serde_json::Value> {
        Some(self.to_string().into())
    }
}

impl ParseFromJSON for Amount {
    fn parse_from_json(value: Option<serde_json::Value>) -> ParseResult<Self> {
        serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}

/// To compare with amounts of any currency.
impl ParseFromParameter for Amount {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        let read = AmountInput::read(&serde_json::Value::from(value));
        read.map(|input| Self(input.0)).map_err(ParseError::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str, currency: &str) -> Result<String, AmountError> {
        let amount = Amount::of(text.parse().unwrap(), currency.parse().unwrap());
        amount.map(|amount| amount.to_string())
    }

    #[test]
    fn an_amount_has_the_scale_of_its_currency_and_is_never_rounded() {
        assert_eq!(amount("100.5", "USD").unwrap(), "100.50");
        assert_eq!(amount("100.500", "USD").unwrap(), "100.50");
        assert_eq!(amount("100", "JPY").unwrap(), "100");
        assert_eq!(amount("0.001", "KWD").unwrap(), "0.001");
        assert_eq!(amount("9007199254740993.11", "USD").unwrap(), "9007199254740993.11");
        assert_eq!(amount("9999999999999999999.9999", "CLF").unwrap(), "9999999999999999999.9999");
        assert_eq!(amount("-0", "USD").unwrap(), "0.00");
        assert!(matches!(amount("100.5", "JPY"), Err(AmountError::TooManyDecimals { decimals: 0, .. })));
        assert!(matches!(amount("1.001", "USD"), Err(AmountError::TooManyDecimals { decimals: 2, .. })));
        assert_eq!(amount("-0.01", "USD"), Err(AmountError::Negative));
        assert_eq!(amount("10000000000000000000", "USD"), Err(AmountError::TooLarge));
    }

    #[test]
    fn sums_and_products_stay_exact_or_are_refused() {
        let most = Amount::of("9999999999999999999.99".parse().unwrap(), "USD".parse().unwrap()).unwrap();
        assert_eq!(most.plus(most), None);
        assert_eq!(most.times(u32::MAX), None);
        let price = Amount::of("0.10".parse().unwrap(), "USD".parse().unwrap()).unwrap();
        assert_eq!(price.times(3).unwrap().to_string(), "0.30");
        let nothing = Amount::zero("KWD".parse().unwrap());
        assert_eq!(nothing.times(3).unwrap().to_string(), "0.000");
        assert_eq!(nothing.plus(nothing.times(3).unwrap()).unwrap().to_string(), "0.000");
    }
}
