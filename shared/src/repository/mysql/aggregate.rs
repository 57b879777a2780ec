//! Aggregations as SQL.

use sqlx::{MySql, QueryBuilder, Row, mysql::MySqlRow};

use super::MySqlRepository;
use crate::{
    aggregation::{Aggregation, Function, Group, GroupRow, MOST_GROUPS, Period, RawRow},
    entity::{Entity, Field, FieldType},
    repository::ReadError,
};

impl<E: Entity> MySqlRepository<E> {
    /// The groups in the order of what they have in common, one more than [`MOST_GROUPS`] where there are so many.
    pub async fn aggregate(&self, aggregation: &Aggregation<E>) -> Result<Vec<GroupRow>, ReadError> {
        let mut select: QueryBuilder<MySql> = QueryBuilder::new("SELECT ");
        for (index, group) in aggregation.groups().iter().enumerate() {
            push_key(&mut select, index, *group);
            select.push(", ");
        }
        select.push("CAST(COUNT(*) AS UNSIGNED)");
        for (function, field) in aggregation.asked() {
            push_measure(&mut select, function, field);
        }
        select.push(" FROM ").push(E::PLURAL).push(" WHERE ");
        aggregation.specification.push_sql(&mut select);
        for clause in [" GROUP BY ", " ORDER BY "] {
            for (index, group) in aggregation.groups().iter().enumerate() {
                select.push(if index == 0 { clause } else { ", " });
                push_group(&mut select, index, *group);
            }
        }
        select.push(" LIMIT ").push_bind(MOST_GROUPS + 1);
        let rows = select.build().fetch_all(&self.pool).await?;
        let read = rows.iter().map(|row| read(row, aggregation)).collect::<sqlx::Result<Vec<_>>>()?;
        // Of nothing, SQL counts one group where none is asked for.
        Ok(read.iter().filter(|raw| raw.count > 0).map(|raw| aggregation.row(raw)).collect())
    }
}

/// As text. A period has a name, as MySQL does not see that an expression is the one that is grouped by.
fn push_key<F: Field>(select: &mut QueryBuilder<MySql>, index: usize, group: Group<F>) {
    let column = group.field.name();
    match group.period {
        None => select.push("CAST(").push(column).push(" AS CHAR)"),
        Some(Period::Day) => select.push("DATE_FORMAT(").push(column).push(", '%Y-%m-%d')"),
        Some(Period::Month) => select.push("DATE_FORMAT(").push(column).push(", '%Y-%m-01')"),
        Some(Period::Week) => {
            select.push("DATE_FORMAT(").push(column).push(" - INTERVAL WEEKDAY(").push(column);
            select.push(") DAY, '%Y-%m-%d')")
        }
    };
    if group.period.is_some() {
        select.push(" AS period").push(index);
    }
}

fn push_group<F: Field>(select: &mut QueryBuilder<MySql>, index: usize, group: Group<F>) {
    match group.period {
        None => select.push(group.field.name()),
        Some(_) => select.push("period").push(index),
    };
}

fn push_measure<F: Field>(select: &mut QueryBuilder<MySql>, function: Function, field: F) {
    let is_time = field.facts().field_type == FieldType::Time;
    select.push(if is_time { ", DATE_FORMAT(" } else { ", CAST(" });
    select.push(match function {
        Function::Min => "MIN(",
        Function::Max => "MAX(",
        Function::Count | Function::Sum | Function::Avg => "SUM(",
    });
    select.push(field.name()).push(if is_time { "), '%Y-%m-%dT%H:%i:%s.%fZ')" } else { ") AS CHAR)" });
}

fn read<E: Entity>(row: &MySqlRow, aggregation: &Aggregation<E>) -> sqlx::Result<RawRow> {
    let groups = aggregation.groups().len();
    let text = |index| row.try_get::<Option<String>, _>(index);
    Ok(RawRow {
        keys: (0..groups).map(text).collect::<sqlx::Result<_>>()?,
        count: row.try_get(groups)?,
        values: (groups + 1..row.len()).map(text).collect::<sqlx::Result<_>>()?,
    })
}
