//! Events that Kafka will not take (poison), and those of the same entity behind them (blocked).
//!
//! Whoever parks and whoever releases holds the lane: each of these transactions locks the lane's row and checks its
//! epoch, so a worker that was frozen past its lease changes nothing. An operator only writes a request: `replay` or
//! `discarded`. An entity is held for as long as it has parked rows that are not discarded.

use sqlx::{Connection, FromRow, MySql, MySqlConnection, QueryBuilder, mysql::MySqlTransaction};
use thiserror::Error;
use uuid::Uuid;

use super::Pending;
use crate::{
    database,
    entity::Id,
    lane::{Lane, Lanes},
};

/// Whose right to a lane is checked.
#[derive(Clone, Debug)]
pub struct Fence {
    pub worker: String,
    pub lane: Lane,
    pub epoch: u64,
}

#[derive(Debug, Error)]
pub enum ParkError {
    #[error("MySQL refused")]
    Database(#[from] sqlx::Error),
    #[error("the lane has another owner")]
    Fenced,
}

impl Fence {
    /// Locks the lane's row until the transaction ends.
    async fn enter<'a>(&self, connection: &'a mut MySqlConnection) -> Result<MySqlTransaction<'a>, ParkError> {
        let mut transaction = connection.begin().await?;
        let owned: Option<u16> =
            sqlx::query_scalar("SELECT lane FROM outbox_lanes WHERE lane = ? AND owner = ? AND epoch = ? FOR UPDATE")
                .bind(self.lane)
                .bind(&self.worker)
                .bind(self.epoch)
                .fetch_optional(&mut *transaction)
                .await?;
        if owned.is_some() {
            return Ok(transaction);
        }
        transaction.rollback().await?;
        Err(ParkError::Fenced)
    }
}

/// An entity none of whose events is published, because one of them waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash, FromRow)]
pub struct HeldEntity {
    pub lane: Lane,
    pub kind: String,
    pub entity_id: Id,
}

/// Moves the row, and all of its entity behind it that are there by now, out of the outbox.
///
/// `error` says in one line why, without anything of the payload.
pub async fn park(
    connection: &mut MySqlConnection,
    fence: &Fence,
    poison: &Pending,
    error: &str,
    attempts: u32,
) -> Result<(), ParkError> {
    let error: String = error.chars().take(500).collect();
    let mut transaction = fence.enter(connection).await?;
    sqlx::query(
        "INSERT INTO outbox_parked (id, lane, event_id, kind, entity_id, version, action, headers, payload, \
         payload_bytes, crc32c, created_at, reason, error, attempts, parked_at, state) \
         SELECT id, lane, event_id, kind, entity_id, version, action, headers, payload, payload_bytes, crc32c, \
         created_at, IF(id = ?, 'poison', 'blocked'), IF(id = ?, ?, NULL), IF(id = ?, ?, 0), UTC_TIMESTAMP(6), \
         'parked' FROM outbox_events WHERE lane = ? AND id >= ? AND kind = ? AND entity_id = ?",
    )
    .bind(poison.id)
    .bind(poison.id)
    .bind(error)
    .bind(poison.id)
    .bind(attempts)
    .bind(poison.lane)
    .bind(poison.id)
    .bind(&poison.kind)
    .bind(&poison.entity_id)
    .execute(&mut *transaction)
    .await?;
    // Those that were copied, and not one that was committed meanwhile.
    sqlx::query(
        "DELETE pending FROM outbox_events pending JOIN outbox_parked parked \
         ON parked.event_id = pending.event_id AND parked.id = pending.id \
         WHERE pending.lane = ? AND pending.id >= ? AND parked.lane = ? AND parked.kind = ? AND parked.entity_id = ?",
    )
    .bind(poison.lane)
    .bind(poison.id)
    .bind(poison.lane)
    .bind(&poison.kind)
    .bind(&poison.entity_id)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// The entities of these lanes that are held.
pub async fn held_entities(connection: &mut MySqlConnection, lanes: Lanes) -> sqlx::Result<Vec<HeldEntity>> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let mut select: QueryBuilder<MySql> = QueryBuilder::new(
        "SELECT DISTINCT lane, kind, entity_id FROM outbox_parked WHERE state <> 'discarded' AND lane IN ",
    );
    database::push_list(&mut select, lanes.iter());
    select.build_query_as().fetch_all(connection).await
}

/// The pending rows of an entity up to a row, in the order of their ids.
pub async fn of_entity(
    connection: &mut MySqlConnection,
    entity: &HeldEntity,
    up_to: u64,
) -> sqlx::Result<Vec<Pending>> {
    sqlx::query_as(
        "SELECT id, lane, event_id, kind, entity_id, version, headers, payload, crc32c FROM outbox_events \
         WHERE lane = ? AND id <= ? AND kind = ? AND entity_id = ? ORDER BY id",
    )
    .bind(entity.lane)
    .bind(up_to)
    .bind(&entity.kind)
    .bind(&entity.entity_id)
    .fetch_all(connection)
    .await
}

/// What an entity that is held waits for next.
#[derive(Debug)]
pub enum Parked {
    /// An operator has to decide about the event.
    Held,
    /// The first rows that can be published now, in the order of their ids.
    Releasable(Vec<Pending>),
    /// Nothing is left: the entity is not held any more.
    None,
}

/// How many parked rows are released at once.
const RELEASED_AT_ONCE: u32 = 100;

#[derive(FromRow)]
struct ParkedRow {
    #[sqlx(flatten)]
    pending: Pending,
    waits: bool,
}

/// The first of the entity's parked rows, up to the next poison that nobody has decided about.
pub async fn next_to_release(connection: &mut MySqlConnection, entity: &HeldEntity) -> sqlx::Result<Parked> {
    let rows: Vec<ParkedRow> = sqlx::query_as(
        "SELECT id, lane, event_id, kind, entity_id, version, headers, payload, crc32c, \
         reason = 'poison' AND state = 'parked' AS waits FROM outbox_parked \
         WHERE lane = ? AND kind = ? AND entity_id = ? AND state <> 'discarded' ORDER BY id LIMIT ?",
    )
    .bind(entity.lane)
    .bind(&entity.kind)
    .bind(&entity.entity_id)
    .bind(RELEASED_AT_ONCE)
    .fetch_all(connection)
    .await?;
    Ok(match rows.first() {
        None => Parked::None,
        Some(first) if first.waits => Parked::Held,
        Some(_) => Parked::Releasable(rows.into_iter().take_while(|row| !row.waits).map(|row| row.pending).collect()),
    })
}

/// Removes parked rows that are on Kafka now.
pub async fn delete_parked(connection: &mut MySqlConnection, published: &[Uuid]) -> sqlx::Result<()> {
    if published.is_empty() {
        return Ok(());
    }
    let mut delete: QueryBuilder<MySql> = QueryBuilder::new("DELETE FROM outbox_parked WHERE event_id IN ");
    database::push_list(&mut delete, published.iter());
    delete.build().execute(connection).await?;
    Ok(())
}

/// What was replayed, or was blocked and found to be poison itself, waits for an operator again.
pub async fn refused_again(
    connection: &mut MySqlConnection,
    fence: &Fence,
    event_id: Uuid,
    error: &str,
) -> Result<(), ParkError> {
    let error: String = error.chars().take(500).collect();
    let mut transaction = fence.enter(connection).await?;
    sqlx::query(
        "UPDATE outbox_parked SET reason = 'poison', state = 'parked', error = ?, attempts = attempts + 1, \
         parked_at = UTC_TIMESTAMP(6) WHERE event_id = ? AND state <> 'discarded'",
    )
    .bind(error)
    .bind(event_id)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

/// Stops a lane that produces nothing but poison, until an operator resumes it.
pub async fn pause_lane(connection: &mut MySqlConnection, fence: &Fence, reason: &str) -> Result<(), ParkError> {
    let mut transaction = fence.enter(connection).await?;
    sqlx::query("UPDATE outbox_lanes SET paused = TRUE, pause_reason = ? WHERE lane = ?")
        .bind(reason)
        .bind(fence.lane)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}
