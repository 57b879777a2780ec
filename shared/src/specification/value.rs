//! Reading the values that conditions compare with.

use rust_decimal::Decimal;
use serde_json::Value as Json;

use crate::{
    entity::{Field, FieldType, Value},
    timestamp::Timestamp,
};

/// In characters.
const LONGEST_TEXT: usize = 1_000;
/// What MySQL's `DATETIME` holds.
const FIRST_TIME: &str = "1000-01-01T00:00:00Z";
const LAST_TIME: &str = "9999-12-31T23:59:59.999Z";

/// Reads a value of the field as a parameter or a cursor carries it. The error is the rule that it breaks.
pub fn parse_text_value<F: Field>(field: F, text: &str) -> Result<Value<'static>, String> {
    match field.facts().field_type {
        FieldType::Text => {
            let fits = text.chars().count() <= LONGEST_TEXT && !text.contains('\0');
            let rule = || format!("must be at most {LONGEST_TEXT} characters, without NUL");
            fits.then(|| Value::Text(text.to_owned().into())).ok_or_else(rule)
        }
        FieldType::Choice(words) => {
            let word = words.iter().find(|word| **word == text);
            word.map(|word| Value::choice(*word)).ok_or_else(|| format!("must be one of {}", words.join(", ")))
        }
        FieldType::Integer => text.parse().map(Value::Integer).map_err(|_| "must be an integer of 64 bits".to_owned()),
        FieldType::Amount => amount(text).ok_or_else(|| "must be a decimal, such as 100.50".to_owned()),
        FieldType::Time => time(text).ok_or_else(|| "must be a time, such as 2026-01-31T12:00:00Z".to_owned()),
    }
}

/// Reads a value of the field as JSON carries it. The error is the rule that it breaks.
pub fn parse_json_value<F: Field>(field: F, json: &Json) -> Result<Value<'static>, String> {
    match (field.facts().field_type, json) {
        (_, Json::Null) => Err("nothing compares with null: the operator for it is is_null".to_owned()),
        (FieldType::Integer, Json::Number(number)) => parse_text_value(field, &number.to_string()),
        (FieldType::Integer, _) => Err("must be a number".to_owned()),
        (FieldType::Amount, Json::Number(_)) => Err("must be text, as amounts are exact".to_owned()),
        (_, Json::String(text)) => parse_text_value(field, text),
        _ => Err("must be text".to_owned()),
    }
}

/// Digits with at most one point; no exponent. Not more than any store compares exactly.
fn amount(text: &str) -> Option<Value<'static>> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-');
    let decimal = Decimal::from_str_exact(text).ok().filter(|_| plain)?;
    Some(Value::Amount(decimal))
}

/// A time beyond what the stores hold compares as the first or the last of theirs does.
fn time(text: &str) -> Option<Value<'static>> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    let bound = |text: &str| text.parse::<chrono::DateTime<chrono::Utc>>().ok();
    Some(Value::Time(Timestamp::from(time.clamp(bound(FIRST_TIME)?, bound(LAST_TIME)?))))
}
