//! The name of an entity: opaque text, made by the server or brought by the client.

use std::{borrow::Cow, fmt, str::FromStr};

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{Example, ParseError, ParseFromJSON, ParseFromParameter, ParseResult, ToJSON, Type},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// The id of an entity, unique within its kind: 1 to 64 of `A-Z a-z 0-9 _ -`, compared byte by byte.
///
/// A word that is a part of a route (`/users/search`) is not an id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(try_from = "String", into = "String")]
#[sqlx(transparent)]
pub struct Id(String);

/// Words that follow a collection's path in a route and so cannot name a member of it.
const RESERVED: [&str; 5] = ["search", "user", "category", "history", "batch"];

const EXAMPLE: &str = "user123";
const PATTERN: &str = "^[A-Za-z0-9_-]{1,64}$";

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum IdError {
    #[error("an id is 1 to 64 of the characters A-Z a-z 0-9 _ -")]
    Form,
    #[error("this word is a part of a route and cannot be an id")]
    Reserved,
}

impl Id {
    /// A new id that sorts by the time of its making (`UUIDv7`, RFC 9562).
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7().to_string())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Id {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            return Err(IdError::Form);
        }
        if RESERVED.contains(&text.as_str()) {
            return Err(IdError::Reserved);
        }
        Ok(Self(text))
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Example for Id {
    fn example() -> Self {
        Self(EXAMPLE.to_owned())
    }
}

impl Type for Id {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_id".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        // The format is checked too: it excludes the reserved words.
        let mut schema = MetaSchema::new_with_format("string", "id");
        schema.pattern = Some(PATTERN.to_owned());
        schema.example = Some(EXAMPLE.into());
        MetaSchemaRef::Inline(Box::new(schema))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ToJSON for Id {
    fn to_json(&self) -> Option<serde_json::Value> {
        Some(self.0.clone().into())
    }
}

impl ParseFromJSON for Id {
    fn parse_from_json(value: Option<serde_json::Value>) -> ParseResult<Self> {
        serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}

impl ParseFromParameter for Id {
    fn parse_from_parameter(value: &str) -> ParseResult<Self> {
        value.parse().map_err(ParseError::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_alphabet_and_no_word_of_a_route() {
        for good in ["user123", "a", "0198-x_Y", &"x".repeat(64)] {
            assert_eq!(good.parse::<Id>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "ä", "a/b", "a:b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Id>(), Err(IdError::Form), "{bad:?}");
        }
        assert_eq!("search".parse::<Id>(), Err(IdError::Reserved));
        assert!(Id::generate().as_str().parse::<Id>().is_ok());
    }
}
