//! Placing orders: the orders, their items and the stock they hold, in one transaction.

use std::collections::BTreeMap;

use super::{Item, NewItem, NewOrder, Order, items, stock::Held};
use crate::{
    change::ChangeError,
    entity::{Id, ProductStatus, Version},
    money::{Amount, Currency},
    store::Change,
    timestamp::Timestamp,
    unit_of_work::UnitOfWork,
    violation::Violation,
};

/// Places orders, all or none.
///
/// The products of *all* orders are locked first, by id: orders before products ended most concurrent transactions in
/// deadlocks, because an item's foreign key locks the product's row too.
pub struct PlaceOrders(pub(super) Vec<NewOrder>);

impl Change for PlaceOrders {
    type Output = Vec<Order>;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<Vec<Order>, ChangeError> {
        let mut demand: BTreeMap<Id, u32> = BTreeMap::new();
        for item in self.0.iter().flat_map(|order| &order.items) {
            // At most 100 orders of at most a million pieces of it.
            *demand.entry(item.product_id.clone()).or_default() += item.quantity;
        }
        let held = Held::lock(work, demand.keys()).await?;
        let orders = self.priced(&held)?;
        self.check_stock(&held, &demand)?;
        held.take(work, &demand).await?;
        let orders = work.create_many(orders).await?;
        items::insert(work.connection(), &orders).await.map_err(|error| work.failed(error))?;
        Ok(orders)
    }
}

impl PlaceOrders {
    /// The orders at the products' prices.
    fn priced(&self, held: &Held) -> Result<Vec<Order>, ChangeError> {
        let (mut orders, mut violations) = (Vec::new(), Vec::new());
        for (index, new) in self.0.iter().enumerate() {
            match order(new, held, &format!("/items/{index}")) {
                Ok(order) => orders.push(order),
                Err(found) => violations.extend(found),
            }
        }
        if violations.is_empty() { Ok(orders) } else { Err(ChangeError::Invalid(violations)) }
    }

    fn check_stock(&self, held: &Held, demand: &BTreeMap<Id, u32>) -> Result<(), ChangeError> {
        let mut missing = Vec::new();
        for (order_index, order) in self.0.iter().enumerate() {
            for (index, item) in order.items.iter().enumerate() {
                let (wanted, stock) = (demand.get(&item.product_id), held.get(&item.product_id).map(|it| it.stock));
                if let (Some(wanted), Some(stock)) = (wanted, stock)
                    && *wanted > stock
                {
                    let pointer = format!("/items/{order_index}/items/{index}/quantity");
                    let detail = format!("{stock} pieces are in stock");
                    missing.push(Violation::at(&pointer, "insufficient-stock", detail));
                }
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(ChangeError::InsufficientStock(missing)) }
    }
}

fn order(new: &NewOrder, held: &Held, at: &str) -> Result<Order, Vec<Violation>> {
    let (mut items, mut violations) = (Vec::new(), Vec::new());
    let mut total: Option<(Currency, Amount)> = None;
    for (index, NewItem { product_id, quantity }) in new.items.iter().enumerate() {
        let pointer = format!("{at}/items/{index}/product_id");
        let mut refuse = |code: &str, detail: &str| violations.push(Violation::at(&pointer, code, detail.to_owned()));
        let Some(product) = held.get(product_id) else {
            refuse("unknown-reference", "there is no such product");
            continue;
        };
        if product.status == ProductStatus::Archived {
            refuse("archived", "the product cannot be ordered any more");
        }
        let (currency, sum) = total.unwrap_or((product.currency, Amount::zero(product.currency)));
        if currency != product.currency {
            refuse("another-currency", "an order has one currency");
            continue;
        }
        match product.price.times(*quantity).and_then(|price| sum.plus(price)) {
            Some(sum) => total = Some((currency, sum)),
            None => refuse("out-of-range", "the total is too large"),
        }
        items.push(Item { product_id: product_id.clone(), quantity: *quantity, unit_price: product.price });
    }
    match total {
        Some((currency, total_amount)) if violations.is_empty() => {
            let now = Timestamp::now();
            Ok(Order {
                id: new.id.clone().unwrap_or_else(Id::generate),
                user_id: new.user_id.clone(),
                status: new.status.unwrap_or_default(),
                items,
                total_amount,
                currency,
                version: Version::FIRST,
                created_at: now,
                updated_at: now,
            })
        }
        _ => Err(violations),
    }
}
