//! What an operator decides about parked events.
//!
//! A decision is only written down; the relay does what was asked for. It locks the lane's row, as parking and releasing
//! do, so nothing is decided about an event that is moving.

use sqlx::{Connection, MySqlConnection};
use thiserror::Error;
use uuid::Uuid;

use super::{Order, Pending, checksum};
use crate::{
    event::{Event, TraceContext},
    lane::Lane,
};

/// Why a request about a parked event was refused; nothing is changed then.
#[derive(Debug, Error)]
pub enum DecideError {
    #[error("no event {0} is parked")]
    Unknown(Uuid),
    #[error("the event {event_id} only waits behind the poison event {poison}: decide about that one")]
    Blocked { event_id: Uuid, poison: String },
    #[error("a replay of the event was requested before, by {actor}")]
    Requested { actor: String },
    #[error("the event was discarded before, by {actor}")]
    Discarded { actor: String },
    #[error("the checksum of the stored payload is wrong: repair it with --payload FILE, or discard the event")]
    Damaged,
    #[error("the new payload is no event")]
    NoEvent(#[source] serde_json::Error),
    #[error("the new payload is another event: its {field} is {found}, not {expected}")]
    OtherEvent { field: &'static str, found: String, expected: String },
    #[error("the new payload is an event without the entity's state in data")]
    NoState,
    #[error("MySQL refused")]
    Database(#[from] sqlx::Error),
}

#[derive(sqlx::FromRow)]
struct Parked {
    #[sqlx(flatten)]
    row: Pending,
    action: String,
    reason: String,
    state: String,
    actor: Option<String>,
}

/// Requests that the event is published after all, with another payload where one is given.
pub async fn replay(
    connection: &mut MySqlConnection,
    event_id: Uuid,
    payload: Option<&[u8]>,
    order: &Order<'_>,
) -> Result<(), DecideError> {
    let mut transaction = connection.begin().await?;
    let Parked { mut row, action, .. } = undecided(&mut transaction, event_id).await?;
    if let Some(payload) = payload {
        let payload = payload.trim_ascii();
        check_same(&row, &action, payload)?;
        row.payload = payload.to_vec();
        row.crc32c = checksum(payload);
        if serde_json::from_slice::<TraceContext>(&row.headers).is_err() {
            row.headers = b"{}".to_vec();
        }
    }
    if !row.is_intact() {
        return Err(DecideError::Damaged);
    }
    sqlx::query(
        "UPDATE outbox_parked SET state = 'replay', actor = ?, headers = ?, payload = ?, payload_bytes = ?, crc32c = ? \
         WHERE event_id = ?",
    )
    .bind(order.actor)
    .bind(&row.headers)
    .bind(&row.payload)
    .bind(row.payload.len() as u64)
    .bind(row.crc32c)
    .bind(event_id)
    .execute(&mut *transaction)
    .await?;
    let action = if payload.is_some() { "repair-and-replay" } else { "replay" };
    order.log(&mut transaction, action, &subject(&row)).await?;
    transaction.commit().await?;
    Ok(())
}

/// Requests that the event is never published: the one permitted hole in what an entity's consumers see.
pub async fn discard(connection: &mut MySqlConnection, event_id: Uuid, order: &Order<'_>) -> Result<(), DecideError> {
    let mut transaction = connection.begin().await?;
    let Parked { row, .. } = undecided(&mut transaction, event_id).await?;
    sqlx::query("UPDATE outbox_parked SET state = 'discarded', actor = ? WHERE event_id = ?")
        .bind(order.actor)
        .bind(event_id)
        .execute(&mut *transaction)
        .await?;
    order.log(&mut transaction, "discard", &subject(&row)).await?;
    transaction.commit().await?;
    Ok(())
}

fn subject(row: &Pending) -> String {
    format!("{} of {}, version {}", row.event_id, row.record_key(), row.version)
}

/// The poison event, its lane locked, if nothing was decided about it.
async fn undecided(connection: &mut MySqlConnection, event_id: Uuid) -> Result<Parked, DecideError> {
    let lane: Option<Lane> = sqlx::query_scalar("SELECT lane FROM outbox_parked WHERE event_id = ?")
        .bind(event_id)
        .fetch_optional(&mut *connection)
        .await?;
    let lane = lane.ok_or(DecideError::Unknown(event_id))?;
    sqlx::query("SELECT lane FROM outbox_lanes WHERE lane = ? FOR UPDATE")
        .bind(lane)
        .fetch_one(&mut *connection)
        .await?;
    let parked: Option<Parked> = sqlx::query_as(
        "SELECT id, lane, event_id, kind, entity_id, version, headers, payload, crc32c, action, reason, state, actor \
         FROM outbox_parked WHERE event_id = ? FOR UPDATE",
    )
    .bind(event_id)
    .fetch_optional(&mut *connection)
    .await?;
    let parked = parked.ok_or(DecideError::Unknown(event_id))?;
    if parked.reason != "poison" {
        let poison = poison_before(connection, &parked.row).await?;
        return Err(DecideError::Blocked { event_id, poison });
    }
    let actor = || parked.actor.clone().unwrap_or_default();
    match parked.state.as_str() {
        "replay" => Err(DecideError::Requested { actor: actor() }),
        "discarded" => Err(DecideError::Discarded { actor: actor() }),
        _ => Ok(parked),
    }
}

/// The event that holds a blocked one.
async fn poison_before(connection: &mut MySqlConnection, blocked: &Pending) -> sqlx::Result<String> {
    let poison: Option<Uuid> = sqlx::query_scalar(
        "SELECT event_id FROM outbox_parked WHERE lane = ? AND kind = ? AND entity_id = ? AND id < ? \
         AND reason = 'poison' AND state = 'parked' ORDER BY id LIMIT 1",
    )
    .bind(blocked.lane)
    .bind(&blocked.kind)
    .bind(&blocked.entity_id)
    .bind(blocked.id)
    .fetch_optional(connection)
    .await?;
    Ok(poison.map_or_else(|| "that is being released".to_owned(), |poison| poison.to_string()))
}

/// Checks that a payload is that event, repaired.
fn check_same(row: &Pending, action: &str, payload: &[u8]) -> Result<(), DecideError> {
    let event: Event = serde_json::from_slice(payload).map_err(DecideError::NoEvent)?;
    let compared = [
        ("id", event.id.to_string(), row.event_id.to_string()),
        ("type", event.event_type.to_string(), format!("{}_{action}", row.kind)),
        ("entity", event.kind.to_string(), row.kind.clone()),
        ("entityid", event.entity_id.to_string(), row.entity_id.to_string()),
        ("entityversion", event.version.to_string(), row.version.to_string()),
    ];
    for (field, found, expected) in compared {
        if found != expected {
            return Err(DecideError::OtherEvent { field, found, expected });
        }
    }
    let state: Option<serde_json::Value> = serde_json::from_str(event.data.get()).ok();
    let is_its_own = state.is_some_and(|state| state["id"] == event.entity_id.as_str());
    if is_its_own { Ok(()) } else { Err(DecideError::NoState) }
}
