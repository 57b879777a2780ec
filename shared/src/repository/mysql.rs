//! Entities in MySQL: what is read is what is committed.

mod aggregate;

use std::marker::PhantomData;

use sqlx::{FromRow, MySql, MySqlPool, QueryBuilder};

use super::{ReadError, Repository};
use crate::{
    entity::{Entity, Field, Id, Value},
    query::{Page, Position, Query},
    specification::{Specification, push_value},
};

/// The entities of one kind in MySQL.
#[derive(Clone, Debug)]
pub struct MySqlRepository<E> {
    pool: MySqlPool,
    entity: PhantomData<fn() -> E>,
}

/// An index of a table.
#[derive(Clone, Debug, FromRow)]
pub struct Index {
    pub name: String,
    /// In their order, separated by commas.
    pub columns: String,
    pub is_unique: bool,
}

impl<E: Entity> MySqlRepository<E> {
    #[must_use]
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool, entity: PhantomData }
    }

    /// The indexes of the table.
    pub async fn indexes(&self) -> Result<Vec<Index>, ReadError> {
        let indexes = sqlx::query_as(
            "SELECT index_name AS name, GROUP_CONCAT(column_name ORDER BY seq_in_index) AS columns, \
             MAX(non_unique) = 0 AS is_unique FROM information_schema.statistics \
             WHERE table_schema = DATABASE() AND table_name = ? GROUP BY index_name ORDER BY index_name",
        );
        Ok(indexes.bind(E::PLURAL).fetch_all(&self.pool).await?)
    }

    /// About how many rows the table has: an estimate, at once.
    pub async fn estimated_rows(&self) -> Result<u64, ReadError> {
        let rows = sqlx::query_scalar(
            "SELECT CAST(IFNULL(table_rows, 0) AS UNSIGNED) FROM information_schema.tables \
             WHERE table_schema = DATABASE() AND table_name = ?",
        );
        Ok(rows.bind(E::PLURAL).fetch_one(&self.pool).await?)
    }

    /// How MySQL would read what is asked for, as `EXPLAIN` says it in JSON.
    pub async fn explain(&self, query: &Query<E>) -> Result<String, ReadError> {
        let mut statement = QueryBuilder::new("EXPLAIN FORMAT=JSON ");
        push_find(&mut statement, query);
        Ok(statement.build_query_scalar().fetch_one(&self.pool).await?)
    }
}

impl<E: Entity> Repository<E> for MySqlRepository<E> {
    async fn get(&self, id: &Id) -> Result<Option<E>, ReadError> {
        let mut select: QueryBuilder<MySql> = QueryBuilder::new(E::SELECT);
        select.push(" WHERE id = ").push_bind(id);
        select.build_query_as().fetch_optional(&self.pool).await.map_err(ReadError::MySql)
    }

    async fn find(&self, query: &Query<E>) -> Result<Page<E>, ReadError> {
        let mut select = QueryBuilder::new("");
        push_find(&mut select, query);
        Ok(Page::of_one_more(select.build_query_as().fetch_all(&self.pool).await?, query.limit))
    }

    async fn count(&self, specification: &Specification<E>) -> Result<u64, ReadError> {
        let mut select: QueryBuilder<MySql> = QueryBuilder::new("SELECT CAST(COUNT(*) AS UNSIGNED) FROM ");
        select.push(E::PLURAL).push(" WHERE ");
        specification.push_sql(&mut select);
        Ok(select.build_query_scalar().fetch_one(&self.pool).await?)
    }

    async fn exists(&self, id: &Id) -> Result<bool, ReadError> {
        let mut select: QueryBuilder<MySql> = QueryBuilder::new("SELECT EXISTS (SELECT 1 FROM ");
        select.push(E::PLURAL).push(" WHERE id = ").push_bind(id).push(")");
        Ok(select.build_query_scalar().fetch_one(&self.pool).await?)
    }
}

/// One row more than asked for tells whether there are more.
fn push_find<E: Entity>(statement: &mut QueryBuilder<MySql>, query: &Query<E>) {
    statement.push(E::SELECT).push(" WHERE ");
    query.specification.push_sql(statement);
    if let Position::After { value, id } = &query.position {
        push_after(statement, query, value, id);
    }
    let direction = if query.sort.is_descending() { " DESC" } else { " ASC" };
    statement.push(" ORDER BY ");
    if query.sort.field() != E::Field::ID {
        statement.push(query.sort.field().name()).push(direction).push(", ");
    }
    statement.push(E::Field::ID.name()).push(direction).push(" LIMIT ").push_bind(query.limit + 1);
    if let Position::Offset(offset) = query.position {
        statement.push(" OFFSET ").push_bind(offset);
    }
}

/// `field <= value AND (field < value OR id < id)`: in this form MySQL begins to read at the value.
fn push_after<E: Entity>(statement: &mut QueryBuilder<MySql>, query: &Query<E>, value: &Value<'static>, id: &Id) {
    let (field, beyond) = (query.sort.field(), if query.sort.is_descending() { " < " } else { " > " });
    let or_equal = if query.sort.is_descending() { " <= " } else { " >= " };
    statement.push(" AND ");
    if field != E::Field::ID {
        statement.push(field.name()).push(or_equal);
        push_value(statement, value.clone());
        statement.push(" AND (").push(field.name()).push(beyond);
        push_value(statement, value.clone());
        statement.push(" OR ");
    }
    statement.push(E::Field::ID.name()).push(beyond).push_bind(id.to_string());
    if field != E::Field::ID {
        statement.push(")");
    }
}
