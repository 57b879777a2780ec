//! Free properties of a product: a JSON object within limits that every store can keep.

use std::borrow::Cow;

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::violation::Violation;

const MOST_BYTES: usize = 8 * 1024;
const MOST_LEVELS: usize = 5;
const LONGEST_KEY: usize = 64;
/// Beyond it JavaScript and BSON's readers lose digits.
const LARGEST_INTEGER: u64 = 1 << 53;
/// The same as a float.
const LARGEST_FLOAT: f64 = 9_007_199_254_740_992.0;

/// At most 8 KiB of JSON and 5 levels. What cannot become a document is not accepted: see [`Attributes::check`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(Map<String, Value>);

impl Attributes {
    /// What is wrong with them; the pointers begin at the member that holds them.
    #[must_use]
    pub fn check(&self, pointer: &str) -> Vec<Violation> {
        let mut found = Vec::new();
        if serde_json::to_vec(&self.0).map_or(usize::MAX, |text| text.len()) > MOST_BYTES {
            found.push(Violation::at(pointer, "too-long", format!("at most {MOST_BYTES} bytes of JSON")));
        }
        check_members(&self.0, pointer, 1, &mut found);
        found
    }

    pub(super) fn to_text(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    pub(super) fn from_text(text: &str) -> sqlx::Result<Self> {
        serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
    }

    /// Takes over what a merge patch (RFC 7396) says.
    pub fn merge(&mut self, patch: Self) {
        let mut merged = Value::Object(std::mem::take(&mut self.0));
        json_patch::merge(&mut merged, &Value::Object(patch.0));
        if let Value::Object(members) = merged {
            self.0 = members;
        }
    }
}

fn check_members(members: &Map<String, Value>, pointer: &str, level: usize, found: &mut Vec<Violation>) {
    for (key, value) in members {
        let at = Violation::member(pointer, key);
        if !(1..=LONGEST_KEY).contains(&key.chars().count()) || key.starts_with('$') || key.contains(['.', '\0']) {
            let rule = format!("a key is 1 to {LONGEST_KEY} characters, without . and NUL, and does not begin with $");
            found.push(Violation::at(&at, "invalid-key", rule));
        }
        check_value(value, &at, level, found);
    }
}

fn check_value(value: &Value, pointer: &str, level: usize, found: &mut Vec<Violation>) {
    match value {
        Value::Array(_) | Value::Object(_) if level >= MOST_LEVELS => {
            found.push(Violation::at(pointer, "too-deep", format!("at most {MOST_LEVELS} levels")));
        }
        Value::Object(members) => check_members(members, pointer, level + 1, found),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_value(item, &format!("{pointer}/{index}"), level + 1, found);
            }
        }
        Value::Number(number) => {
            let integer = number.as_i64().map(i64::unsigned_abs).or_else(|| number.as_u64());
            // An integer beyond 64 bits was read as a float and has lost digits; all floats beyond 2^53 are whole.
            let is_too_large = match integer {
                Some(magnitude) => magnitude > LARGEST_INTEGER,
                None => number.as_f64().is_none_or(|float| float.abs() > LARGEST_FLOAT),
            };
            if is_too_large {
                found.push(Violation::at(pointer, "out-of-range", "an integer is within ±2^53".to_owned()));
            }
        }
        Value::String(text) if text.contains('\0') => {
            found.push(Violation::at(pointer, "invalid-format", "text has no NUL".to_owned()));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

impl Type for Attributes {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "attributes".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        let mut schema = MetaSchema::new("object");
        schema.description = Some(
            "A free JSON object of at most 8 KiB and 5 levels. Keys are 1 to 64 characters, without `.` and NUL, and \
             do not begin with `$`; integers are within ±2^53.",
        );
        schema.additional_properties = Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::ANY))));
        schema.example = Some(json!({ "color": "red", "sizes": [41, 42] }));
        MetaSchemaRef::Inline(Box::new(schema))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Attributes {
    fn to_json(&self) -> Option<Value> {
        Some(Value::Object(self.0.clone()))
    }
}

impl ParseFromJSON for Attributes {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}
