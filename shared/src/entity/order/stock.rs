//! The stock behind orders: held when they are placed, given back when they end early.

use std::collections::BTreeMap;

use crate::{
    change::ChangeError,
    entity::{Id, Product},
    unit_of_work::{UnitOfWork, WriteError},
};

use super::Order;

/// The products of some orders, whose rows this transaction holds, taken before any order's: the one lock order.
pub(super) struct Held {
    products: BTreeMap<Id, Product>,
}

impl Held {
    /// Locks the products by id. Those that do not exist are left out.
    pub(super) async fn lock(work: &mut UnitOfWork, ids: impl Iterator<Item = &Id>) -> Result<Self, WriteError> {
        let products: Vec<Product> = work.lock_many(ids).await?;
        Ok(Self { products: products.into_iter().map(|product| (product.id.clone(), product)).collect() })
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Product> {
        self.products.get(id)
    }

    /// Takes so many pieces of each product; one update, one version and one event each.
    pub(super) async fn take(self, work: &mut UnitOfWork, demand: &BTreeMap<Id, u32>) -> Result<(), ChangeError> {
        let taken = demand.iter().map(|(id, quantity)| (id, -i64::from(*quantity)));
        self.store(work, taken, "ordered").await
    }

    /// Gives back what the order holds.
    pub(super) async fn give_back(self, work: &mut UnitOfWork, order: &Order) -> Result<(), ChangeError> {
        let given = order.items.iter().map(|item| (&item.product_id, i64::from(item.quantity)));
        self.store(work, given, "order ended").await
    }

    async fn store<'a>(
        mut self,
        work: &mut UnitOfWork,
        moves: impl Iterator<Item = (&'a Id, i64)>,
        reason: &str,
    ) -> Result<(), ChangeError> {
        for (id, delta) in moves {
            // Checked before by whoever takes; nothing that was taken is too much to be given back, unless meanwhile
            // as much was put there.
            let product = self.products.remove(id).and_then(|product| product.moved(delta));
            let product = product.ok_or(ChangeError::Write(WriteError::Stale))?;
            work.update(product, Some(reason)).await?;
        }
        Ok(())
    }
}
