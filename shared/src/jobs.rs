//! Which worker does a job's tick: each tick is claimed in one statement and done once, however many workers there are.
//!
//! ```text
//! free --claim (a later tick)--> claimed by an owner, for its lease --finish (same fence)--> free
//! ```
//! A claim whose lease has run out belongs to a worker that died: the next one takes it over, also for the same tick.

use std::time::Duration;

use sqlx::MySqlConnection;

use crate::timestamp::Timestamp;

/// The right to do one tick; another claim's fence is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    fence: u64,
}

/// Claims a tick; None where it is done, or being done.
pub async fn claim(
    connection: &mut MySqlConnection,
    job: &str,
    tick: Timestamp,
    owner: &str,
    lease: Duration,
) -> sqlx::Result<Option<Claim>> {
    // The statement's own connection remembers the fence, so that no other claim's is read.
    let claimed = sqlx::query(
        "UPDATE jobs SET tick = ?, fence = LAST_INSERT_ID(fence + 1), owner = ?, \
         lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND \
         WHERE name = ? AND (tick < ? AND (owner IS NULL OR lease_until < UTC_TIMESTAMP(6)) \
         OR tick = ? AND owner IS NOT NULL AND lease_until < UTC_TIMESTAMP(6))",
    )
    .bind(tick)
    .bind(owner)
    .bind(u64::try_from(lease.as_micros()).unwrap_or(u64::MAX))
    .bind(job)
    .bind(tick)
    .bind(tick)
    .execute(connection)
    .await?;
    Ok((claimed.rows_affected() == 1).then(|| Claim { fence: claimed.last_insert_id() }))
}

/// Lets go of a tick that is done. Nothing happens where another has claimed since.
pub async fn finish(connection: &mut MySqlConnection, job: &str, claim: Claim) -> sqlx::Result<()> {
    sqlx::query("UPDATE jobs SET owner = NULL, lease_until = NULL WHERE name = ? AND fence = ?")
        .bind(job)
        .bind(claim.fence)
        .execute(connection)
        .await?;
    Ok(())
}
