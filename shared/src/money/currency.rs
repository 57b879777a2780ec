//! Currencies of ISO 4217.

use std::{borrow::Cow, fmt, str::FromStr};

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{Example, ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A currency that has a minor unit or none (`USD`, `JPY`); not gold, and not a code for testing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency(iso_currency::Currency);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no currency of ISO 4217")]
pub struct UnknownCurrency;

impl Currency {
    /// How many decimals its amounts have: 2 of `USD`, 0 of `JPY`, 3 of `KWD`.
    #[must_use]
    pub fn decimals(self) -> u32 {
        self.0.exponent().unwrap_or_default().into()
    }

    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = UnknownCurrency;

    fn from_str(code: &str) -> Result<Self, UnknownCurrency> {
        let currency = iso_currency::Currency::from_code(code).filter(|currency| currency.exponent().is_some());
        currency.map(Self).ok_or(UnknownCurrency)
    }
}

impl TryFrom<String> for Currency {
    type Error = UnknownCurrency;

    fn try_from(code: String) -> Result<Self, UnknownCurrency> {
        code.parse()
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.code().to_owned()
    }
}

impl Example for Currency {
    fn example() -> Self {
        Self(iso_currency::Currency::USD)
    }
}

impl Type for Currency {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_currency".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let mut schema = MetaSchema::new_with_format("string", "currency");
        schema.description = Some("A code of ISO 4217.");
        schema.pattern = Some("^[A-Z]{3}$".to_owned());
        schema.example = Some("USD".into());
        MetaSchemaRef::Inline(Box::new(schema))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Currency {
    fn to_json(&self) -> Option<serde_json::Value> {
        Some(self.code().into())
    }
}

impl ParseFromJSON for Currency {
    fn parse_from_json(value: Option<serde_json::Value>) -> ParseResult<Self> {
        serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}
