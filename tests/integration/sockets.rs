//! Sockets: a user's own events, in order.

use std::time::Duration;

use harness::{client::Client, socket::Socket, stack::Stack};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;
use shared::kafka;
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

/// A client that does not read: its queue fills, it is closed with a code of its own, and nobody else waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_does_not_read_is_closed_and_delays_nobody() -> anyhow::Result<()> {
    const FRAMES: usize = 400;
    let mut stack = Stack::new().await?;
    stack.config.notifications.queue_frames = 32;
    let (api, client) = stack.start_api().await?;
    let mut stalled = Socket::open(&client, "ann", "stalled").await?;
    let mut reading = Socket::open(&client, "ann", "reading").await?;

    let publishing = publish_large_events(&stack, &client, FRAMES);
    let receiving = async {
        for number in 0..FRAMES {
            let frame = reading.event().await?;
            assert_eq!(frame["entityversion"], json!(number + 1), "the socket that reads misses nothing");
        }
        anyhow::Ok(())
    };
    tokio::try_join!(publishing, receiving)?;
    assert_eq!(stalled.closed().await?, 4008);
    api.stop().await?;
    stack.discard().await
}

/// Events of 64 KiB straight onto the topic, one after the other, more than the kernel buffers of a socket hold.
async fn publish_large_events(stack: &Stack, client: &Client, count: usize) -> anyhow::Result<()> {
    client.post(USERS, &user("ann")).await?;
    let mut connection = stack.mysql().await?;
    let stored: Vec<u8> = sqlx::query_scalar("SELECT payload FROM outbox_events").fetch_one(&mut connection).await?;
    let mut event: serde_json::Value = serde_json::from_slice(&stored)?;
    event["data"]["name"] = json!("x".repeat(64 * 1024));
    let producer: FutureProducer = kafka::client(&stack.config.kafka).create()?;
    for number in 0..count {
        event["entityversion"] = json!(number + 1);
        let payload = event.to_string();
        let record = FutureRecord::to(&stack.config.kafka.topic).key("user:ann").payload(&payload).partition(0);
        producer.send(record, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
    }
    Ok(())
}
