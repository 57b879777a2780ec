//! How many partitions the lanes are spread over.
//!
//! Pinned in `settings`: a partition that was only just added must not get what follows, in order, a record that still
//! waits in another one. `sluice-worker topics --expand` changes it, while nothing is on its way.

use sqlx::MySqlConnection;

/// The pinned number; None where no worker has met the topic yet.
pub async fn pinned_partitions(connection: &mut MySqlConnection) -> sqlx::Result<Option<u16>> {
    let pinned: Option<u64> =
        sqlx::query_scalar("SELECT value FROM settings WHERE name = 'partitions'").fetch_optional(connection).await?;
    // Only what was a number of partitions was written.
    Ok(pinned.and_then(|pinned| u16::try_from(pinned).ok()))
}

/// Pins the number that the topic has, unless one is pinned; answers with the pinned one.
pub async fn pin_partitions(connection: &mut MySqlConnection, found: u16) -> sqlx::Result<u16> {
    sqlx::query("INSERT IGNORE INTO settings (name, value) VALUES ('partitions', ?)")
        .bind(found)
        .execute(&mut *connection)
        .await?;
    Ok(pinned_partitions(connection).await?.unwrap_or(found))
}
