//! Who may drain the outbox: one worker at a time, by a lease on all lanes.

use std::time::Duration;

use sqlx::{Connection, MySqlConnection};

use crate::lane::LANES;

/// A worker's claim on the lanes, by the database's clock.
#[derive(Clone, Debug)]
pub struct Lease {
    pub worker: String,
    pub duration: Duration,
}

impl Lease {
    /// Takes the lanes, or prolongs the lease on them; false while another worker's lease runs.
    ///
    /// All or none: a lease on some of the lanes is rolled back, so two workers never share them.
    pub async fn acquire(&self, connection: &mut MySqlConnection) -> sqlx::Result<bool> {
        let mut transaction = connection.begin().await?;
        // MySQL assigns from left to right: the epoch is decided before the owner changes.
        let matched = sqlx::query(
            "UPDATE outbox_lanes SET \
             epoch = IF(owner <=> ?, epoch, epoch + 1), owner = ?, \
             lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND \
             WHERE owner IS NULL OR owner = ? OR lease_until < UTC_TIMESTAMP(6)",
        )
        .bind(&self.worker)
        .bind(&self.worker)
        .bind(u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX))
        .bind(&self.worker)
        .execute(&mut *transaction)
        .await?
        .rows_affected();
        let all = matched == u64::from(LANES);
        if all {
            transaction.commit().await?;
        } else {
            transaction.rollback().await?;
        }
        Ok(all)
    }

    /// Gives the lanes back at once, so that the next worker need not wait for the lease to run out.
    pub async fn release(&self, connection: &mut MySqlConnection) -> sqlx::Result<()> {
        sqlx::query("UPDATE outbox_lanes SET owner = NULL, lease_until = NULL WHERE owner = ?")
            .bind(&self.worker)
            .execute(connection)
            .await?;
        Ok(())
    }
}
