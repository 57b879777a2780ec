//! How the outbox fares, by the database's clock.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;
use sqlx::{Executor, FromRow, MySql, MySqlConnection, QueryBuilder, Row};

use super::EXPAND_REASON;
use crate::lane::{LANES, Lane, Lanes};

/// Up to so many rows are counted; beyond that MySQL's statistics are asked, which do not read them.
const MOST_COUNTED: u64 = 10_000;

/// How much waits to be published, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Backlog {
    pub depth: u64,
    /// Whether [`depth`](Self::depth) is MySQL's estimate.
    pub estimated: bool,
    /// How long the first row of a lane has waited at most; 0 where none waits.
    pub oldest_age_ms: u64,
}

/// Of all lanes, at a cost that does not grow with the backlog.
pub async fn backlog(connection: &mut MySqlConnection) -> sqlx::Result<Backlog> {
    let counted: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM (SELECT id FROM outbox_events LIMIT ?) AS first")
        .bind(MOST_COUNTED + 1)
        .fetch_one(&mut *connection)
        .await?;
    let counted = u64::try_from(counted).unwrap_or_default();
    let oldest_age_ms = ages_ms(connection).await?.into_values().max().unwrap_or_default();
    if counted <= MOST_COUNTED {
        return Ok(Backlog { depth: counted, estimated: false, oldest_age_ms });
    }
    let depth = estimates(connection).await?.into_values().sum::<u64>().max(counted);
    Ok(Backlog { depth, estimated: true, oldest_age_ms })
}

/// How long the first row of each lane has waited. A statement for each lane, so that each reads one partition's first.
async fn ages_ms(connection: &mut MySqlConnection) -> sqlx::Result<HashMap<Lane, u64>> {
    let mut select: QueryBuilder<MySql> = QueryBuilder::new("");
    for lane in Lane::all() {
        select.push(if lane.index() == 0 { "" } else { " UNION ALL " });
        select.push(
            "(SELECT lane, TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(6)) DIV 1000 AS age \
             FROM outbox_events WHERE lane = ",
        );
        select.push_bind(lane).push(" ORDER BY id LIMIT 1)");
    }
    let ages: Vec<(Lane, i64)> = select.build_query_as().fetch_all(connection).await?;
    Ok(ages.into_iter().map(|(lane, age)| (lane, u64::try_from(age).unwrap_or_default())).collect())
}

/// How many rows each lane has, as MySQL's statistics say now.
async fn estimates(connection: &mut MySqlConnection) -> sqlx::Result<HashMap<Lane, u64>> {
    // What is remembered of statistics is up to a day old. Nothing else that uses the connection asks for any.
    connection.execute("SET SESSION information_schema_stats_expiry = 0").await?;
    let found: Vec<(u32, u64)> = sqlx::query_as(
        "SELECT CAST(partition_ordinal_position - 1 AS UNSIGNED) , CAST(table_rows AS UNSIGNED) \
         FROM information_schema.partitions WHERE table_schema = DATABASE() AND table_name = 'outbox_events'",
    )
    .fetch_all(connection)
    .await?;
    let rows: HashMap<u32, u64> = found.into_iter().collect();
    let rows_of = |lane: Lane| u32::try_from(lane.index()).ok().and_then(|index| rows.get(&index).copied());
    Ok(Lane::all().filter_map(|lane| Some((lane, rows_of(lane)?))).collect())
}

async fn counts(connection: &mut MySqlConnection) -> sqlx::Result<HashMap<Lane, u64>> {
    let counts: Vec<(Lane, i64)> =
        sqlx::query_as("SELECT lane, COUNT(*) FROM outbox_events GROUP BY lane").fetch_all(connection).await?;
    Ok(counts.into_iter().map(|(lane, count)| (lane, u64::try_from(count).unwrap_or_default())).collect())
}

#[derive(Clone, Debug, Serialize)]
pub struct Status {
    #[serde(flatten)]
    pub backlog: Backlog,
    /// None before a worker met the topic.
    pub partitions: Option<u16>,
    /// Whether `topics --expand` has begun and not ended.
    pub expanding: bool,
    pub parked: ParkedCounts,
    pub workers: Vec<WorkerStatus>,
    pub lanes: Vec<LaneStatus>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ParkedCounts {
    /// About which an operator has to decide.
    pub poison: u64,
    pub blocked: u64,
    /// Replays that were requested and are not done.
    pub replay: u64,
}

#[derive(Clone, Debug, Serialize, FromRow)]
pub struct WorkerStatus {
    pub worker: String,
    pub seen_ms_ago: i64,
    pub draining: bool,
    /// Seen within a lease's duration.
    pub live: bool,
    /// What keeps it from publishing.
    pub trouble: Option<String>,
    pub trouble_for_ms: Option<i64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct LaneStatus {
    pub lane: Lane,
    pub depth: u64,
    pub oldest_age_ms: u64,
    /// None also where the lease has run out.
    pub owner: Option<String>,
    pub epoch: u64,
    pub lease_left_ms: Option<i64>,
    pub paused: bool,
    pub pause_reason: Option<String>,
    #[serde(flatten)]
    pub parked: ParkedCounts,
}

impl LaneStatus {
    /// Whether rows wait that nobody publishes.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.owner.is_none() && !self.paused && self.depth > 0
    }
}

impl Status {
    /// Whether it goes on by itself, or an operator has to do something.
    #[must_use]
    pub fn needs_an_operator(&self) -> bool {
        self.parked.poison > 0
            || self.workers.iter().any(|worker| worker.live && worker.trouble.is_some())
            || self.lanes.iter().any(|lane| lane.paused || lane.is_abandoned())
    }

    /// The lanes of a worker; with None those that nobody has.
    #[must_use]
    pub fn lanes_of(&self, worker: Option<&str>) -> Lanes {
        self.lanes.iter().filter(|lane| lane.owner.as_deref() == worker).map(|lane| lane.lane).collect()
    }
}

/// Everything of it. Workers that were not seen for a lease's duration are listed as not live.
pub async fn status(connection: &mut MySqlConnection, lease: Duration) -> sqlx::Result<Status> {
    let backlog = backlog(connection).await?;
    let depths = if backlog.estimated { estimates(connection).await? } else { counts(connection).await? };
    let ages = ages_ms(connection).await?;
    let parked = parked(connection).await?;
    let mut lanes = lanes(connection).await?;
    for lane in &mut lanes {
        lane.depth = depths.get(&lane.lane).copied().unwrap_or_default();
        lane.oldest_age_ms = ages.get(&lane.lane).copied().unwrap_or_default();
        lane.parked = parked.get(&lane.lane).copied().unwrap_or_default();
    }
    Ok(Status {
        backlog,
        partitions: super::pinned_partitions(connection).await?,
        expanding: lanes.iter().any(|lane| lane.pause_reason.as_deref() == Some(EXPAND_REASON)),
        parked: parked.values().fold(ParkedCounts::default(), |sum, lane| ParkedCounts {
            poison: sum.poison + lane.poison,
            blocked: sum.blocked + lane.blocked,
            replay: sum.replay + lane.replay,
        }),
        workers: workers(connection, lease).await?,
        lanes,
    })
}

async fn lanes(connection: &mut MySqlConnection) -> sqlx::Result<Vec<LaneStatus>> {
    let rows = sqlx::query(
        "SELECT lane, IF(lease_until < UTC_TIMESTAMP(6), NULL, owner) AS owner, epoch, paused, pause_reason, \
         TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), lease_until) DIV 1000 AS lease_left_ms \
         FROM outbox_lanes ORDER BY lane LIMIT ?",
    )
    .bind(LANES)
    .fetch_all(connection)
    .await?;
    let lanes = rows.iter().map(|row| {
        Ok(LaneStatus {
            lane: row.try_get("lane")?,
            depth: 0,
            oldest_age_ms: 0,
            owner: row.try_get("owner")?,
            epoch: row.try_get("epoch")?,
            lease_left_ms: row.try_get("lease_left_ms")?,
            paused: row.try_get("paused")?,
            pause_reason: row.try_get("pause_reason")?,
            parked: ParkedCounts::default(),
        })
    });
    lanes.collect()
}

async fn workers(connection: &mut MySqlConnection, lease: Duration) -> sqlx::Result<Vec<WorkerStatus>> {
    sqlx::query_as(
        "SELECT worker, draining, trouble, \
         TIMESTAMPDIFF(MICROSECOND, seen_at, UTC_TIMESTAMP(6)) DIV 1000 AS seen_ms_ago, \
         TIMESTAMPDIFF(MICROSECOND, trouble_since, UTC_TIMESTAMP(6)) DIV 1000 AS trouble_for_ms, \
         seen_at > UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND AS live FROM outbox_workers ORDER BY worker",
    )
    .bind(u64::try_from(lease.as_micros()).unwrap_or(u64::MAX))
    .fetch_all(connection)
    .await
}

async fn parked(connection: &mut MySqlConnection) -> sqlx::Result<HashMap<Lane, ParkedCounts>> {
    let counted: Vec<(Lane, String, String, i64)> = sqlx::query_as(
        "SELECT lane, reason, state, COUNT(*) FROM outbox_parked WHERE state <> 'discarded' GROUP BY lane, reason, state",
    )
    .fetch_all(connection)
    .await?;
    let mut lanes: HashMap<Lane, ParkedCounts> = HashMap::new();
    for (lane, reason, state, count) in counted {
        let (counts, count) = (lanes.entry(lane).or_default(), u64::try_from(count).unwrap_or_default());
        match (reason.as_str(), state.as_str()) {
            ("poison", "replay") => counts.replay += count,
            ("poison", _) => counts.poison += count,
            _ => counts.blocked += count,
        }
    }
    Ok(lanes)
}
