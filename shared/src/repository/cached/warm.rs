//! Filling the cache before anyone asks.

use std::collections::HashSet;

use super::Cached;
use crate::{
    cache::Token,
    entity::{Entity, Field, Id, Key, Value},
    query::{Position, Query, Sort},
    repository::{ReadError, Repository},
    specification::{Specification, Test},
    telemetry::one_line,
};

/// Tokens of so many are held while their rows are read.
const CHUNK: u32 = 100;

/// What is to be warmed.
pub enum Warming<E: Entity> {
    /// Each counts once.
    Ids(Vec<Id>),
    /// The newest that fulfil it, so many at the most.
    Where(Specification<E>, u32),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmReport {
    pub loaded: u64,
    /// There is no such entity.
    pub skipped: u64,
    /// Something was changed between the read and the fill, or Redis was away.
    pub refused: u64,
}

impl<R> Cached<R> {
    /// In chunks: tokens first, then the rows, then the fills; so nothing that is changed meanwhile is overwritten.
    pub async fn warm<E: Entity>(&self, warming: Warming<E>) -> Result<WarmReport, ReadError>
    where
        R: Repository<E>,
    {
        let ids = match warming {
            Warming::Ids(mut ids) => {
                let mut named = HashSet::new();
                ids.retain(|id| named.insert(id.clone()));
                ids
            }
            Warming::Where(specification, limit) => self.ids(specification, limit).await?,
        };
        let mut report = WarmReport::default();
        for chunk in ids.chunks(CHUNK as usize) {
            self.warm_chunk(chunk, &mut report).await?;
        }
        Ok(report)
    }

    async fn ids<E: Entity>(&self, specification: Specification<E>, limit: u32) -> Result<Vec<Id>, ReadError>
    where
        R: Repository<E>,
    {
        let (mut ids, mut position) = (Vec::new(), Position::Offset(0));
        let mut left = limit;
        while left > 0 {
            let limit = CHUNK.min(left);
            left -= limit;
            let query = Query { specification: specification.clone(), sort: Sort::default(), position, limit };
            let page = self.inner.find(&query).await?;
            ids.extend(page.items.iter().map(|entity| entity.id().clone()));
            match page.items.last() {
                Some(last) if page.has_more => position = query.after(last),
                _ => break,
            }
        }
        Ok(ids)
    }

    async fn warm_chunk<E: Entity>(&self, ids: &[Id], report: &mut WarmReport) -> Result<(), ReadError>
    where
        R: Repository<E>,
    {
        let keys: Vec<Key> = ids.iter().map(|id| Key { kind: E::KIND, id: id.clone() }).collect();
        let mut tokens: Vec<Option<Token>> = Vec::with_capacity(keys.len());
        for key in &keys {
            let token = self.cache.miss(key).await;
            tokens.push(token.inspect_err(|error| tracing::debug!(error = one_line(error), "no token")).ok());
        }
        let values = ids.iter().map(|id| Value::Text(id.to_string().into())).collect();
        let specification = Specification::is(E::Field::ID, Test::In(values));
        let query = Query { specification, sort: Sort::default(), position: Position::Offset(0), limit: CHUNK };
        let found: Vec<E> = self.inner.find(&query).await?.items;
        for (key, token) in keys.iter().zip(tokens) {
            match (found.iter().find(|entity| *entity.id() == key.id), token) {
                (None, _) => report.skipped += 1,
                (Some(entity), Some(token)) if self.fill(key, Some(entity), &token).await => report.loaded += 1,
                (Some(_), _) => report.refused += 1,
            }
        }
        Ok(())
    }
}
