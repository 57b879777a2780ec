//! Conditions on entities as data, interpreted alike by SQL, by BSON and in memory.
//!
//! Comparing with NULL is false, whatever the operator, and `Not` is the exact complement. So there are two truth
//! values only, in every store. Text is compared by its code points.

mod bson;
mod json;
mod memory;
mod sql;
mod value;

pub use json::{MOST_DEPTH, MOST_TERMS, MOST_VALUES};
pub use value::{parse_json_value, parse_text_value};

pub(crate) use bson::of_value as value_to_bson;
pub(crate) use sql::{like_literal, push_value};

use crate::entity::{Entity, Value};

/// What an entity must be like.
#[derive(Clone, Debug)]
pub enum Specification<E: Entity> {
    /// Every one of them; without any, everything.
    All(Vec<Self>),
    /// At least one of them; without any, nothing.
    Any(Vec<Self>),
    Not(Box<Self>),
    Is {
        field: E::Field,
        test: Test,
    },
}

/// What the value of a field must be like. With a NULL on either side each is false, but for `IsNull`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Eq(Value<'static>),
    Ne(Value<'static>),
    Lt(Value<'static>),
    Lte(Value<'static>),
    Gt(Value<'static>),
    Gte(Value<'static>),
    In(Vec<Value<'static>>),
    /// Whether it is NULL, or whether it is not.
    IsNull(bool),
    /// Of text: how it begins, case and all.
    Prefix(String),
    /// Of text: what is somewhere in it, case and all.
    Contains(String),
}

impl<E: Entity> Specification<E> {
    #[must_use]
    pub const fn everything() -> Self {
        Self::All(Vec::new())
    }

    #[must_use]
    pub const fn is(field: E::Field, test: Test) -> Self {
        Self::Is { field, test }
    }

    /// The one value that the field must have, where the condition says so.
    #[must_use]
    pub fn only_value(&self, of: E::Field) -> Option<&Value<'static>> {
        match self {
            Self::Is { field, test: Test::Eq(value) } if *field == of => Some(value),
            Self::All(parts) => parts.iter().find_map(|part| part.only_value(of)),
            _ => None,
        }
    }
}
