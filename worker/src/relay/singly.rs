//! Publishes records one by one, with a producer of their own: those that failed among others, and those that were
//! parked.

use std::{collections::HashSet, sync::Arc, time::Duration};

use shared::{
    config::Config,
    database,
    lifecycle::Lifecycle,
    outbox::{self, Fence, HeldEntity, ParkError, Parked, Pending, RowId},
    telemetry::one_line,
};
use sqlx::MySqlConnection;
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    authority::Authority,
    doorbell::Doorbell,
    invalidation::Invalidator,
    producer::{EnqueueError, Poison, Producer, ProducerError},
};

/// How long one record may take: it is the only one on its way.
const LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked whether the lane is still this worker's.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Error)]
pub(super) enum SinglyError {
    #[error("MySQL refused")]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Park(#[from] ParkError),
    #[error(transparent)]
    Producer(#[from] ProducerError),
    #[error("Kafka refuses a record, through no fault of its own")]
    Refused(#[source] rdkafka::error::KafkaError),
    #[error("a record was not acknowledged in time, or the lane was lost")]
    Unacknowledged,
}

/// What the work on single entities needs. It ends by itself soon after the lane is lost or the process stops.
#[derive(Clone)]
pub(super) struct Singly {
    pub(super) config: Config,
    pub(super) authority: Authority,
    pub(super) lifecycle: Lifecycle,
    pub(super) invalidator: Invalidator,
    pub(super) doorbell: Arc<Doorbell>,
}

impl Singly {
    pub(super) async fn connection(&self) -> sqlx::Result<MySqlConnection> {
        database::connection(&self.config.database).await
    }

    /// Parks the row and what is behind it.
    pub(super) async fn park(&self, fence: &Fence, row: &Pending, poison: Poison) -> Result<(), SinglyError> {
        let mut connection = self.connection().await?;
        Ok(park(&self.invalidator, &mut connection, fence, row, poison, 1).await?)
    }

    /// Stops a lane that has nothing but poison, until an operator resumes it.
    pub(super) async fn pause_lane(&self, fence: &Fence, reason: &str) -> Result<(), SinglyError> {
        tracing::error!(lane = %fence.lane, reason, "a lane of the outbox is paused");
        let mut connection = self.connection().await?;
        outbox::pause_lane(&mut connection, fence, reason).await?;
        self.doorbell.ring_ownership().await;
        Ok(())
    }

    /// Tries the suspects of a lane alone, each behind the earlier events of its entity, and parks what Kafka refuses
    /// again. Answers with the entities that are held now.
    pub(super) async fn try_suspects(
        &self,
        fence: &Fence,
        suspects: &[RowId],
        acknowledged: &HashSet<Uuid>,
    ) -> Result<Vec<HeldEntity>, SinglyError> {
        let mut connection = self.connection().await?;
        let producer = self.producer(&mut connection).await?;
        let tried = self.try_with(&producer, &mut connection, fence, suspects, acknowledged).await;
        producer.discard().await;
        tried
    }

    async fn try_with(
        &self,
        producer: &Producer,
        connection: &mut MySqlConnection,
        fence: &Fence,
        suspects: &[RowId],
        acknowledged: &HashSet<Uuid>,
    ) -> Result<Vec<HeldEntity>, SinglyError> {
        let mut held: Vec<HeldEntity> = Vec::new();
        for suspect in suspects {
            let Some(row) = outbox::row(connection, *suspect).await? else { continue };
            let entity = row.entity();
            if held.contains(&entity) {
                continue;
            }
            for row in outbox::of_entity(connection, &entity, suspect.id).await? {
                if acknowledged.contains(&row.event_id) {
                    continue;
                }
                if let Err(poison) = self.publish(producer, &row).await? {
                    park(&self.invalidator, connection, fence, &row, poison, 2).await?;
                    held.push(entity);
                    break;
                }
                outbox::delete(connection, &[row.row_id()]).await?;
            }
        }
        Ok(held)
    }

    /// Publishes what an operator's decision has freed. Answers whether the entity is not held any more.
    pub(super) async fn release(
        &self,
        producer: &mut Option<Producer>,
        connection: &mut MySqlConnection,
        fence: &Fence,
        entity: &HeldEntity,
    ) -> Result<bool, SinglyError> {
        loop {
            let rows = match outbox::next_to_release(connection, entity).await? {
                Parked::None => return Ok(true),
                Parked::Held => return Ok(false),
                Parked::Releasable(rows) => rows,
            };
            if producer.is_none() {
                *producer = Some(self.producer(connection).await?);
            }
            let Some(producer) = producer.as_ref() else { return Ok(false) };
            self.invalidator.invalidate(&rows).await;
            for row in rows {
                if let Err(poison) = self.publish(producer, &row).await? {
                    outbox::refused_again(connection, fence, row.event_id, &poison.to_string()).await?;
                    return Ok(false);
                }
                outbox::delete_parked(connection, &[row.event_id]).await?;
            }
        }
    }

    async fn producer(&self, connection: &mut MySqlConnection) -> Result<Producer, SinglyError> {
        let partitions = outbox::pinned_partitions(connection).await?.ok_or(sqlx::Error::RowNotFound)?;
        Ok(Producer::connect(&self.config.kafka, partitions).await?)
    }

    /// The inner error is the record's own fault.
    async fn publish(&self, producer: &Producer, row: &Pending) -> Result<Result<(), Poison>, SinglyError> {
        if !self.authority.holds() || self.lifecycle.is_stopping() {
            return Err(SinglyError::Unacknowledged);
        }
        match producer.enqueue(row, 0) {
            Ok(()) => {}
            Err(EnqueueError::Poison(poison)) => return Ok(Err(poison)),
            Err(EnqueueError::Full) => return Err(SinglyError::Unacknowledged),
            Err(EnqueueError::Producer(error)) => return Err(SinglyError::Refused(error)),
        }
        let until = Instant::now() + LIMIT;
        while Instant::now() < until && self.authority.holds() {
            // Whether it arrived or not is looked at below.
            let _ = tokio::time::timeout(LOOK, producer.reports().arrived()).await;
            let Some(report) = producer.reports().take().pop() else { continue };
            return match report.failure {
                None => Ok(Ok(())),
                Some(error) => Poison::of(&error).map(Err).ok_or(SinglyError::Refused(error)),
            };
        }
        Err(SinglyError::Unacknowledged)
    }
}

/// Parks the row and what is behind it, on a connection that is there.
pub(super) async fn park(
    invalidator: &Invalidator,
    connection: &mut MySqlConnection,
    fence: &Fence,
    row: &Pending,
    poison: Poison,
    attempts: u32,
) -> Result<(), ParkError> {
    // What nobody will hear of soon should not be read as it was before.
    invalidator.invalidate(std::slice::from_ref(row)).await;
    outbox::park(connection, fence, row, &poison.to_string(), attempts).await?;
    tracing::warn!(
        event_id = %row.event_id, key = row.record_key(), version = row.version.0, reason = %poison,
        "an event is parked, with what is behind it of its entity"
    );
    Ok(())
}

/// Work on single entities that failed is tried again; nothing is parked for it.
pub(super) fn tried_again(error: &SinglyError) {
    tracing::warn!(error = one_line(error), "single events could not be published yet");
}
