//! How long a repository takes to answer.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use super::{LOG_TARGET, ReadError, Repository};
use crate::{
    entity::{Entity, Id, Kind},
    query::{Page, Query},
    specification::Specification,
};

/// What takes longer is told of in the log.
const SLOW: Duration = Duration::from_secs(1);
/// Longer answers count as one of this length.
const LONGEST: Duration = Duration::from_mins(1);

/// The latencies of one kind of repository, by what it holds, since the process began.
#[derive(Clone)]
pub struct Latencies {
    repository: &'static str,
    histograms: Arc<Mutex<HashMap<Kind, Histogram<u32>>>>,
}

/// In milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Quantiles {
    pub count: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Latencies {
    /// With the name that the log has for the repository.
    #[must_use]
    pub fn new(repository: &'static str) -> Self {
        Self { repository, histograms: Arc::default() }
    }

    /// None where nothing was read yet.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Option<Quantiles> {
        let histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = histograms.get(&kind)?;
        let quantile = |at| Duration::from_micros(histogram.value_at_quantile(at)).as_secs_f64() * 1_000.0;
        Some(Quantiles { count: histogram.len(), p50_ms: quantile(0.5), p99_ms: quantile(0.99) })
    }

    fn record(&self, kind: Kind, taken: Duration) {
        let micros = u64::try_from(taken.min(LONGEST).as_micros()).unwrap_or(u64::MAX);
        let mut histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = match histograms.entry(kind) {
            Entry::Occupied(known) => known.into_mut(),
            // Two digits are enough for a summary; these bounds are possible ones.
            Entry::Vacant(place) => match Histogram::new_with_max(LONGEST.as_secs() * 1_000_000, 2) {
                Ok(histogram) => place.insert(histogram),
                Err(_) => return,
            },
        };
        histogram.saturating_record(micros);
    }
}

/// A repository whose answers are timed, also those that are errors. Slow ones are logged.
#[derive(Clone)]
pub struct Measured<R> {
    inner: R,
    latencies: Latencies,
}

impl<R> Measured<R> {
    pub fn new(inner: R, latencies: Latencies) -> Self {
        Self { inner, latencies }
    }

    /// What is measured, for what only it can do.
    pub fn inner(&self) -> &R {
        &self.inner
    }

    /// Times an answer of what is measured that not every repository can give.
    pub async fn timed<T>(&self, kind: Kind, operation: &'static str, answer: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let answered = answer.await;
        let taken = begun.elapsed();
        self.latencies.record(kind, taken);
        if taken > SLOW {
            let repository = self.latencies.repository;
            tracing::warn!(target: LOG_TARGET, repository, %kind, operation, ?taken, "a slow answer");
        }
        answered
    }
}

impl<E: Entity, R: Repository<E>> Repository<E> for Measured<R> {
    async fn get(&self, id: &Id) -> Result<Option<E>, ReadError> {
        self.timed(E::KIND, "get", self.inner.get(id)).await
    }

    async fn find(&self, query: &Query<E>) -> Result<Page<E>, ReadError> {
        self.timed(E::KIND, "find", self.inner.find(query)).await
    }

    async fn count(&self, specification: &Specification<E>) -> Result<u64, ReadError> {
        self.timed(E::KIND, "count", self.inner.count(specification)).await
    }

    async fn exists(&self, id: &Id) -> Result<bool, ReadError> {
        self.timed(E::KIND, "exists", self.inner.exists(id)).await
    }
}
