//! Back-pressure: how much waits to be announced, as a task samples it, and whether that is too much for more.

use std::time::Duration;

use shared::{
    config,
    lifecycle::Lifecycle,
    outbox::{self, Backlog},
    telemetry::one_line,
};
use sqlx::MySqlPool;
use tokio::{sync::watch, time::Instant};

/// Between the end of a sample and the next.
const PAUSE: Duration = Duration::from_secs(2);
/// One sample's; the pool limits its statements too.
const LIMIT: Duration = Duration::from_secs(5);
/// Nothing is refused for what was known before.
const BELIEVED_FOR: Duration = Duration::from_secs(30);

/// The last sample. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Gauge {
    sampled: watch::Receiver<Option<(Instant, Backlog)>>,
    max_depth: u64,
    max_age_ms: u64,
}

impl Gauge {
    /// Begins to sample, in a task of its own.
    pub(crate) fn start(pool: MySqlPool, settings: &config::Outbox, lifecycle: &Lifecycle) -> Self {
        let (taken, sampled) = watch::channel(None);
        let stop = lifecycle.clone();
        lifecycle.spawn(async move {
            while let Some(sample) = stop.unless_stopped(tokio::time::timeout(LIMIT, sample(&pool))).await {
                match sample {
                    // Nobody asks any more only when the process stops.
                    Ok(Ok(backlog)) => drop(taken.send_replace(Some((Instant::now(), backlog)))),
                    Ok(Err(error)) => tracing::debug!(error = one_line(&error), "the outbox could not be sampled"),
                    Err(_) => tracing::debug!("the outbox could not be sampled in time"),
                }
                stop.pause(PAUSE).await;
            }
        });
        Self { sampled, max_depth: settings.max_depth, max_age_ms: settings.max_age_ms }
    }

    /// None where there is none that can be believed.
    pub(crate) fn last(&self) -> Option<Backlog> {
        let (at, backlog) = (*self.sampled.borrow())?;
        (at.elapsed() < BELIEVED_FOR).then_some(backlog)
    }

    /// Whether no more may be written.
    pub(crate) fn is_exceeded(&self) -> bool {
        let exceeds = |found: u64, most: u64| most > 0 && found > most;
        self.last().is_some_and(|it| exceeds(it.depth, self.max_depth) || exceeds(it.oldest_age_ms, self.max_age_ms))
    }
}

async fn sample(pool: &MySqlPool) -> sqlx::Result<Backlog> {
    outbox::backlog(&mut *pool.acquire().await?).await
}
