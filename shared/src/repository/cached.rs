//! Entities by id from the cache, in front of another repository. Lists and counts are not cached.
//!
//! A hit needs a fresh beat of its lane: without one, how old it may be has no bound.

mod stats;
mod warm;

pub use stats::{CacheStats, Counts};
pub use warm::{WarmReport, Warming};

use super::{ReadError, Repository};
use crate::{
    cache::{Cache, CacheError, Content, Lookup, State, Token},
    entity::{Entity, Id, Key, Version},
    query::{Page, Query},
    specification::Specification,
    telemetry::one_line,
};

#[derive(Clone)]
pub struct Cached<R> {
    cache: Cache,
    inner: R,
    stats: CacheStats,
}

impl<R> Cached<R> {
    pub fn new(cache: Cache, inner: R, stats: CacheStats) -> Self {
        Self { cache, inner, stats }
    }
}

impl<E: Entity, R: Repository<E>> Repository<E> for Cached<R> {
    async fn get(&self, id: &Id) -> Result<Option<E>, ReadError> {
        let key = Key { kind: E::KIND, id: id.clone() };
        let counts = self.stats.of(E::KIND);
        match self.cache.read(&key).await {
            Ok(Lookup::Hit(content)) => match entity_of(&content) {
                Ok(found) => {
                    let counter = if found.is_some() { &counts.hits } else { &counts.negative_hits };
                    CacheStats::count(counter);
                    return Ok(found);
                }
                Err(error) => tracing::warn!(error = one_line(&error), "a cached payload cannot be read"),
            },
            Ok(Lookup::Miss) => {
                CacheStats::count(&counts.misses);
                return self.load(&key).await;
            }
            Ok(Lookup::Unbounded) => {}
            Err(error) => self.failed::<E>(&error),
        }
        CacheStats::count(&counts.bypassed);
        self.inner.get(id).await
    }

    async fn find(&self, query: &Query<E>) -> Result<Page<E>, ReadError> {
        self.inner.find(query).await
    }

    async fn count(&self, specification: &Specification<E>) -> Result<u64, ReadError> {
        self.inner.count(specification).await
    }

    async fn exists(&self, id: &Id) -> Result<bool, ReadError> {
        Ok(self.get(id).await?.is_some())
    }
}

impl<R> Cached<R> {
    /// Reads behind the cache, and fills it where nothing was invalidated meanwhile.
    async fn load<E: Entity>(&self, key: &Key) -> Result<Option<E>, ReadError>
    where
        R: Repository<E>,
    {
        // Before the read: whatever is changed after it takes the token away.
        let token = self.cache.miss(key).await;
        let found = self.inner.get(&key.id).await?;
        match token {
            Ok(token) => {
                self.fill(key, found.as_ref(), &token).await;
            }
            Err(error) => self.failed::<E>(&error),
        }
        Ok(found)
    }

    /// Whether the entry was taken.
    async fn fill<E: Entity>(&self, key: &Key, found: Option<&E>, token: &Token) -> bool {
        let counts = self.stats.of(E::KIND);
        let Ok(content) = content_of(found) else { return false };
        match self.cache.fill(key, &content, token).await {
            Ok(accepted) => {
                CacheStats::count(if accepted { &counts.fills } else { &counts.refused_fills });
                accepted
            }
            Err(error) => {
                self.failed::<E>(&error);
                false
            }
        }
    }

    fn failed<E: Entity>(&self, error: &CacheError) {
        CacheStats::count(&self.stats.of(E::KIND).errors);
        tracing::debug!(error = one_line(error), "the cache could not be used");
    }
}

fn entity_of<E: Entity>(content: &Content) -> serde_json::Result<Option<E>> {
    match content.state {
        State::Live => serde_json::from_str(&content.payload).map(Some),
        State::Absent | State::Deleted => Ok(None),
    }
}

fn content_of<E: Entity>(found: Option<&E>) -> serde_json::Result<Content> {
    Ok(match found {
        Some(entity) => {
            Content { version: entity.version(), state: State::Live, payload: serde_json::to_string(entity)? }
        }
        None => Content { version: Version(0), state: State::Absent, payload: String::new() },
    })
}
