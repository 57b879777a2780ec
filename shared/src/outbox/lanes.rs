//! Who may drain which lane: leases with an epoch, by the database's clock.

use std::time::Duration;

use sqlx::{FromRow, MySql, MySqlConnection, QueryBuilder, types::Json};

use crate::{
    database,
    lane::{Lane, Lanes},
};

/// A worker and the duration of the leases that it takes.
#[derive(Clone, Debug)]
pub struct Lease {
    pub worker: String,
    pub duration: Duration,
}

/// A lane as `outbox_lanes` has it.
#[derive(Clone, Debug, FromRow)]
pub struct LaneState {
    pub lane: Lane,
    pub owner: Option<String>,
    /// Grows with each owner.
    pub epoch: u64,
    pub paused: bool,
    /// How long the lease still runs; negative where it has run out.
    pub left_us: Option<i64>,
}

impl LaneState {
    /// Whether anybody may take it.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.owner.is_none() || self.left_us.is_none_or(|left| left < 0)
    }
}

/// All lanes, and who shares them.
#[derive(Debug)]
pub struct Outlook {
    pub lanes: Vec<LaneState>,
    /// Workers that were seen within a lease's duration and are not about to leave.
    pub live: Vec<String>,
}

/// How long the row of a worker that died is kept for whoever looks what happened.
const FORGET_WORKERS_AFTER_SECONDS: u32 = 3_600;

impl Lease {
    fn micros(&self) -> u64 {
        u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX)
    }

    /// Says that this worker lives, whether it is about to leave, and what keeps it from publishing.
    pub async fn beat(
        &self,
        connection: &mut MySqlConnection,
        draining: bool,
        trouble: Option<&str>,
    ) -> sqlx::Result<()> {
        let trouble = trouble.map(|text| text.chars().take(500).collect::<String>());
        sqlx::query(
            "INSERT INTO outbox_workers (worker, seen_at, draining, trouble, trouble_since) \
             VALUES (?, UTC_TIMESTAMP(6), ?, ?, IF(? IS NULL, NULL, UTC_TIMESTAMP(6))) AS new \
             ON DUPLICATE KEY UPDATE seen_at = new.seen_at, draining = new.draining, trouble = new.trouble, \
             trouble_since = IF(new.trouble IS NULL, NULL, COALESCE(outbox_workers.trouble_since, new.seen_at))",
        )
        .bind(&self.worker)
        .bind(draining)
        .bind(&trouble)
        .bind(&trouble)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Prolongs the leases on the lanes that this worker owns, also where they have run out: nobody took those.
    pub async fn renew(&self, connection: &mut MySqlConnection) -> sqlx::Result<()> {
        sqlx::query("UPDATE outbox_lanes SET lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND WHERE owner = ?")
            .bind(self.micros())
            .bind(&self.worker)
            .execute(connection)
            .await?;
        Ok(())
    }

    pub async fn look(&self, connection: &mut MySqlConnection) -> sqlx::Result<Outlook> {
        #[derive(FromRow)]
        struct Row {
            #[sqlx(flatten)]
            state: LaneState,
            live: Option<Json<Vec<String>>>,
        }
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT lane, owner, epoch, paused, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), lease_until) AS left_us, \
             (SELECT JSON_ARRAYAGG(worker) FROM outbox_workers \
              WHERE NOT draining AND seen_at > UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND) AS live \
             FROM outbox_lanes ORDER BY lane",
        )
        .bind(self.micros())
        .fetch_all(connection)
        .await?;
        let live = rows.first().and_then(|row| row.live.as_ref()).map(|live| live.0.clone()).unwrap_or_default();
        Ok(Outlook { lanes: rows.into_iter().map(|row| row.state).collect(), live })
    }

    /// Takes those of the lanes that are free and not paused, each with its next epoch.
    pub async fn acquire(&self, connection: &mut MySqlConnection, lanes: Lanes) -> sqlx::Result<()> {
        let mut update: QueryBuilder<MySql> = QueryBuilder::new("UPDATE outbox_lanes SET epoch = epoch + 1, owner = ");
        update.push_bind(&self.worker).push(", lease_until = UTC_TIMESTAMP(6) + INTERVAL ");
        update.push_bind(self.micros()).push(" MICROSECOND WHERE NOT paused AND ");
        update.push("(owner IS NULL OR lease_until < UTC_TIMESTAMP(6)) AND lane IN ");
        database::push_list(&mut update, lanes.iter());
        update.build().execute(connection).await?;
        Ok(())
    }

    /// Gives lanes back at once, so that the next worker need not wait for the lease to run out.
    pub async fn release(&self, connection: &mut MySqlConnection, lanes: Lanes) -> sqlx::Result<()> {
        let mut update: QueryBuilder<MySql> =
            QueryBuilder::new("UPDATE outbox_lanes SET owner = NULL, lease_until = NULL WHERE owner = ");
        update.push_bind(&self.worker).push(" AND lane IN ");
        database::push_list(&mut update, lanes.iter());
        update.build().execute(connection).await?;
        Ok(())
    }

    /// Says that this worker is gone, and forgets those that died long ago.
    pub async fn leave(&self, connection: &mut MySqlConnection) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM outbox_workers WHERE worker = ? OR seen_at < UTC_TIMESTAMP(6) - INTERVAL ? SECOND")
            .bind(&self.worker)
            .bind(FORGET_WORKERS_AFTER_SECONDS)
            .execute(connection)
            .await?;
        Ok(())
    }
}
