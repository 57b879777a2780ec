//! What the cache did for this process since it began.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use strum::VariantArray;

use crate::entity::Kind;

/// Counters by kind.
#[derive(Clone)]
pub struct CacheStats(Arc<HashMap<Kind, Counters>>);

#[derive(Default)]
pub(super) struct Counters {
    pub(super) hits: AtomicU64,
    pub(super) negative_hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) bypassed: AtomicU64,
    pub(super) fills: AtomicU64,
    pub(super) refused_fills: AtomicU64,
    pub(super) errors: AtomicU64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub hits: u64,
    /// "There is no such entity", from the cache.
    pub negative_hits: u64,
    pub misses: u64,
    /// Read past the cache: Redis was away, or the lane had no fresh beat.
    pub bypassed: u64,
    pub fills: u64,
    /// Something was changed between the read and the fill.
    pub refused_fills: u64,
    pub errors: u64,
}

impl Default for CacheStats {
    fn default() -> Self {
        Self(Arc::new(Kind::VARIANTS.iter().map(|kind| (*kind, Counters::default())).collect()))
    }
}

impl CacheStats {
    #[must_use]
    pub fn counts(&self, kind: Kind) -> Counts {
        let counters = self.of(kind);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            hits: read(&counters.hits),
            negative_hits: read(&counters.negative_hits),
            misses: read(&counters.misses),
            bypassed: read(&counters.bypassed),
            fills: read(&counters.fills),
            refused_fills: read(&counters.refused_fills),
            errors: read(&counters.errors),
        }
    }

    pub(super) fn of(&self, kind: Kind) -> &Counters {
        // Every kind has its own; the other is never asked for.
        static NONE: LazyLock<Counters> = LazyLock::new(Counters::default);
        self.0.get(&kind).unwrap_or(&NONE)
    }

    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
