//! Conditions on entities that are at hand.

use super::{Specification, Test};
use crate::entity::{Entity, Value};

impl<E: Entity> Specification<E> {
    /// Whether the entity fulfils it.
    #[must_use]
    pub fn matches(&self, entity: &E) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(entity)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(entity)),
            Self::Not(part) => !part.matches(entity),
            Self::Is { field, test } => test.holds(&entity.value(*field)),
        }
    }
}

impl Test {
    fn holds(&self, value: &Value<'_>) -> bool {
        if let Self::IsNull(null) = self {
            return *null == (*value == Value::Null);
        }
        if *value == Value::Null {
            return false;
        }
        let with = |other: &Value<'static>, compares: fn(&Value<'_>, &Value<'_>) -> bool| {
            *other != Value::Null && compares(value, other)
        };
        match self {
            Self::Eq(other) => with(other, |value, other| value == other),
            Self::Ne(other) => with(other, |value, other| value != other),
            Self::Lt(other) => with(other, |value, other| value < other),
            Self::Lte(other) => with(other, |value, other| value <= other),
            Self::Gt(other) => with(other, |value, other| value > other),
            Self::Gte(other) => with(other, |value, other| value >= other),
            Self::In(others) => others.iter().any(|other| with(other, |value, other| value == other)),
            Self::Prefix(text) => matches!(value, Value::Text(value) if value.starts_with(text.as_str())),
            Self::Contains(text) => matches!(value, Value::Text(value) if value.contains(text.as_str())),
            Self::IsNull(_) => false,
        }
    }
}
