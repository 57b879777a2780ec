//! Conditions as filters of MongoDB. A field that an entity does not have is missing in its document.

use mongodb::bson::{Bson, DateTime, Decimal128, Document, doc};

use super::{Specification, Test};
use crate::entity::{Entity, Field, Value};

impl<E: Entity> Specification<E> {
    /// The condition as a filter. It says nothing of tombstones.
    #[must_use]
    pub fn to_bson(&self) -> Document {
        match self {
            // The operators refuse to have no operands.
            Self::All(parts) if parts.is_empty() => doc! {},
            Self::Any(parts) if parts.is_empty() => nothing(),
            Self::All(parts) => doc! { "$and": filters(parts) },
            Self::Any(parts) => doc! { "$or": filters(parts) },
            Self::Not(part) => doc! { "$nor": [part.to_bson()] },
            Self::Is { field, test } => of_test(&field.document_path(), test),
        }
    }
}

fn filters<E: Entity>(parts: &[Specification<E>]) -> Vec<Document> {
    parts.iter().map(Specification::to_bson).collect()
}

/// No document is without an id.
fn nothing() -> Document {
    doc! { "_id": { "$in": [] } }
}

fn of_test(path: &str, test: &Test) -> Document {
    let compared = |operator: &str, value: &Value<'static>| {
        if *value == Value::Null {
            nothing()
        } else {
            doc! { path: { operator: of_value(value) } }
        }
    };
    match test {
        Test::IsNull(true) => doc! { path: Bson::Null },
        Test::IsNull(false) => doc! { path: { "$ne": Bson::Null } },
        Test::Eq(value) => equal(path, value),
        Test::Ne(Value::Null) => nothing(),
        // Of what is missing, `$ne` alone would be true.
        Test::Ne(value) => doc! { "$nor": [equal(path, value), { path: Bson::Null }] },
        Test::Lt(value) => compared("$lt", value),
        Test::Lte(value) => compared("$lte", value),
        Test::Gt(value) => compared("$gt", value),
        Test::Gte(value) => compared("$gte", value),
        Test::In(values) => one_of(path, values),
        Test::Prefix(part) => doc! { path: { "$regex": format!("^{}", literal(part)) } },
        Test::Contains(part) => doc! { path: { "$regex": literal(part) } },
    }
}

fn equal(path: &str, value: &Value<'static>) -> Document {
    match value {
        Value::Null => nothing(),
        // One server's `$in` tells 0.01 from 0.010, and it makes one of several equalities. Ranges go by the value.
        Value::Amount(_) => doc! { path: { "$gte": of_value(value), "$lte": of_value(value) } },
        _ => doc! { path: { "$eq": of_value(value) } },
    }
}

fn one_of(path: &str, values: &[Value<'static>]) -> Document {
    let values = values.iter().filter(|value| **value != Value::Null);
    if values.clone().any(|value| matches!(value, Value::Amount(_))) {
        return doc! { "$or": values.map(|value| equal(path, value)).collect::<Vec<_>>() };
    }
    doc! { path: { "$in": values.map(of_value).collect::<Vec<_>>() } }
}

/// The value as documents have it.
pub(crate) fn of_value(value: &Value<'_>) -> Bson {
    match value {
        Value::Null => Bson::Null,
        Value::Text(text) => Bson::String(text.to_string()),
        Value::Integer(number) => Bson::Int64(*number),
        // A decimal of 96 bits is always one of 128.
        Value::Amount(decimal) => decimal.to_string().parse::<Decimal128>().map_or(Bson::Null, Bson::Decimal128),
        Value::Time(time) => Bson::DateTime(DateTime::from_millis(time.to_utc().timestamp_millis())),
    }
}

/// A regular expression for nothing but the text: letters, digits and what is beyond ASCII stand for themselves.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() && !letter.is_ascii_alphanumeric() {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}
