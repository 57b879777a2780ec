//! The demo data: every status there is, by any number of runs.

use std::{collections::BTreeSet, process::Stdio};

use anyhow::Context;
use harness::{client::Client, process::root, stack::Stack, wait};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

fn start(client: &Client) -> anyhow::Result<Child> {
    let mut command = Command::new(root().join("scripts/demo-data"));
    // A group of its own, so that a kill takes what it started too.
    Ok(command.arg(&client.base).stdin(Stdio::null()).process_group(0).kill_on_drop(true).spawn()?)
}

async fn run(client: &Client) -> anyhow::Result<()> {
    let status = start(client)?.wait().await?;
    anyhow::ensure!(status.success(), "scripts/demo-data: {status}");
    Ok(())
}

async fn all_of(client: &Client, resource: &str) -> anyhow::Result<Vec<Value>> {
    let answer = client.get(&format!("/api/v1/{resource}?limit=100&sort=id")).await?;
    answer.body["items"].as_array().cloned().with_context(|| format!("{answer:?}"))
}

fn statuses(items: &[Value]) -> BTreeSet<&str> {
    items.iter().filter_map(|item| item["status"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_data_is_completed_after_an_interruption_and_then_left_alone() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let mut cut = start(&client)?;
    wait::until("the first order is confirmed", async || {
        let order = client.get("/api/v1/orders/order-3").await?;
        Ok((order.body["status"] == "confirmed").then_some(()))
    })
    .await?;
    let group = format!("-{}", cut.id().context("it has ended already")?);
    Command::new("kill").args(["-s", "KILL", "--", &group]).status().await?;
    cut.wait().await?;
    assert!(all_of(&client, "payments").await?.is_empty(), "it was cut off too late to tell anything");

    run(&client).await?;
    let products = all_of(&client, "products").await?;
    assert_eq!((all_of(&client, "users").await?.len(), products.len()), (20, 60));
    for category in ["shoes", "books", "kitchen", "garden", "audio", "bags"] {
        assert_eq!(products.iter().filter(|product| product["category"] == category).count(), 10, "{category}");
    }
    let (orders, payments) = (all_of(&client, "orders").await?, all_of(&client, "payments").await?);
    let ordered = ["cancelled", "confirmed", "delivered", "pending", "processing", "returned", "shipped"];
    assert_eq!(statuses(&orders), BTreeSet::from(ordered));
    let paid = ["cancelled", "completed", "failed", "pending", "processing", "refunded"];
    assert_eq!(statuses(&payments), BTreeSet::from(paid));

    // What somebody has changed, or made at its id, stays.
    let renamed = client.patch("/api/v1/products/shoes-1", &json!({ "name": "My shoe" })).await?;
    assert_eq!(renamed.status, 200);
    assert_eq!(client.patch("/api/v1/orders/order-3", &json!({ "status": "cancelled" })).await?.status, 200);
    assert_eq!(client.patch("/api/v1/users/niklaus", &json!({ "status": "active" })).await?.status, 200);
    let before = client.get("/api/v1/products/shoes-1").await?;
    run(&client).await?;
    for (resource, items) in [("orders", 14), ("payments", 16), ("users", 20), ("products", 60)] {
        assert_eq!(all_of(&client, resource).await?.len(), items, "{resource}");
    }
    assert_eq!(client.get("/api/v1/products/shoes-1").await?.body, before.body);
    assert_eq!(client.get("/api/v1/orders/order-3").await?.body["status"], "cancelled");
    assert_eq!(client.get("/api/v1/users/niklaus").await?.body["status"], "active", "a step was taken twice");

    // The order that the document shows as its example can be placed.
    let example = json!({ "user_id": "user123", "items": [
        { "product_id": "shoes-1", "quantity": 1 }, { "product_id": "books-2", "quantity": 2 },
    ] });
    let placed = client.send(client.request(Method::POST, "/api/v1/orders").json(&example)).await?;
    assert_eq!(placed.status, 201, "{placed:?}");

    api.stop().await?;
    stack.discard().await
}
