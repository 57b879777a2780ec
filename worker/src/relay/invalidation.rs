//! Tells the cache before Kafka: a client that hears of a change should not read the state before it.

use shared::{
    cache::{Cache, Invalidation},
    outbox::Pending,
    telemetry::one_line,
};

use crate::newest;

#[derive(Clone)]
pub(super) struct Invalidator(pub(super) Cache);

impl Invalidator {
    /// Best effort: the consumer group of that name makes sure.
    pub(super) async fn invalidate(&self, rows: &[Pending]) {
        let newest = newest::by_key(rows.iter().filter_map(|row| Some((row.key()?, row.version, ()))));
        let invalidations: Vec<_> = newest.iter().map(|(key, (version, ()))| Invalidation::of(key, *version)).collect();
        if let Err(error) = self.0.invalidate(&invalidations).await {
            tracing::debug!(error = one_line(&error), "the cache could not be told before publishing");
        }
    }
}
