//! The last version of each entity that this worker published, to see holes.
//!
//! It only delays: a version that is missing may be in a transaction that was open when the outbox was read, or wait
//! behind another worker; an entity that is not remembered is not held up.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use hashlink::LruCache;
use shared::{entity::Version, outbox::Pending};
use tokio::time::Instant;

/// So many entities are remembered. Two whose hashes meet delay each other, no more.
const REMEMBERED: usize = 65_536;
/// So many may be held up at once; beyond that a hole is not waited for.
const MOST_HELD: usize = 1_000;
/// How long a missing version is waited for.
const HOLE: Duration = Duration::from_secs(1);

pub(super) struct Versions {
    published: LruCache<u64, Version>,
    hasher: RandomState,
    held_until: HashMap<u64, Instant>,
}

impl Versions {
    pub(super) fn new() -> Self {
        Self { published: LruCache::new(REMEMBERED), hasher: RandomState::new(), held_until: HashMap::new() }
    }

    /// Takes note that the row is published now; false where it waits for an earlier version, that may still come.
    pub(super) fn admits(&mut self, row: &Pending, now: Instant) -> bool {
        let entity = self.hasher.hash_one((&row.kind, row.entity_id.as_str()));
        let last = self.published.entry(entity).or_insert(row.version);
        if row.version.0 > last.0 + 1 && self.held_until.len() < MOST_HELD {
            let until = *self.held_until.entry(entity).or_insert(now + HOLE);
            if now < until {
                return false;
            }
            tracing::warn!(key = row.record_key(), version = row.version.0, "an earlier version did not come in time");
        }
        *last = row.version.max(*last);
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

    /// When the first hole has been waited for.
    pub(super) fn next(&self) -> Option<Instant> {
        self.held_until.values().min().copied()
    }

    /// Another worker may have published since.
    pub(super) fn forget(&mut self) {
        self.published.clear();
        self.held_until.clear();
    }
}
