//! Who owns which lane, by the database's clock.

use std::{
    collections::{BTreeSet, HashSet},
    time::{Duration, Instant},
};

use anyhow::ensure;
use shared::lane::LANES;
use sqlx::{MySql, MySqlConnection, QueryBuilder};
use uuid::Uuid;

use crate::wait;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

pub(super) async fn workers(connection: &mut MySqlConnection) -> anyhow::Result<BTreeSet<String>> {
    let names: Vec<String> = sqlx::query_scalar("SELECT worker FROM outbox_workers").fetch_all(connection).await?;
    Ok(names.into_iter().collect())
}

/// Of each lane whoever may drain it now.
pub(super) async fn live_owners(connection: &mut MySqlConnection) -> anyhow::Result<Vec<Option<String>>> {
    let select = "SELECT IF(lease_until > UTC_TIMESTAMP(6), owner, NULL) FROM outbox_lanes ORDER BY lane";
    Ok(sqlx::query_scalar(select).fetch_all(connection).await?)
}

/// How long after an instant all lanes have live owners, of which the victim is none.
pub(super) async fn taken_over(
    connection: &mut MySqlConnection,
    since: Instant,
    victim: &str,
) -> anyhow::Result<Duration> {
    loop {
        let owners = live_owners(connection).await?;
        ensure!(owners.len() == usize::from(LANES), "{} lanes", owners.len());
        if owners.iter().all(|owner| owner.as_deref().is_some_and(|owner| owner != victim)) {
            return Ok(since.elapsed());
        }
        ensure!(since.elapsed() < wait::DEADLINE, "the lanes were not taken over: {owners:?}");
        wait::pause(LOOK).await;
    }
}

/// The events that wait in the worker's lanes.
pub(super) async fn waiting(connection: &mut MySqlConnection, worker: &str) -> anyhow::Result<HashSet<Uuid>> {
    let lanes: Vec<u16> = sqlx::query_scalar("SELECT lane FROM outbox_lanes WHERE owner = ?")
        .bind(worker)
        .fetch_all(&mut *connection)
        .await?;
    let mut select: QueryBuilder<MySql> = QueryBuilder::new("SELECT event_id FROM outbox_events WHERE lane IN (NULL");
    for lane in lanes {
        select.push(", ").push_bind(lane);
    }
    select.push(")");
    let waiting: Vec<Uuid> = select.build_query_scalar().fetch_all(connection).await?;
    Ok(waiting.into_iter().collect())
}
