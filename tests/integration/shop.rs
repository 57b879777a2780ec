//! What the tests of products, orders and payments send.

use anyhow::ensure;
use harness::{
    client::{Answer, Client},
    stack::Stack,
};
use serde_json::{Value, json};
use shared::config::Config;

use crate::{USERS, user};

pub(crate) const PRODUCTS: &str = "/api/v1/products";
pub(crate) const ORDERS: &str = "/api/v1/orders";
pub(crate) const PAYMENTS: &str = "/api/v1/payments";

/// For crowds: on a loaded machine nobody is sent away for want of a connection.
pub(crate) async fn patient_stack() -> anyhow::Result<Stack> {
    let mut config = Config::load(None)?;
    Stack::rename(&mut config);
    config.database.acquire_timeout_ms = 10_000;
    config.database.transaction_timeout_ms = 10_000;
    Stack::with_config(config).await
}

pub(crate) fn product(id: &str, stock: u32) -> Value {
    json!({
        "id": id, "sku": format!("sku-{id}"), "name": id, "category": "things", "price": "10.00", "currency": "USD",
        "stock": stock,
    })
}

pub(crate) fn order(id: &str, user: &str, items: &[(&str, u32)]) -> Value {
    let items = items.iter().map(|(product, quantity)| json!({ "product_id": product, "quantity": quantity }));
    json!({ "id": id, "user_id": user, "items": items.collect::<Vec<_>>() })
}

/// Of ten dollars, for no order.
pub(crate) fn payment(id: &str, user: &str) -> Value {
    json!({ "id": id, "user_id": user, "amount": "10.00", "currency": "USD", "gateway": "stripe" })
}

pub(crate) fn payment_of(id: &str, user: &str, order: &str) -> Value {
    with(payment(id, user), "order_id", json!(order))
}

/// The body with another member.
pub(crate) fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

/// Creates what has to be there before the test begins.
pub(crate) async fn create(client: &Client, path: &str, body: &Value) -> anyhow::Result<Answer> {
    let created = client.post(path, body).await?;
    ensure!(created.status == 201, "{created:?}");
    Ok(created)
}

pub(crate) async fn create_users(client: &Client, ids: &[&str]) -> anyhow::Result<()> {
    for id in ids {
        create(client, USERS, &user(id)).await?;
    }
    Ok(())
}

/// Takes an order or a payment through the statuses.
pub(crate) async fn walk(client: &Client, path: &str, statuses: &[&str]) -> anyhow::Result<()> {
    for status in statuses {
        let stepped = client.patch(path, &json!({ "status": status })).await?;
        ensure!(stepped.status == 200, "{stepped:?}");
    }
    Ok(())
}

pub(crate) async fn stock_of(client: &Client, product: &str) -> anyhow::Result<Option<u64>> {
    Ok(client.get(&format!("{PRODUCTS}/{product}")).await?.body["stock"].as_u64())
}
