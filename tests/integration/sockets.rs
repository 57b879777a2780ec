//! Sockets: a user's own events, in order.

use std::time::Duration;

use harness::{socket::Socket, stack::Stack};
use serde_json::json;
use worker::app::Role;

use crate::{USERS, user};

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_hears_its_user_and_nobody_else() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    client.post(USERS, &user("user123")).await?;
    client.post(USERS, &user("other")).await?;
    stack.settled().await?;

    let mut own = Socket::open(&client, "user123", "client456").await?;
    let mut second = Socket::open(&client, "user123", "client789").await?;
    let mut others = Socket::open(&client, "other", "client456").await?;
    for number in 0..20 {
        client
            .put("/api/v1/users/user123", &json!({ "email": "a@b.example", "name": format!("Name {number}") }))
            .await?;
    }
    client.put("/api/v1/users/other", &json!({ "email": "a@b.example", "name": "Other" })).await?;
    for socket in [&mut own, &mut second] {
        for number in 0..20 {
            let frame = socket.event().await?;
            assert_eq!((&frame["type"], &frame["entityversion"]), (&json!("user_updated"), &json!(number + 2)));
            assert_eq!(
                (&frame["entityid"], &frame["data"]["name"]),
                (&json!("user123"), &json!(format!("Name {number}")))
            );
        }
    }
    let frame = others.event().await?;
    assert_eq!((&frame["type"], &frame["entityid"]), (&json!("user_updated"), &json!("other")));
    // What was published is delivered: the other's frame came after all of these.
    assert!(own.hears_nothing_for(Duration::from_millis(300)).await);

    api.stop().await?;
    assert_eq!(own.closed().await?, 1001, "a process that stops says so");
    worker.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_must_say_whose_it_is() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    for (user, name) in [("", "x"), ("ann", ""), ("a%20b", "x")] {
        let refused = Socket::open(&client, user, name).await;
        assert!(refused.is_err_and(|error| error.to_string().contains("400")), "{user:?} {name:?}");
    }
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_sockets_than_configured_and_dead_ones_are_closed() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    stack.config.notifications.max_sockets = 1;
    stack.config.notifications.ping_interval_ms = 100;
    let (api, client) = stack.start_api().await?;
    let mut first = Socket::open(&client, "ann", "a").await?;
    let refused = Socket::open(&client, "ann", "b").await;
    assert!(refused.is_err_and(|error| error.to_string().contains("503")));
    let heartbeat = first.frame().await?;
    assert_eq!(heartbeat, json!({ "type": "heartbeat", "notifications": "ok" }));
    // This client reads no more and so answers no ping; its place becomes free.
    harness::wait::until("the dead socket's place is free", async || Ok(Socket::open(&client, "ann", "b").await.ok()))
        .await?;
    api.stop().await?;
    stack.finish().await
}
