//! The relay: drains the outbox to Kafka, each entity in order.
//!
//! One worker at a time, by a lease. It reads what is pending from the lowest id on, publishes it in that order, awaits
//! every acknowledgement, deletes by explicit id, and reads again. A row leaves the outbox only after Kafka has
//! acknowledged it, so a crash at any point costs a duplicate and never an event.

mod authority;
mod doorbell;
mod publisher;

use std::{sync::Arc, time::Duration};

use shared::{
    cache::{Cache, Invalidation},
    config::{Config, Outbox},
    database,
    lifecycle::Lifecycle,
    outbox::{self, BatchLimit, Lease, Pending},
    redis::Redis,
    telemetry::one_line,
};
use sqlx::MySqlConnection;
use thiserror::Error;
use tokio::sync::Notify;

use crate::newest;
use authority::Authority;
use publisher::{PublishError, Publisher};

/// After a failure, before the outbox is read again.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(500);

#[derive(Debug, Error)]
enum RelayError {
    #[error("the outbox could not be read or cleared")]
    Database(#[source] sqlx::Error),
    #[error("MySQL did not answer in time")]
    Timeout,
    #[error("the events could not be published")]
    Publish(#[from] PublishError),
}

pub(crate) struct Relay {
    config: Config,
    cache: Cache,
    lifecycle: Lifecycle,
    authority: Authority,
    rung: Arc<Notify>,
    /// Acknowledged by Kafka and perhaps not yet deleted. Deleted before anything is read again, else it would be
    /// published twice.
    acknowledged: Vec<Pending>,
}

impl Relay {
    pub(crate) fn new(config: Config, redis: Redis, cache: Cache, lifecycle: Lifecycle, worker: String) -> Self {
        let lease = Lease { worker, duration: Duration::from_millis(config.outbox.lease_ms) };
        let authority = Authority::keep(lease, config.database.clone(), &lifecycle);
        let rung = doorbell::listen(redis, &config.redis.prefix, &lifecycle);
        Self { config, cache, lifecycle, authority, rung, acknowledged: Vec::new() }
    }

    /// Drains until the process stops; whatever fails is tried again.
    pub(crate) async fn run(mut self) {
        while !self.lifecycle.is_stopping() {
            if self.lifecycle.unless_stopped(self.authority.gained()).await.is_none() {
                break;
            }
            if let Err(error) = self.drain_while_authorised().await {
                tracing::warn!(error = one_line(&error), "the relay begins again");
                self.lifecycle.pause(PAUSE_AFTER_FAILURE).await;
            }
        }
        self.authority.released().await;
    }

    /// Drains with one connection and one producer until either fails, the lease is lost or the process stops.
    async fn drain_while_authorised(&mut self) -> Result<(), RelayError> {
        let mut connection = self.in_time(database::connection(&self.config.database)).await?;
        let publisher = Publisher::new(&self.config.kafka).await?;
        let drained = self.drain_with(&mut connection, &publisher).await;
        // First of all: what it still holds must not be sent beside the next producer, of this worker or another.
        publisher.discard().await;
        match drained {
            // The connection may be in the middle of an answer: the next one deletes before it reads.
            Err(RelayError::Database(_) | RelayError::Timeout) => drained,
            // Right whoever owns the lanes by now, and it spares the next owner the duplicates.
            _ => self.delete_acknowledged(&mut connection).await.and(drained),
        }
    }

    async fn drain_with(&mut self, connection: &mut MySqlConnection, publisher: &Publisher) -> Result<(), RelayError> {
        let mut idle = Idle::new(&self.config.outbox);
        while self.authority.holds() && !self.lifecycle.is_stopping() {
            if self.drain_batch(connection, publisher).await? {
                idle.reset();
                continue;
            }
            let wait = tokio::time::timeout(idle.next(), self.rung.notified());
            // Rung, waited or stopping: each is looked at above.
            let _ = self.lifecycle.unless_stopped(wait).await;
        }
        Ok(())
    }

    /// Publishes the first of what is pending; false where nothing was.
    async fn drain_batch(
        &mut self,
        connection: &mut MySqlConnection,
        publisher: &Publisher,
    ) -> Result<bool, RelayError> {
        self.delete_acknowledged(connection).await?;
        let Outbox { batch_rows: rows, batch_bytes: bytes, .. } = self.config.outbox;
        let batch = self.in_time(outbox::pending(connection, BatchLimit { rows, bytes })).await?;
        if batch.is_empty() {
            return Ok(false);
        }
        self.invalidate(&batch).await;
        let outcome = publisher.publish(batch, &self.authority, &self.lifecycle).await;
        self.acknowledged = outcome.acknowledged;
        if let Some(failure) = outcome.failure {
            return Err(failure.into());
        }
        self.delete_acknowledged(connection).await?;
        Ok(true)
    }

    async fn delete_acknowledged(&mut self, connection: &mut MySqlConnection) -> Result<(), RelayError> {
        if !self.acknowledged.is_empty() {
            self.in_time(outbox::delete(connection, &self.acknowledged)).await?;
            self.acknowledged.clear();
        }
        Ok(())
    }

    /// A step in MySQL. On a connection whose other end vanished it would wait for ever, while the lease is renewed on
    /// another one; the connection is given up then.
    async fn in_time<T>(&self, step: impl Future<Output = sqlx::Result<T>>) -> Result<T, RelayError> {
        let limit = Duration::from_millis(self.config.outbox.lease_ms);
        tokio::time::timeout(limit, step).await.map_err(|_| RelayError::Timeout)?.map_err(RelayError::Database)
    }

    /// Best effort: a client that hears of a change should not read the state before it. The invalidator makes sure.
    async fn invalidate(&self, batch: &[Pending]) {
        let newest = newest::by_key(batch.iter().filter_map(|row| Some((row.key()?, row.version, ()))));
        let invalidations: Vec<_> = newest.iter().map(|(key, (version, ()))| Invalidation::of(key, *version)).collect();
        if let Err(error) = self.cache.invalidate(&invalidations).await {
            tracing::debug!(error = one_line(&error), "the cache could not be told before publishing");
        }
    }
}

/// How long an idle relay waits for the bell before it looks anyway.
struct Idle {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Idle {
    fn new(settings: &Outbox) -> Self {
        let least = Duration::from_millis(settings.poll_min_ms);
        Self { least, most: Duration::from_millis(settings.poll_max_ms), next: least }
    }

    fn next(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        wait
    }

    fn reset(&mut self) {
        self.next = self.least;
    }
}
