//! Amounts as clients send them: text, always exact, or a number that no parser can have rounded.

use std::borrow::Cow;

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use rust_decimal::Decimal;
use serde_json::{Number, Value};
use thiserror::Error;

use super::{Amount, MOST_DECIMALS, MOST_INTEGER_DIGITS};

/// So many significant digits survive any parser that makes a number a double (IEEE 754).
const MOST_NUMBER_DIGITS: usize = 15;

/// A decimal that was sent for an amount. What it may be is decided by its currency ([`Amount::of`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmountInput(pub Decimal);

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum AmountInputError {
    #[error("a number of more than {MOST_NUMBER_DIGITS} digits may have been rounded on its way: send it as text")]
    SendAsText,
    #[error("an amount is not negative")]
    Negative,
    #[error("must be digits with at most one point, as text or as a number")]
    Form,
    #[error("at most {MOST_INTEGER_DIGITS} digits before the point and {MOST_DECIMALS} after it")]
    OutOfRange,
}

impl AmountInputError {
    /// As the code of a violation.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SendAsText => "send-as-text",
            Self::Negative | Self::OutOfRange => "out-of-range",
            Self::Form => "invalid-format",
        }
    }
}

impl AmountInput {
    pub fn read(value: &Value) -> Result<Self, AmountInputError> {
        match value {
            Value::String(text) => of_text(text),
            Value::Number(number) => of_number(number),
            _ => Err(AmountInputError::Form),
        }
    }
}

fn of_text(text: &str) -> Result<AmountInput, AmountInputError> {
    let (unsigned, negative) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
    let (integer, fraction) = unsigned.split_once('.').map_or((unsigned, None), |(it, rest)| (it, Some(rest)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(integer) || !fraction.is_none_or(digits) {
        return Err(AmountInputError::Form);
    }
    if negative {
        return Err(AmountInputError::Negative);
    }
    let longest = |part: &str, most: u32| part.len() <= most as usize;
    if !longest(integer, MOST_INTEGER_DIGITS) || !fraction.is_none_or(|part| longest(part, MOST_DECIMALS)) {
        return Err(AmountInputError::OutOfRange);
    }
    Decimal::from_str_exact(text).map(AmountInput).map_err(|_| AmountInputError::OutOfRange)
}

/// The shortest decimal that reads back as the number is what the client meant, if it is short enough.
fn of_number(number: &Number) -> Result<AmountInput, AmountInputError> {
    // A float's `Display` is the shortest such form, without an exponent.
    let text = match number.as_f64() {
        Some(float) if number.is_f64() => float.to_string(),
        _ => number.to_string(),
    };
    let unsigned = text.trim_start_matches('-');
    let significant = match unsigned.split_once('.') {
        Some((integer, fraction)) => format!("{integer}{fraction}").trim_start_matches('0').len(),
        None => unsigned.trim_end_matches('0').len(),
    };
    if significant > MOST_NUMBER_DIGITS {
        return Err(AmountInputError::SendAsText);
    }
    // `-0` is what a program may write for nothing.
    of_text(if significant == 0 { "0" } else { &text })
}

impl Type for AmountInput {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "amount_input".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let number =
            MetaSchema { minimum: Some(0.0), maximum: Some(999_999_999_999_999.0), ..MetaSchema::new("number") };
        MetaSchemaRef::Inline(Box::new(MetaSchema {
            format: Some("amount"),
            description: Some(
                "Text, always exact, or a number of at most 15 significant digits; no more decimals than the currency \
                 has.",
            ),
            any_of: vec![Amount::schema_ref(), MetaSchemaRef::Inline(Box::new(number))],
            example: Some("100.50".into()),
            ..MetaSchema::ANY
        }))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for AmountInput {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.to_string().into())
    }
}

impl ParseFromJSON for AmountInput {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Self::read(&value.unwrap_or_default()).map_err(ParseError::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_exact_and_numbers_are_short() {
        let read = |value: Value| AmountInput::read(&value).map(|input| input.0.to_string());
        for (value, expected) in [
            (json!(100.50), "100.5"),
            (json!("100.50"), "100.50"),
            (json!(0), "0"),
            (json!(-0.0), "0"),
            (json!("9007199254740993.11"), "9007199254740993.11"),
            (json!(1e2), "100"),
            (json!(999_999_999_999_999_u64), "999999999999999"),
            (json!(1_000_000_000_000_000_u64), "1000000000000000"),
        ] {
            assert_eq!(read(value.clone()).unwrap(), expected, "{value}");
        }
        for (value, expected) in [
            (json!(9_007_199_254_740_993.11), AmountInputError::SendAsText),
            (json!(1_234_567_890_123_456_u64), AmountInputError::SendAsText),
            (json!(0.1 + 0.2), AmountInputError::SendAsText),
            (json!("1e2"), AmountInputError::Form),
            (json!(""), AmountInputError::Form),
            (json!("."), AmountInputError::Form),
            (json!("1."), AmountInputError::Form),
            (json!(" 1"), AmountInputError::Form),
            (json!("+1"), AmountInputError::Form),
            (json!("١"), AmountInputError::Form),
            (json!("-1"), AmountInputError::Negative),
            (json!(-1), AmountInputError::Negative),
            (json!("12345678901234567890"), AmountInputError::OutOfRange),
            (json!(1e300), AmountInputError::OutOfRange),
            (json!("0.12345"), AmountInputError::OutOfRange),
            (Value::Null, AmountInputError::Form),
            (json!(true), AmountInputError::Form),
        ] {
            assert_eq!(AmountInput::read(&value), Err(expected), "{value}");
        }
    }
}
