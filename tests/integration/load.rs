//! The requirement's own load commands: 1,000 users, all with one address, and 1,000 payments, by 10 clients.

use std::collections::BTreeSet;

use harness::{checker, client::Client, stack::Stack};
use serde_json::{Value, json};
use worker::app::Role;

use crate::{USERS, user};

/// Posts the body 1,000 times and answers with the ids.
async fn post_a_thousand(client: &Client, path: &str, body: &Value) -> anyhow::Result<BTreeSet<String>> {
    let clients = (0..10).map(|_| async move {
        let mut ids = Vec::new();
        for _ in 0..100 {
            let answer = client.post(path, body).await?;
            assert_eq!(answer.status, 201, "{answer:?}");
            ids.push(answer.body["id"].as_str().unwrap_or_default().to_owned());
        }
        anyhow::Ok(ids)
    });
    Ok(futures_util::future::try_join_all(clients).await?.into_iter().flatten().collect())
}

/// Each of the posts is one entity, one event and one document.
async fn a_thousand_posts(kind: &str, path: &str, body: &Value) -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    assert_eq!(client.post(USERS, &user("user123")).await?.status, 201);
    let ids = post_a_thousand(&client, path, body).await?;
    assert_eq!(ids.len(), 1_000);

    stack.settled().await?;
    let story = checker::consistent(&stack).await?;
    assert_eq!(story.duplicates, 0);
    let mut records = story.records;
    records.retain(|record| record.event.entity_id.as_str() != "user123");
    assert_eq!(records.len(), 1_000, "no event is missing, none came twice");
    assert!(records.iter().all(|record| record.event.event_type.to_string() == format!("{kind}_created")));
    let announced: BTreeSet<String> = records.iter().map(|record| record.event.entity_id.to_string()).collect();
    assert_eq!(announced, ids);

    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_users_are_a_thousand_of_everything() -> anyhow::Result<()> {
    let body = json!({ "email": "test@example.com", "name": "Test User" });
    a_thousand_posts("user", USERS, &body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_payments_are_a_thousand_of_everything() -> anyhow::Result<()> {
    let body = json!({ "user_id": "user123", "amount": 100.50, "currency": "USD", "gateway": "stripe" });
    a_thousand_posts("payment", "/api/v1/payments", &body).await
}
