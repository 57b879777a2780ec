//! Changing and deleting orders. What ends an order early gives its stock back, exactly once.

use super::{ChangeOrder, NewOrder, Order, OrderStatus, stock::Held};
use crate::{
    change::{ChangeError, Target, Wanted},
    entity::Status,
    store::Change,
    unit_of_work::UnitOfWork,
    violation::Violation,
};

/// Takes an order to another status.
pub struct EditOrder {
    pub(super) target: Target,
    pub(super) wanted: Wanted<Order>,
}

/// Deletes an order that is pending, confirmed or cancelled.
pub struct DeleteOrder {
    pub(super) target: Target,
}

impl Change for EditOrder {
    type Output = Order;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<Order, ChangeError> {
        let (status, reason) = match &self.wanted {
            Wanted::Replacement(NewOrder { status, reason, .. }) | Wanted::Changes(ChangeOrder { status, reason }) => {
                (*status, reason)
            }
        };
        let ends = status == Some(OrderStatus::Cancelled);
        let held = if ends { Some(lock_stock(work, &self.target).await?) } else { None };
        let mut order: Order = self.target.lock(work).await?;
        if let Wanted::Replacement(new) = &self.wanted {
            check_unchanged(new, &order)?;
        }
        let before = order.status;
        order.status = before.step(status.unwrap_or(before))?;
        if let Some(held) = held
            && before.holds_stock()
        {
            held.give_back(work, &order).await?;
        }
        Ok(work.update(order, reason.as_deref()).await?)
    }
}

impl Change for DeleteOrder {
    type Output = ();
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<(), ChangeError> {
        let held = lock_stock(work, &self.target).await?;
        let order: Order = self.target.lock(work).await?;
        if !order.status.holds_stock() && order.status != OrderStatus::Cancelled {
            return Err(ChangeError::NotDeletable { status: order.status.to_string() });
        }
        if order.status.holds_stock() {
            held.give_back(work, &order).await?;
        }
        Ok(work.delete(order).await?)
    }
}

/// Locks the products of an order, before the order itself: its items do not change, so they are read without a lock.
pub(super) async fn lock_stock(work: &mut UnitOfWork, target: &Target) -> Result<Held, ChangeError> {
    let order: Order = work.read(&target.id).await?.ok_or(ChangeError::NotFound)?;
    Ok(Held::lock(work, order.items.iter().map(|item| &item.product_id)).await?)
}

fn check_unchanged(new: &NewOrder, order: &Order) -> Result<(), ChangeError> {
    let stays = "it does not change after the creation".to_owned();
    let mut found = Vec::new();
    if new.user_id != order.user_id {
        found.push(Violation::at("/user_id", "immutable", stays.clone()));
    }
    let items = order.items.iter().map(|item| (&item.product_id, item.quantity));
    if !items.eq(new.items.iter().map(|item| (&item.product_id, item.quantity))) {
        found.push(Violation::at("/items", "immutable", stays));
    }
    if found.is_empty() { Ok(()) } else { Err(ChangeError::Invalid(found)) }
}
