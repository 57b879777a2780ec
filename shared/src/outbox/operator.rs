//! What an operator does to the lanes. Every command writes, in its transaction, a line of `operator_log`.

use sqlx::{Connection, MySql, MySqlConnection, QueryBuilder};

use super::pinned_partitions;
use crate::{
    database,
    lane::{Lane, Lanes},
};

/// Why the lanes are paused while the topic is expanded. No operator's own reason is the same.
pub const EXPAND_REASON: &str = "expand";

/// Who does it, and why; at most 128 and 200 characters.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    pub actor: &'a str,
    pub reason: Option<&'a str>,
}

impl Order<'_> {
    pub(super) async fn log(&self, connection: &mut MySqlConnection, action: &str, subject: &str) -> sqlx::Result<()> {
        let subject: String = subject.chars().take(200).collect();
        sqlx::query(
            "INSERT INTO operator_log (action, subject, reason, actor, done_at) VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6))",
        )
        .bind(action)
        .bind(subject)
        .bind(self.reason)
        .bind(self.actor)
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Lets no worker drain these lanes, until they are resumed.
pub async fn pause(connection: &mut MySqlConnection, lanes: Lanes, order: &Order<'_>) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    // Those that an expansion holds stay its own: they are resumed only when it has ended.
    let mut update: QueryBuilder<MySql> = QueryBuilder::new("UPDATE outbox_lanes SET paused = TRUE, pause_reason = ");
    update.push_bind(order.reason).push(" WHERE lane IN ");
    database::push_list(&mut update, lanes.iter());
    update.push(" AND NOT (paused AND pause_reason <=> ").push_bind(EXPAND_REASON).push(")");
    update.build().execute(&mut *transaction).await?;
    order.log(&mut transaction, "pause", &format!("lanes {lanes}")).await?;
    transaction.commit().await
}

/// Lets the lanes be drained again, but for those that an expansion of the topic holds; answers with the latter.
pub async fn resume(connection: &mut MySqlConnection, lanes: Lanes, order: &Order<'_>) -> sqlx::Result<Lanes> {
    let mut transaction = connection.begin().await?;
    let held: Vec<Lane> =
        sqlx::query_scalar("SELECT lane FROM outbox_lanes WHERE paused AND pause_reason = ? FOR UPDATE")
            .bind(EXPAND_REASON)
            .fetch_all(&mut *transaction)
            .await?;
    let held = lanes.intersection(held.into_iter().collect());
    let resumed = lanes.without(held);
    if !resumed.is_empty() {
        let mut update: QueryBuilder<MySql> =
            QueryBuilder::new("UPDATE outbox_lanes SET paused = FALSE, pause_reason = NULL WHERE lane IN ");
        database::push_list(&mut update, resumed.iter());
        update.build().execute(&mut *transaction).await?;
        order.log(&mut transaction, "resume", &format!("lanes {resumed}")).await?;
    }
    transaction.commit().await?;
    Ok(held)
}

/// Which of the paused lanes a worker still has. A lease that has run out is ended, so that a worker that was frozen
/// finds its lanes gone when it wakes.
pub async fn paused_and_owned(connection: &mut MySqlConnection) -> sqlx::Result<Lanes> {
    sqlx::query(
        "UPDATE outbox_lanes SET owner = NULL, lease_until = NULL, epoch = epoch + 1 \
         WHERE paused AND owner IS NOT NULL AND lease_until < UTC_TIMESTAMP(6)",
    )
    .execute(&mut *connection)
    .await?;
    let owned: Vec<Lane> = sqlx::query_scalar("SELECT lane FROM outbox_lanes WHERE paused AND owner IS NOT NULL")
        .fetch_all(connection)
        .await?;
    Ok(owned.into_iter().collect())
}

/// Pauses the lanes that are not paused, so that the others stay as an operator left them.
pub async fn begin_expansion(connection: &mut MySqlConnection, to: u16, actor: &str) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    sqlx::query("UPDATE outbox_lanes SET paused = TRUE, pause_reason = ? WHERE NOT paused")
        .bind(EXPAND_REASON)
        .execute(&mut *transaction)
        .await?;
    Order { actor, reason: None }.log(&mut transaction, "expand", &format!("to {to} partitions, begun")).await?;
    transaction.commit().await
}

/// Ends an expansion: its lanes are drained again, over `partitions` where there are more now.
pub async fn end_expansion(
    connection: &mut MySqlConnection,
    partitions: Option<u16>,
    order: &Order<'_>,
) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    if let Some(partitions) = partitions {
        sqlx::query("UPDATE settings SET value = ? WHERE name = 'partitions'")
            .bind(partitions)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("UPDATE outbox_lanes SET paused = FALSE, pause_reason = NULL WHERE paused AND pause_reason = ?")
        .bind(EXPAND_REASON)
        .execute(&mut *transaction)
        .await?;
    let now = pinned_partitions(&mut transaction).await?.unwrap_or_default();
    let ended = if partitions.is_some() { "done" } else { "given up" };
    order.log(&mut transaction, "expand", &format!("{now} partitions, {ended}")).await?;
    transaction.commit().await
}

/// Holds the right to expand the topic for as long as the connection lives; false where another has it.
pub async fn lock_expansion(connection: &mut MySqlConnection) -> sqlx::Result<bool> {
    let locked: Option<i64> =
        sqlx::query_scalar("SELECT GET_LOCK(CONCAT('expand-', LEFT(SHA2(DATABASE(), 256), 32)), 0)")
            .fetch_one(connection)
            .await?;
    Ok(locked == Some(1))
}
