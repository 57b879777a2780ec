//! The invalidator: takes what has changed out of the cache, guaranteed. Its offsets are not committed before.

use shared::cache::{Cache, CacheError, Invalidation};

use crate::{
    consumer::{Effect, Record},
    newest,
};

pub(crate) struct Invalidator {
    cache: Cache,
}

impl Invalidator {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache }
    }
}

impl Effect for Invalidator {
    const NAME: &'static str = "invalidator";
    type Error = CacheError;

    async fn apply(&mut self, records: &[Record]) -> Result<(), CacheError> {
        let newest = newest::by_key(records.iter().map(|it| (it.event.key(), it.event.version, ())));
        let invalidations: Vec<_> = newest.iter().map(|(key, (version, ()))| Invalidation::of(key, *version)).collect();
        self.cache.invalidate(&invalidations).await
    }
}
