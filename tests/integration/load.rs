//! The requirement's own load command: 1,000 users by 10 clients, all with one address.

use std::collections::HashSet;

use harness::{stack::Stack, verify};
use serde_json::json;
use worker::app::Role;

use crate::USERS;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_posts_are_a_thousand_of_everything() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    let clients = (0..10).map(|_| {
        let client = client.clone();
        async move {
            let mut ids = Vec::new();
            for _ in 0..100 {
                let body = json!({ "email": "test@example.com", "name": "Test User" });
                let answer = client.post(USERS, &body).await?;
                assert_eq!(answer.status, 201, "{answer:?}");
                ids.push(answer.body["id"].to_string());
            }
            anyhow::Ok(ids)
        }
    });
    let ids: HashSet<_> = futures_util::future::try_join_all(clients).await?.into_iter().flatten().collect();
    assert_eq!(ids.len(), 1_000);

    stack.settled().await?;
    let story = verify::consistent(&stack).await?;
    assert_eq!((story.records.len(), story.users.len(), story.duplicates), (1_000, 1_000, 0));
    assert!(story.records.iter().all(|record| record.event.event_type.to_string() == "user_created"));

    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}
