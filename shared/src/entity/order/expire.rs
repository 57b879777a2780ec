//! Orders that nobody paid in time.

use chrono::TimeDelta;
use sqlx::{MySqlConnection, types::Text};

use super::{Order, OrderStatus, edit::lock_stock};
use crate::{
    change::{ChangeError, Target},
    entity::{Id, PaymentStatus, Status},
    store::Change,
    timestamp::Timestamp,
    unit_of_work::UnitOfWork,
};

/// Cancels an order that is still pending, unless a payment of it is on its way or has arrived.
pub struct ExpireOrder(pub Id);

impl Change for ExpireOrder {
    /// Whether it was cancelled.
    type Output = bool;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<bool, ChangeError> {
        let target = Target { id: self.0.clone(), expected: None };
        let held = lock_stock(work, &target).await?;
        let mut order: Order = target.lock(work).await?;
        // After the order is held: a payment's steps hold it too.
        if order.status != OrderStatus::Pending || is_being_paid(work, &order.id).await? {
            return Ok(false);
        }
        order.status = order.status.step(OrderStatus::Cancelled)?;
        held.give_back(work, &order).await?;
        work.update(order, Some("expired")).await?;
        Ok(true)
    }
}

async fn is_being_paid(work: &mut UnitOfWork, order: &Id) -> Result<bool, ChangeError> {
    let paid = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM payments WHERE order_id = ? AND status IN (?, ?))")
        .bind(order)
        .bind(Text(PaymentStatus::Processing))
        .bind(Text(PaymentStatus::Completed))
        .fetch_one(&mut *work.connection())
        .await;
    paid.map_err(|error| work.failed(error).into())
}

/// The orders that are pending for longer than `age`, the oldest first, without those that a payment keeps.
///
/// Whether one may go is decided under its lock; one that cannot be cancelled is passed over by `after`.
pub async fn overdue(
    connection: &mut MySqlConnection,
    age: TimeDelta,
    after: Option<&(Timestamp, Id)>,
    limit: u32,
) -> sqlx::Result<Vec<(Timestamp, Id)>> {
    let before = Timestamp::from(chrono::Utc::now() - age);
    let first = (Timestamp::from(chrono::DateTime::UNIX_EPOCH), String::new());
    let (created_at, id) = after.map_or(first, |(created_at, id)| (*created_at, id.to_string()));
    sqlx::query_as(
        "SELECT created_at, id FROM orders WHERE status = ? AND created_at < ? \
         AND created_at >= ? AND (created_at > ? OR id > ?) AND NOT EXISTS \
         (SELECT 1 FROM payments WHERE order_id = orders.id AND payments.status IN (?, ?)) \
         ORDER BY created_at, id LIMIT ?",
    )
    .bind(Text(OrderStatus::Pending))
    .bind(before)
    .bind(created_at)
    .bind(created_at)
    .bind(id)
    .bind(Text(PaymentStatus::Processing))
    .bind(Text(PaymentStatus::Completed))
    .bind(limit)
    .fetch_all(connection)
    .await
}
