//! Reading entities. What is read is what is committed.

use std::marker::PhantomData;

use sqlx::{MySql, MySqlPool, QueryBuilder};
use thiserror::Error;

use crate::entity::{Entity, Id};

#[derive(Debug, Error)]
#[error("the entity could not be read from MySQL")]
pub struct ReadError(#[from] pub sqlx::Error);

/// A part of a list, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub limit: u32,
    pub offset: u32,
}

#[derive(Debug)]
pub struct Page<E> {
    pub items: Vec<E>,
    pub has_more: bool,
}

/// The entities of one kind in MySQL.
#[derive(Clone, Debug)]
pub struct MySqlRepository<E> {
    pool: MySqlPool,
    entity: PhantomData<fn() -> E>,
}

impl<E: Entity> MySqlRepository<E> {
    #[must_use]
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool, entity: PhantomData }
    }

    pub async fn get(&self, id: &Id) -> Result<Option<E>, ReadError> {
        let mut select: QueryBuilder<MySql> = QueryBuilder::new(E::SELECT);
        select.push(" WHERE id = ").push_bind(id);
        Ok(select.build_query_as().fetch_optional(&self.pool).await?)
    }

    pub async fn list(&self, window: Window) -> Result<Page<E>, ReadError> {
        let mut select: QueryBuilder<MySql> = QueryBuilder::new(E::SELECT);
        // One row more than asked for tells whether there are more.
        select.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(window.limit + 1);
        select.push(" OFFSET ").push_bind(window.offset);
        let mut items: Vec<E> = select.build_query_as().fetch_all(&self.pool).await?;
        let has_more = items.len() > window.limit as usize;
        items.truncate(window.limit as usize);
        Ok(Page { items, has_more })
    }
}
