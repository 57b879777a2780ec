//! Creating and changing payments. The order of a payment is locked first, so that it is not cancelled meanwhile.

use std::collections::HashMap;

use super::{ChangePayment, NewPayment, Payment};
use crate::{
    change::{ChangeError, Target, Wanted},
    entity::{Id, Order, OrderStatus, Patch, Status},
    store::Change,
    unit_of_work::UnitOfWork,
    violation::Violation,
};

/// Creates payments, all or none.
pub struct CreatePayments(pub(super) Vec<Payment>);

/// Takes a payment to another status, or notes what its gateway calls it.
pub struct EditPayment {
    pub(super) target: Target,
    pub(super) wanted: Wanted<Payment>,
}

impl Change for CreatePayments {
    type Output = Vec<Payment>;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<Vec<Payment>, ChangeError> {
        let orders: Vec<Order> = work.lock_many(self.0.iter().filter_map(|payment| payment.order_id.as_ref())).await?;
        let orders: HashMap<&Id, &Order> = orders.iter().map(|order| (&order.id, order)).collect();
        let mut violations = Vec::new();
        for (index, payment) in self.0.iter().enumerate() {
            let Some(order_id) = &payment.order_id else { continue };
            let pointer = format!("/items/{index}/order_id");
            match orders.get(order_id) {
                // Another's order is told apart from none by nobody.
                Some(order) if order.user_id == payment.user_id => {
                    if order.status == OrderStatus::Cancelled {
                        return Err(ChangeError::OrderClosed);
                    }
                }
                _ => violations.push(Violation::at(
                    &pointer,
                    "unknown-reference",
                    "the user has no such order".to_owned(),
                )),
            }
        }
        if !violations.is_empty() {
            return Err(ChangeError::Invalid(violations));
        }
        Ok(work.create_many(self.0.clone()).await?)
    }
}

impl Change for EditPayment {
    type Output = Payment;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<Payment, ChangeError> {
        let order = self.lock_order(work).await?;
        let mut payment: Payment = self.target.lock(work).await?;
        let (status, reason) = match self.wanted.clone() {
            Wanted::Changes(ChangePayment { status, gateway_reference, reason }) => {
                gateway_reference.apply(&mut payment.gateway_reference);
                (status, reason)
            }
            Wanted::Replacement(new) => {
                check_unchanged(&new, &payment)?;
                new.gateway_reference.map_or(Patch::Clear, Patch::Set).apply(&mut payment.gateway_reference);
                (new.status, new.reason)
            }
        };
        let before = payment.status;
        payment.status = before.step(status.unwrap_or(before))?;
        let is_closed = order.is_some_and(|order| order.status == OrderStatus::Cancelled);
        if is_closed && before != payment.status && payment.status.pays() {
            return Err(ChangeError::OrderClosed);
        }
        Ok(work.update(payment, reason.as_deref()).await?)
    }
}

impl EditPayment {
    /// The order does not change, so which one it is can be read without a lock.
    async fn lock_order(&self, work: &mut UnitOfWork) -> Result<Option<Order>, ChangeError> {
        let payment: Payment = work.read(&self.target.id).await?.ok_or(ChangeError::NotFound)?;
        match payment.order_id {
            Some(order) => Ok(work.lock(&order).await?),
            None => Ok(None),
        }
    }
}

fn check_unchanged(new: &NewPayment, payment: &Payment) -> Result<(), ChangeError> {
    let unchanged = [
        ("/user_id", new.user_id == payment.user_id),
        ("/order_id", new.order_id == payment.order_id),
        ("/amount", new.amount.0 == payment.amount.decimal()),
        ("/currency", new.currency == payment.currency),
        ("/gateway", new.gateway == payment.gateway),
    ];
    let changed = unchanged.into_iter().filter(|(_, same)| !same);
    let stays = "it does not change after the creation";
    let found: Vec<_> = changed.map(|(pointer, _)| Violation::at(pointer, "immutable", stays.to_owned())).collect();
    if found.is_empty() { Ok(()) } else { Err(ChangeError::Invalid(found)) }
}
