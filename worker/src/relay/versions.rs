//! Which version of an entity may be published now.
//!
//! A transaction may commit behind what was read already, and the next version of its entity be read before it. So a
//! row that was written after the last sweep began, and is not the next version of what was published, waits for a
//! sweep: that one finds all earlier versions, for each was committed before the next could be written. The memory of
//! versions only spares waiting: an entity that is not remembered waits as one with a hole does.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use hashlink::LruCache;
use shared::{entity::Version, outbox::PageRow};
use tokio::time::Instant;

/// So many entities are remembered. Two whose hashes meet delay each other, no more.
const REMEMBERED: usize = 65_536;
/// So many may wait at once; beyond that nothing is waited for.
const MOST_HELD: usize = 1_000;
/// A sweep takes long where an old read view keeps what was deleted.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

pub(super) struct Versions {
    published: LruCache<u64, Version>,
    hasher: RandomState,
    held_until: HashMap<u64, Instant>,
}

impl Versions {
    pub(super) fn new() -> Self {
        Self { published: LruCache::new(REMEMBERED), hasher: RandomState::new(), held_until: HashMap::new() }
    }

    /// Takes note that the row is published now; false where it waits for the next sweep.
    pub(super) fn admits(&mut self, PageRow { pending: row, young }: &PageRow, now: Instant) -> bool {
        let entity = self.hasher.hash_one((&row.kind, row.entity_id.as_str()));
        let last = self.published.get(&entity).copied().unwrap_or(Version(0));
        if *young && row.version.0 > last.0 + 1 && self.held_until.len() < MOST_HELD {
            let until = *self.held_until.entry(entity).or_insert(now + LONGEST_WAIT);
            if now < until {
                return false;
            }
            tracing::warn!(
                key = row.record_key(),
                version = row.version.0,
                "earlier versions were not looked for in time"
            );
        }
        self.published.insert(entity, row.version.max(last));
        // As a rule there is none.
        if !self.held_until.is_empty() {
            self.held_until.remove(&entity);
        }
        true
    }

    /// A row that waited and was not in a read that began after its time is gone.
    pub(super) fn end_read(&mut self, began: Instant) {
        self.held_until.retain(|_, until| *until > began);
    }

    /// When the first has waited for long enough.
    pub(super) fn next(&self) -> Option<Instant> {
        self.held_until.values().min().copied()
    }

    /// Another worker may have published since.
    pub(super) fn forget(&mut self) {
        self.published.clear();
        self.held_until.clear();
    }
}
