//! The outbox: events that are committed and not yet known to be on Kafka.
//!
//! A row of `outbox_events` has no status. It is appended in the transaction of its change and is
//!
//! ```text
//!     (absent) --append, commit--> pending --published and acknowledged, deleted by its id--> (absent)
//!                                     |                                                          ^
//!                                     +-- refused by Kafka, or broken --> parked (poison) -------+ published at last
//!                                     +-- behind such a one of its entity --> parked (blocked) --+ (or discarded)
//! ```
//!
//! Ids are not in commit order at large. Of one entity they are, because its row is locked before the outbox is
//! written. So a reader may see a row *behind* others it has handled, and only a delete by explicit id may remove one.

mod decide;
mod lanes;
mod listing;
mod operator;
mod parking;
mod partitions;
mod reading;
mod status;

use std::collections::BTreeMap;

use sqlx::{Connection, Executor, FromRow, MySql, MySqlConnection, MySqlPool, QueryBuilder, types::Text};
use thiserror::Error;
use uuid::Uuid;

pub use decide::{DecideError, discard, replay};
pub use lanes::{LaneState, Lease, Outlook};
pub use listing::{ExportError, MOST_LISTED, ParkedEvent, ParkedPayload, Which, export, list};
pub use operator::{
    EXPAND_REASON, Order, begin_expansion, end_expansion, lock_expansion, pause, paused_and_owned, resume,
};
pub use parking::{
    Fence, HeldEntity, ParkError, Parked, delete_parked, held_entities, next_to_release, of_entity, park, pause_lane,
    refused_again,
};
pub use partitions::{pin_partitions, pinned_partitions};
pub use reading::{Page, PageLimit, PageRow, Place, page, row, server_uuid};
pub use status::{Backlog, LaneStatus, ParkedCounts, Status, WorkerStatus, backlog, status};

use crate::{
    database,
    entity::{Id, Key, Version},
    event::{Event, TraceContext},
    lane::Lane,
    telemetry::one_line,
};

/// A row that waits to be published.
///
/// Its kind is text: a relay also publishes what only a newer binary knows.
#[derive(Clone, Debug, FromRow)]
pub struct Pending {
    pub id: u64,
    pub lane: Lane,
    /// The event's id, as [`Event::id`].
    pub event_id: Uuid,
    pub kind: String,
    pub entity_id: Id,
    pub version: Version,
    /// JSON of [`TraceContext`].
    pub headers: Vec<u8>,
    /// JSON of [`Event`], as it is published.
    pub payload: Vec<u8>,
    pub crc32c: u32,
}

/// Which row: right whoever owns its lane by now, and whatever id a fail-over of MySQL gave out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowId {
    pub lane: Lane,
    pub id: u64,
    pub event_id: Uuid,
}

impl Pending {
    #[must_use]
    pub fn row_id(&self) -> RowId {
        RowId { lane: self.lane, id: self.id, event_id: self.event_id }
    }

    #[must_use]
    pub fn entity(&self) -> HeldEntity {
        HeldEntity { lane: self.lane, kind: self.kind.clone(), entity_id: self.entity_id.clone() }
    }

    /// Whether the payload is the one that was written.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        checksum(&self.payload) == self.crc32c
    }

    /// The key of its Kafka record, as [`Key`] writes it.
    #[must_use]
    pub fn record_key(&self) -> String {
        format!("{}:{}", self.kind, self.entity_id)
    }

    /// None where this binary does not know the kind.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        Some(Key { kind: self.kind.parse().ok()?, id: self.entity_id.clone() })
    }
}

/// Of a payload, as the column `crc32c` holds it.
#[must_use]
pub fn checksum(payload: &[u8]) -> u32 {
    crc32c::crc32c(payload)
}

/// Appends the events of one transaction, in their order. Must be its last statement before the commit: the rows'
/// order is that of the commits only for entities whose own rows are locked already.
pub async fn append(
    connection: &mut MySqlConnection,
    events: &[Event],
    trace: &TraceContext,
    max_payload_bytes: usize,
) -> Result<(), AppendError> {
    let headers = serde_json::to_vec(trace)?;
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        let payload = serde_json::to_vec(event)?;
        if payload.len() > max_payload_bytes {
            return Err(AppendError::TooLarge { key: event.key(), bytes: payload.len(), limit: max_payload_bytes });
        }
        rows.push((event, payload));
    }
    let mut insert: QueryBuilder<MySql> = QueryBuilder::new(
        "INSERT INTO outbox_events \
         (lane, event_id, kind, entity_id, version, action, headers, payload, payload_bytes, crc32c, created_at) ",
    );
    insert.push_values(rows, |mut row, (event, payload)| {
        row.push_bind(Lane::of(&event.key()))
            .push_bind(event.id)
            .push_bind(Text(event.event_type.kind))
            .push_bind(event.entity_id.as_str())
            .push_bind(event.version)
            .push_bind(Text(event.event_type.action))
            .push_bind(headers.as_slice())
            .push_bind(payload.as_slice())
            .push_bind(payload.len() as u64)
            .push_bind(checksum(&payload))
            .push("UTC_TIMESTAMP(6)");
    });
    insert.build().execute(connection).await?;
    Ok(())
}

#[derive(Debug, Error)]
pub enum AppendError {
    #[error("the event could not be written as JSON")]
    Json(#[from] serde_json::Error),
    #[error("the event of {key} has {bytes} bytes, more than {limit}")]
    TooLarge { key: Key, bytes: usize, limit: usize },
    #[error("the outbox rows could not be inserted")]
    Database(#[from] sqlx::Error),
}

/// For how many milliseconds the row with the lowest id has waited, by the database's clock; 0 where none waits.
pub async fn oldest_age_ms(pool: &MySqlPool) -> sqlx::Result<u64> {
    let age: Option<i64> = sqlx::query_scalar(
        "SELECT TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(6)) DIV 1000 FROM outbox_events \
         ORDER BY id LIMIT 1",
    )
    .fetch_optional(pool)
    .await?;
    Ok(age.and_then(|age| u64::try_from(age).ok()).unwrap_or_default())
}

/// Of one lane in one statement: lists are padded to powers of two, so ten statements are prepared.
const MOST_DELETED_AT_ONCE: usize = 512;

/// Keeps the rows that this connection deletes out of MySQL's binary log, but for their keys: half of what a delete
/// costs. Best effort, for it needs a privilege (`SESSION_VARIABLES_ADMIN`); replicas find the rows by their keys.
pub async fn log_keys_only(connection: &mut MySqlConnection) {
    if let Err(error) = connection.execute("SET SESSION binlog_row_image = 'MINIMAL'").await {
        tracing::debug!(error = one_line(&error), "deleted events are written to the binary log whole");
    }
}

/// Of each lane its rows, in the order given.
#[must_use]
pub fn by_lane(rows: &[RowId]) -> BTreeMap<Lane, Vec<RowId>> {
    let mut lanes: BTreeMap<Lane, Vec<RowId>> = BTreeMap::new();
    for row in rows {
        lanes.entry(row.lane).or_default().push(*row);
    }
    lanes
}

/// Deletes rows that are known to be on Kafka.
///
/// A statement for each lane, so that each is a range of one partition's primary key; one transaction, so that the
/// disk is waited for once.
pub async fn delete(connection: &mut MySqlConnection, published: &[RowId]) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    for (lane, rows) in &by_lane(published) {
        for chunk in rows.chunks(MOST_DELETED_AT_ONCE) {
            delete_chunk(&mut transaction, *lane, chunk).await?;
        }
    }
    transaction.commit().await
}

async fn delete_chunk(connection: &mut MySqlConnection, lane: Lane, rows: &[RowId]) -> sqlx::Result<()> {
    let mut delete: QueryBuilder<MySql> = QueryBuilder::new("DELETE FROM outbox_events WHERE lane = ");
    delete.push_bind(lane).push(" AND id IN ");
    database::push_list(&mut delete, rows.iter().map(|row| row.id));
    delete.push(" AND event_id IN ");
    database::push_list(&mut delete, rows.iter().map(|row| row.event_id));
    delete.build().execute(connection).await?;
    Ok(())
}
