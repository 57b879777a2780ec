//! What MySQL holds beside the entities' own tables: what waits, what is parked, what was retired.

use std::collections::{BTreeMap, BTreeSet};

use shared::{entity::Action, event::Event};
use sqlx::{FromRow, MySqlConnection};
use uuid::Uuid;

/// An event that waits in the outbox.
#[derive(Clone, Debug, FromRow)]
pub struct Waiting {
    pub event_id: Uuid,
    /// As records are keyed: `user:ann`.
    pub key: String,
    pub version: u64,
}

pub(super) async fn waiting(connection: &mut MySqlConnection) -> anyhow::Result<Vec<Waiting>> {
    let select = "SELECT event_id, CONCAT(kind, ':', entity_id) AS `key`, version FROM outbox_events ORDER BY id";
    Ok(sqlx::query_as(select).fetch_all(connection).await?)
}

/// An event that was taken out of the outbox.
#[derive(Clone, Debug)]
pub struct Parked {
    pub event_id: Uuid,
    /// As records are keyed: `user:ann`.
    pub key: String,
    pub version: u64,
    pub action: Action,
    /// `parked`, `replay` or `discarded`.
    pub state: String,
    /// None where it cannot be read.
    pub event: Option<Event>,
}

pub(super) async fn parked(connection: &mut MySqlConnection) -> anyhow::Result<Vec<Parked>> {
    let rows: Vec<(Uuid, String, u64, String, String, Vec<u8>)> = sqlx::query_as(
        "SELECT event_id, CONCAT(kind, ':', entity_id), version, action, state, payload FROM outbox_parked ORDER BY id",
    )
    .fetch_all(connection)
    .await?;
    let parked = rows.into_iter().map(|(event_id, key, version, action, state, payload)| {
        let event = serde_json::from_slice(&payload).ok();
        Ok(Parked { event_id, key, version, action: action.parse()?, state, event })
    });
    parked.collect()
}

/// The ids of the events that an operator discarded: each is the first that the log's subject names.
pub(super) async fn discarded(connection: &mut MySqlConnection) -> anyhow::Result<BTreeSet<Uuid>> {
    let select = "SELECT subject FROM operator_log WHERE action LIKE '%discard%'";
    let subjects: Vec<String> = sqlx::query_scalar(select).fetch_all(connection).await?;
    let is_no_part = |character: char| !(character.is_ascii_hexdigit() || character == '-');
    Ok(subjects.iter().filter_map(|subject| subject.split(is_no_part).find_map(|word| word.parse().ok())).collect())
}

/// The last versions of what was deleted, by key.
pub(super) async fn retired(connection: &mut MySqlConnection) -> anyhow::Result<BTreeMap<String, u64>> {
    let rows: Vec<(String, u64)> =
        sqlx::query_as("SELECT CONCAT(kind, ':', id), version FROM retired_ids").fetch_all(connection).await?;
    Ok(rows.into_iter().collect())
}
