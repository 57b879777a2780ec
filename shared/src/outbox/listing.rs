//! Parked events as an operator sees them.

use futures_util::TryStreamExt;
use serde::Serialize;
use sqlx::{MySql, MySqlConnection, QueryBuilder};
use thiserror::Error;
use uuid::Uuid;

use crate::lane::Lane;

/// What is shown of a parked event. Times are UTC as text.
#[derive(Clone, Debug, Serialize, sqlx::FromRow)]
pub struct ParkedEvent {
    pub id: u64,
    pub lane: Lane,
    pub event_id: Uuid,
    pub kind: String,
    pub entity_id: String,
    pub version: u64,
    pub action: String,
    pub payload_bytes: u32,
    pub reason: String,
    pub error: Option<String>,
    pub attempts: u32,
    pub created_at: String,
    pub parked_at: String,
    pub state: String,
    pub actor: Option<String>,
    /// How many later events of the entity wait behind it.
    pub blocked: i64,
}

/// With what is not for a table.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ParkedPayload {
    #[sqlx(flatten)]
    pub event: ParkedEvent,
    pub crc32c: u32,
    pub headers: Vec<u8>,
    pub payload: Vec<u8>,
}

/// Which parked events.
#[derive(Clone, Debug)]
pub enum Which {
    /// About which an operator can decide, or has.
    Poison,
    /// The blocked and the discarded too.
    All,
    /// All of an entity: its kind and id.
    Entity(String, String),
    One(Uuid),
}

/// Not more are listed.
pub const MOST_LISTED: u32 = 1_000;

const SHOWN: &str = "parked.id, parked.lane, parked.event_id, parked.kind, parked.entity_id, parked.version, \
    parked.action, parked.payload_bytes, parked.reason, parked.error, parked.attempts, parked.state, parked.actor, \
    DATE_FORMAT(parked.created_at, '%Y-%m-%dT%H:%i:%s.%fZ') AS created_at, \
    DATE_FORMAT(parked.parked_at, '%Y-%m-%dT%H:%i:%s.%fZ') AS parked_at, \
    (SELECT COUNT(*) FROM outbox_parked behind WHERE behind.lane = parked.lane AND behind.kind = parked.kind \
     AND behind.entity_id = parked.entity_id AND behind.id > parked.id AND behind.reason = 'blocked') AS blocked";

fn select(columns: &str, which: &Which) -> QueryBuilder<MySql> {
    let mut select: QueryBuilder<MySql> = QueryBuilder::new("SELECT ");
    select.push(columns).push(" FROM outbox_parked parked");
    match which {
        Which::Poison => {
            select.push(" WHERE parked.reason = 'poison' AND parked.state <> 'discarded'");
        }
        Which::All => {}
        Which::Entity(kind, id) => {
            select.push(" WHERE parked.kind = ").push_bind(kind.clone());
            select.push(" AND parked.entity_id = ").push_bind(id.clone());
        }
        Which::One(event_id) => {
            select.push(" WHERE parked.event_id = ").push_bind(*event_id);
        }
    }
    select.push(" ORDER BY parked.lane, parked.kind, parked.entity_id, parked.id");
    select
}

/// Parked events by lane and entity, in their order; at most [`MOST_LISTED`].
pub async fn list(connection: &mut MySqlConnection, which: &Which) -> sqlx::Result<Vec<ParkedEvent>> {
    let mut select = select(SHOWN, which);
    select.push(" LIMIT ").push_bind(MOST_LISTED);
    select.build_query_as().fetch_all(connection).await
}

/// One after the other, whole.
pub async fn export(
    connection: &mut MySqlConnection,
    which: &Which,
    mut take: impl FnMut(ParkedPayload) -> std::io::Result<()>,
) -> Result<u64, ExportError> {
    let columns = format!("{SHOWN}, parked.crc32c, parked.headers, parked.payload");
    let mut select = select(&columns, which);
    let mut rows = select.build_query_as().fetch(connection);
    let mut count = 0;
    while let Some(row) = rows.try_next().await? {
        take(row)?;
        count += 1;
    }
    Ok(count)
}

#[derive(Debug, Error)]
pub enum ExportError {
    #[error("MySQL refused")]
    Database(#[from] sqlx::Error),
    #[error("the export could not be written")]
    Write(#[from] std::io::Error),
}
