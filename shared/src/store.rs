//! MySQL with everything that follows a commit: the cache is told, the relay's bell is rung.

use std::time::Duration;

use rand::RngExt;
use sqlx::MySqlPool;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::{
    bell::Bell,
    cache::{Cache, Changed, Invalidation},
    config::Config,
    database,
    event::Origin,
    lane::Lane,
    lifecycle::Lifecycle,
    telemetry::one_line,
    unit_of_work::{CommitError, UnitOfWork, WriteError},
};

/// How often a transaction is done again after it met another one.
const ATTEMPTS: u32 = 6;

/// Something that is done in one transaction, and can be done again from its beginning after a deadlock.
pub trait Change: Send + Sync {
    type Output: Send;
    type Error: From<WriteError> + Send;

    fn apply(&self, work: &mut UnitOfWork) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// Why a change was not made, or not surely made.
#[derive(Debug, Error)]
pub enum TransactError<E> {
    /// The change refused; nothing is stored.
    #[error("the change was refused")]
    Refused(E),
    /// It met other transactions each time; nothing is stored.
    #[error("the change met other transactions {ATTEMPTS} times")]
    Conflict,
    /// Nothing is stored.
    #[error("the transaction failed")]
    Failed(#[source] WriteError),
    /// Nothing is stored.
    #[error("the transaction did not end in time")]
    Timeout,
    /// The change's code panicked; its transaction went with it.
    #[error("the transaction panicked")]
    Panicked,
    /// The connection was lost at COMMIT: the change is stored or it is not.
    #[error("the outcome is unknown")]
    OutcomeUnknown(#[source] Option<sqlx::Error>),
}

#[derive(Clone)]
pub struct Store {
    pool: MySqlPool,
    cache: Cache,
    bell: Bell,
    lifecycle: Lifecycle,
    transaction_timeout: Duration,
    max_payload_bytes: usize,
}

impl Store {
    #[must_use]
    pub fn new(config: &Config, cache: Cache, bell: Bell, lifecycle: Lifecycle) -> Self {
        let settings = &config.database;
        Self {
            pool: database::pool(settings),
            cache,
            bell,
            lifecycle,
            transaction_timeout: Duration::from_millis(settings.transaction_timeout_ms),
            max_payload_bytes: config.outbox.max_payload_bytes,
        }
    }

    /// For reading.
    #[must_use]
    pub fn pool(&self) -> &MySqlPool {
        &self.pool
    }

    /// Begins, applies, commits, all but the commit within the transaction's time; does the whole again after a
    /// deadlock; afterwards tells the cache and rings the bell.
    ///
    /// Runs to its end also when the caller stops waiting: a commit is never left without what follows it.
    pub async fn transact<C: Change<Output: 'static, Error: 'static> + 'static>(
        &self,
        origin: Origin,
        change: C,
    ) -> Result<C::Output, TransactError<C::Error>> {
        let store = self.clone();
        let transaction = self.lifecycle.spawn(async move { store.attempt_until_done(&origin, &change).await });
        transaction.await.unwrap_or_else(|ended| {
            tracing::error!(error = one_line(&ended), "a transaction panicked");
            Err(TransactError::Panicked)
        })
    }

    async fn attempt_until_done<C: Change>(
        &self,
        origin: &Origin,
        change: &C,
    ) -> Result<C::Output, TransactError<C::Error>> {
        let deadline = Instant::now() + self.transaction_timeout;
        for attempt in 1..=ATTEMPTS {
            match self.attempt(origin, change, deadline).await {
                Err(TransactError::Conflict) => {
                    let pause_ms = rand::rng().random_range(1..=10 * u64::from(attempt));
                    self.lifecycle.pause(Duration::from_millis(pause_ms)).await;
                }
                done => return done,
            }
        }
        Err(TransactError::Conflict)
    }

    async fn attempt<C: Change>(
        &self,
        origin: &Origin,
        change: &C,
        deadline: Instant,
    ) -> Result<C::Output, TransactError<C::Error>> {
        let begun = UnitOfWork::begin(&self.pool, &self.cache, self.lifecycle.tracker(), origin.clone());
        let mut work = match timeout_at(deadline, begun).await {
            Ok(begun) => begun.map_err(TransactError::Failed)?,
            Err(_) => return Err(TransactError::Timeout),
        };
        let applied = timeout_at(deadline, async {
            let output = change.apply(&mut work).await?;
            // After a deadlock the transaction is gone, whatever the change made of it.
            if !work.met_conflict() {
                work.append_events(self.max_payload_bytes).await?;
            }
            Ok(output)
        });
        let output = match applied.await {
            Ok(Ok(output)) if !work.met_conflict() => output,
            Ok(Ok(_)) => {
                work.roll_back(self.transaction_timeout).await;
                return Err(TransactError::Conflict);
            }
            Ok(Err(error)) => {
                let conflict = work.met_conflict();
                work.roll_back(self.transaction_timeout).await;
                return Err(if conflict { TransactError::Conflict } else { TransactError::Refused(error) });
            }
            Err(_) => return Err(TransactError::Timeout),
        };
        match work.commit(self.transaction_timeout).await {
            Ok((changed, mut tokens)) => {
                let invalidations = changed.iter().map(|it| Invalidation::with_state(it, tokens.take(&it.key)));
                self.announce(invalidations.collect(), &changed).await;
                Ok(output)
            }
            Err(CommitError::Conflict) => Err(TransactError::Conflict),
            Err(CommitError::Unknown { changed, source }) => {
                self.announce(changed.iter().map(|it| Invalidation::of(&it.key, it.version)).collect(), &changed).await;
                Err(TransactError::OutcomeUnknown(source))
            }
        }
    }

    /// Best effort: the relay polls and the invalidator invalidates again, so a lost call costs time, not truth.
    async fn announce(&self, invalidations: Vec<Invalidation>, changed: &[Changed]) {
        self.bell.ring(changed.iter().map(|it| Lane::of(&it.key)));
        if let Err(error) = self.cache.invalidate(&invalidations).await {
            tracing::debug!(error = one_line(&error), "the cache could not be told of a change");
        }
    }
}
