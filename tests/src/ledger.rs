//! Whether every piece of the stock is accounted for: by the events of each transaction, and by the rows.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, ensure};
use shared::{
    entity::{Action, Id, Kind, Order, OrderStatus, Product},
    event::Event,
};
use uuid::Uuid;

use crate::{dump::Record, stack::Stack};

/// What one transaction did to the stock.
#[derive(Default)]
struct Transaction {
    size: usize,
    events: usize,
    orders: usize,
    /// By the products' events.
    moved: BTreeMap<Id, i64>,
    /// By the items of the orders that begin or end in it.
    expected: BTreeMap<Id, i64>,
}

/// Of each entity the events must come in the order of their versions, as the outbox and the topic have them.
///
/// In every transaction with orders the products move by exactly what these orders take and give back, each product by
/// one event of its own.
///
/// # Errors
/// Of the first transaction that does not add up.
pub fn check_events<'a>(events: impl Iterator<Item = &'a Event>) -> anyhow::Result<()> {
    let mut transactions: HashMap<Uuid, Transaction> = HashMap::new();
    let (mut products, mut orders) = (HashMap::new(), HashMap::new());
    for event in events {
        let transaction = transactions.entry(event.transaction_id).or_default();
        transaction.size = event.transaction_size;
        transaction.events += 1;
        match event.kind {
            Kind::Product => note_product(transaction, &mut products, event)?,
            Kind::Order => note_order(transaction, &mut orders, event)?,
            // Nothing else holds stock.
            _ => {}
        }
    }
    for (id, transaction) in transactions {
        let Transaction { size, events, orders, moved, mut expected } = transaction;
        ensure!(events == size, "{id}: {events} of {size} events");
        expected.retain(|_, delta| *delta != 0);
        ensure!(orders == 0 || moved == expected, "{id}: the products moved by {moved:?}, the orders by {expected:?}");
    }
    Ok(())
}

fn note_product(transaction: &mut Transaction, known: &mut HashMap<Id, Product>, event: &Event) -> anyhow::Result<()> {
    let after: Product = serde_json::from_str(event.data.get())?;
    if event.event_type.action == Action::Updated {
        let before = known.get(&after.id).with_context(|| format!("{} was never created", after.id))?;
        ensure!(after.version == before.version.next(), "{}: {} after {}", after.id, after.version, before.version);
        let delta = i64::from(after.stock) - i64::from(before.stock);
        if delta != 0 {
            let earlier = transaction.moved.insert(after.id.clone(), delta);
            ensure!(earlier.is_none(), "{} moved twice in one transaction", after.id);
        }
    }
    known.insert(after.id.clone(), after);
    Ok(())
}

fn note_order(transaction: &mut Transaction, known: &mut HashMap<Id, Order>, event: &Event) -> anyhow::Result<()> {
    let after: Order = serde_json::from_str(event.data.get())?;
    transaction.orders += 1;
    let held_before = known.get(&after.id).is_some_and(|before| before.status.holds_stock());
    let direction = match event.event_type.action {
        Action::Created => -1,
        Action::Updated => i64::from(held_before && after.status == OrderStatus::Cancelled),
        Action::Deleted => i64::from(after.status.holds_stock()),
    };
    for item in &after.items {
        *transaction.expected.entry(item.product_id.clone()).or_default() += direction * i64::from(item.quantity);
    }
    known.insert(after.id.clone(), after);
    Ok(())
}

/// Each event of the topic once.
#[must_use]
pub fn once(records: &[Record]) -> Vec<&Event> {
    let mut seen = std::collections::HashSet::new();
    records.iter().map(|record| &record.event).filter(|event| seen.insert(event.id)).collect()
}

/// The events that wait, in the order in which those of one entity were committed.
pub async fn outbox(stack: &Stack) -> anyhow::Result<Vec<Event>> {
    let mut connection = stack.mysql().await?;
    let rows: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT payload FROM outbox_events ORDER BY id").fetch_all(&mut connection).await?;
    rows.iter().map(|payload| Ok(serde_json::from_slice(payload)?)).collect()
}

/// Of each product the pieces in stock and those that orders hold or have taken away: no order changes the sum.
pub async fn pieces(stack: &Stack) -> anyhow::Result<BTreeMap<String, i64>> {
    let mut connection = stack.mysql().await?;
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT id, CAST(stock + COALESCE((SELECT SUM(quantity) FROM order_items JOIN orders ON orders.id = order_id \
         WHERE product_id = products.id AND orders.status <> 'cancelled'), 0) AS SIGNED) FROM products",
    )
    .fetch_all(&mut connection)
    .await?;
    Ok(rows.into_iter().collect())
}
