//! What conditions, sorts and aggregations may name: closed sets of fields, and the values they compare.

use std::{borrow::Cow, fmt::Debug, hash::Hash, str::FromStr};

use rust_decimal::Decimal;
use strum::VariantArray;

use super::Version;
use crate::timestamp::Timestamp;

/// The fields of one kind of entity. The text form is the name in JSON, in MySQL and (but for [`document_path`]) in
/// MongoDB.
///
/// [`document_path`]: Field::document_path
pub trait Field:
    Copy + Debug + Eq + Hash + Into<&'static str> + FromStr + VariantArray + Send + Sync + Unpin + 'static
{
    /// Which every entity has: what a list is sorted by where nothing else is asked for, and what decides between equals.
    const ID: Self;
    const CREATED_AT: Self;

    fn facts(self) -> Facts;

    fn name(self) -> &'static str {
        self.into()
    }

    /// Where documents keep the value that conditions compare.
    fn document_path(self) -> Cow<'static, str> {
        match self.facts().field_type {
            _ if self == Self::ID => "_id".into(),
            FieldType::Amount => format!("{}{DECIMAL_SUFFIX}", self.name()).into(),
            _ => self.name().into(),
        }
    }
}

/// Documents keep an amount as text, as REST shows it, and beside it as a decimal under the name with this suffix.
pub const DECIMAL_SUFFIX: &str = "_decimal";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Compared by its code points, as UTF-8 is by its bytes.
    Text,
    /// One of a closed set of words.
    Choice(&'static [&'static str]),
    Integer,
    Amount,
    Time,
}

/// What may be done with a field.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub field_type: FieldType,
    pub nullable: bool,
    /// An index begins with it: lists may be sorted by it.
    pub sortable: bool,
    /// An index begins with it: lists offer it as a filter.
    pub filterable: bool,
}

impl Facts {
    #[must_use]
    pub const fn of(field_type: FieldType) -> Self {
        Self { field_type, nullable: false, sortable: false, filterable: false }
    }

    #[must_use]
    pub const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    #[must_use]
    pub const fn sortable(self) -> Self {
        Self { sortable: true, ..self }
    }

    #[must_use]
    pub const fn filterable(self) -> Self {
        Self { filterable: true, ..self }
    }
}

/// What a field holds, or is compared with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value<'a> {
    Null,
    /// Also of a choice.
    Text(Cow<'a, str>),
    Integer(i64),
    Amount(Decimal),
    Time(Timestamp),
}

impl Value<'_> {
    /// The word of a status.
    pub fn choice(word: impl Into<&'static str>) -> Self {
        Self::Text(word.into().into())
    }

    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(text.into_owned().into()),
            Self::Integer(number) => Value::Integer(number),
            Self::Amount(decimal) => Value::Amount(decimal),
            Self::Time(time) => Value::Time(time),
        }
    }
}

impl From<Version> for Value<'_> {
    fn from(version: Version) -> Self {
        Self::Integer(version.0.cast_signed())
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}
