//! Too much waits to be announced: changes are refused, reads go on.

use harness::{checker, client::Client, stack::Stack, wait};
use serde_json::{Value, json};
use worker::app::Role;

use crate::{USERS, user};

async fn outbox_in_health(client: &Client) -> anyhow::Result<Value> {
    Ok(client.get("/health").await?.body["outbox"].clone())
}

/// Waits until the sample says so.
async fn exceeded(client: &Client, expected: bool) -> anyhow::Result<Value> {
    wait::until("the backlog was sampled", async || {
        let outbox = outbox_in_health(client).await?;
        Ok((outbox["exceeded"] == expected).then_some(outbox))
    })
    .await
}

/// Every kind of change is refused and changes nothing.
async fn refuses_all_changes(client: &Client) -> anyhow::Result<()> {
    let ann = format!("{USERS}/ann");
    let named = json!({ "email": "a@b.example", "name": "Other" });
    let refusals = [
        client.post(USERS, &user("new")).await?,
        client.post(&format!("{USERS}/batch"), &json!({ "items": [user("new")] })).await?,
        client.put(&ann, &named).await?,
        client.patch(&ann, &named).await?,
        client.delete(&ann).await?,
        client.patch("/api/v1/users/ann/status", &json!({ "status": "inactive" })).await?,
    ];
    for refused in refusals {
        if refused.code() == "route-not-found" || refused.code() == "method-not-allowed" {
            continue;
        }
        client.check_problem(&refused, 503, "backlog").await?;
        assert_eq!(refused.header("retry-after"), "1");
    }
    assert_eq!(client.get(&ann).await?.version(), 1, "reads go on, and nothing was changed");
    assert_eq!(client.get(USERS).await?.body["items"].as_array().map(Vec::len), Some(3));
    let counted = json!({ "kind": "user", "where": { "field": "id", "op": "eq", "value": "ann" } });
    let asked = crate::query(client, &counted).await?;
    assert_ne!(asked.code(), "backlog", "a query is a POST and no change");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_that_wait_refuse_changes_until_they_are_published() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    stack.config.outbox.max_depth = 2;
    let (api, client) = stack.start_api().await?;
    for id in ["ann", "bob", "cid"] {
        assert_eq!(client.post(USERS, &user(id)).await?.status, 201);
    }
    let outbox = exceeded(&client, true).await?;
    assert_eq!((&outbox["depth"], &outbox["estimated"]), (&json!(3), &json!(false)));
    refuses_all_changes(&client).await?;
    assert_eq!(stack.outbox_depth().await?, 3);

    let worker = stack.start_worker(&Role::ALL).await?;
    assert_eq!(exceeded(&client, false).await?["depth"], 0);
    assert_eq!(client.patch(&format!("{USERS}/ann"), &json!({ "name": "Again" })).await?.status, 200);
    stack.settled().await?;
    checker::consistent(&stack).await?;
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_too_long_refuses_changes_too() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    stack.config.outbox.max_age_ms = 1_000;
    let (api, client) = stack.start_api().await?;
    client.post(USERS, &user("ann")).await?;
    let outbox = exceeded(&client, true).await?;
    assert!(outbox["depth"] == 1 && outbox["oldest_age_ms"].as_u64() > Some(1_000), "{outbox}");
    let refused = client.delete(&format!("{USERS}/ann")).await?;
    client.check_problem(&refused, 503, "backlog").await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    exceeded(&client, false).await?;
    assert_eq!(client.delete(&format!("{USERS}/ann")).await?.status, 204);
    stack.settled().await?;
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// Counting must not cost more the more waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_backlog_is_estimated() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let mut connection = stack.mysql().await?;
    harness::load::Load::new(0..1_000).fill(&mut connection, 15_000).await?;
    sqlx::query("ANALYZE TABLE outbox_events").fetch_all(&mut connection).await?;
    let (api, client) = stack.start_api().await?;
    let outbox = wait::until("the backlog was sampled", async || {
        Ok(Some(outbox_in_health(&client).await?).filter(|outbox| !outbox.is_null()))
    })
    .await?;
    let depth = outbox["depth"].as_u64().unwrap_or_default();
    assert!(outbox["estimated"] == true && (10_000..30_000).contains(&depth), "{outbox}");
    assert_eq!(client.post(USERS, &user("ann")).await?.status, 201, "without a limit nothing is refused");
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_topic_would_not_take_is_refused_when_it_is_written() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    stack.config.outbox.max_payload_bytes = 1_024;
    let (api, client) = stack.start_api().await?;
    assert_eq!(client.post(USERS, &user("ann")).await?.status, 201);
    let long = json!({ "id": "long", "sku": "LONG", "name": "Long", "price": "1.00", "currency": "USD", "stock": 1,
        "category": "shoes", "description": "x".repeat(1_000) });
    for path in ["/api/v1/products", "/api/v1/products/batch"] {
        let body = if path.ends_with("batch") { json!({ "items": [long] }) } else { long.clone() };
        let refused = client.post(path, &body).await?;
        client.check_problem(&refused, 422, "event-too-large").await?;
        assert!(refused.body["detail"].as_str().unwrap_or_default().contains("product:long"), "{refused:?}");
    }
    let keyed = [("Idempotency-Key", "k1")];
    let refused = client.ask(reqwest::Method::POST, "/api/v1/products", &keyed, &long).await?;
    client.check_problem(&refused, 422, "event-too-large").await?;
    assert_eq!(client.get("/api/v1/products/long").await?.status, 404, "nothing is stored");
    assert_eq!(stack.outbox_depth().await?, 1);
    let worker = stack.start_worker(&Role::ALL).await?;
    stack.settled().await?;
    checker::consistent(&stack).await?;
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}
