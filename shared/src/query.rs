//! What is asked of a repository: which entities, in which order, which part of them.

use std::fmt;

use crate::{
    entity::{Entity, Field, Id, Value},
    specification::Specification,
};

/// A part of the entities that fulfil a condition.
#[derive(Clone, Debug)]
pub struct Query<E: Entity> {
    pub specification: Specification<E>,
    pub sort: Sort<E::Field>,
    pub position: Position,
    pub limit: u32,
}

/// Where a part begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// Behind so many. What is written meanwhile shifts them.
    Offset(u32),
    /// Behind the entity with this id, whose field of the sort has this value; whatever is written meanwhile, nothing
    /// comes twice and nothing is missed.
    After { value: Value<'static>, id: Id },
}

/// By one field, and among equals by the id in the same direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort<F: Field> {
    field: F,
    descending: bool,
}

impl<F: Field> Sort<F> {
    /// Reads `created_at`, or `-created_at` for descending. None for a field that is not sorted by.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let field: F = name.parse().ok()?;
        field.facts().sortable.then_some(Self { field, descending })
    }

    #[must_use]
    pub fn field(self) -> F {
        self.field
    }

    #[must_use]
    pub fn is_descending(self) -> bool {
        self.descending
    }
}

/// Newest first.
impl<F: Field> Default for Sort<F> {
    fn default() -> Self {
        Self { field: F::CREATED_AT, descending: true }
    }
}

/// As [`Sort::parse`] reads it.
impl<F: Field> fmt::Display for Sort<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", if self.descending { "-" } else { "" }, self.field.name())
    }
}

impl<E: Entity> Query<E> {
    /// The position behind an entity.
    #[must_use]
    pub fn after(&self, last: &E) -> Position {
        Position::After { value: last.value(self.sort.field).into_owned(), id: last.id().clone() }
    }
}

#[derive(Debug)]
pub struct Page<E> {
    pub items: Vec<E>,
    pub has_more: bool,
}

impl<E> Page<E> {
    /// Of one item more than the limit, where there are so many: it tells whether there are more.
    pub(crate) fn of_one_more(mut items: Vec<E>, limit: u32) -> Self {
        let has_more = items.len() > limit as usize;
        items.truncate(limit as usize);
        Self { items, has_more }
    }
}
