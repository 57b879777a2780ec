//! Conditions as SQL. Only names of the closed set of fields and literals of this file become text of a statement.

use sqlx::{MySql, QueryBuilder};

use super::{Specification, Test};
use crate::{
    database,
    entity::{Entity, Field, Value},
};

impl<E: Entity> Specification<E> {
    /// Pushes the condition in parentheses, as what may follow `WHERE` or `AND`.
    pub(crate) fn push_sql(&self, statement: &mut QueryBuilder<MySql>) {
        match self {
            Self::All(parts) => push_joined(statement, parts, " AND ", "TRUE"),
            Self::Any(parts) => push_joined(statement, parts, " OR ", "FALSE"),
            Self::Not(part) => {
                statement.push("(NOT ");
                part.push_sql(statement);
                statement.push(")");
            }
            Self::Is { field, test } => push_test::<E>(statement, *field, test),
        }
    }
}

fn push_joined<E: Entity>(
    statement: &mut QueryBuilder<MySql>,
    parts: &[Specification<E>],
    between: &'static str,
    without: &'static str,
) {
    let Some((first, others)) = parts.split_first() else {
        statement.push(without);
        return;
    };
    statement.push("(");
    first.push_sql(statement);
    for part in others {
        statement.push(between);
        part.push_sql(statement);
    }
    statement.push(")");
}

fn push_test<E: Entity>(statement: &mut QueryBuilder<MySql>, field: E::Field, test: &Test) {
    let column = field.name();
    statement.push("(");
    match test {
        Test::IsNull(true) => {
            statement.push(column).push(" IS NULL");
        }
        Test::IsNull(false) => {
            statement.push(column).push(" IS NOT NULL");
        }
        Test::Eq(value) => push_comparison(statement, column, " = ", value),
        Test::Ne(value) => push_comparison(statement, column, " <> ", value),
        Test::Lt(value) => push_comparison(statement, column, " < ", value),
        Test::Lte(value) => push_comparison(statement, column, " <= ", value),
        Test::Gt(value) => push_comparison(statement, column, " > ", value),
        Test::Gte(value) => push_comparison(statement, column, " >= ", value),
        Test::In(values) => push_in(statement, column, values),
        Test::Prefix(part) => {
            statement.push(column).push(" LIKE ").push_bind(format!("{}%", like_literal(part)));
        }
        Test::Contains(part) => {
            statement.push(column).push(" LIKE ").push_bind(format!("%{}%", like_literal(part)));
        }
    }
    // Without it the test of a NULL would be neither true nor false, and so would its opposite.
    if field.facts().nullable && !matches!(test, Test::IsNull(_)) {
        statement.push(" AND ").push(column).push(" IS NOT NULL");
    }
    statement.push(")");
}

fn push_comparison(
    statement: &mut QueryBuilder<MySql>,
    column: &'static str,
    operator: &'static str,
    value: &Value<'static>,
) {
    if *value == Value::Null {
        statement.push("FALSE");
        return;
    }
    statement.push(column).push(operator);
    push_value(statement, value.clone());
}

fn push_in(statement: &mut QueryBuilder<MySql>, column: &'static str, values: &[Value<'static>]) {
    let values: Vec<_> = values.iter().filter(|value| **value != Value::Null).cloned().collect();
    if values.is_empty() {
        statement.push("FALSE");
        return;
    }
    statement.push(column).push(" IN (");
    // To a power of two, so that a handful of statements is prepared.
    let padded = database::padded_len(values.len());
    for (index, value) in values.iter().cycle().take(padded).enumerate() {
        if index > 0 {
            statement.push(", ");
        }
        push_value(statement, value.clone());
    }
    statement.push(")");
}

/// Pushes a placeholder for the value.
pub(crate) fn push_value(statement: &mut QueryBuilder<MySql>, value: Value<'static>) {
    match value {
        Value::Null => statement.push("NULL"),
        Value::Text(text) => statement.push_bind(text.into_owned()),
        Value::Integer(number) => statement.push_bind(number),
        Value::Amount(decimal) => statement.push_bind(decimal),
        Value::Time(time) => statement.push_bind(time),
    };
}

/// Text for `LIKE` that stands for nothing but itself.
pub(crate) fn like_literal(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}
