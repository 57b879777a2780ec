//! A change arrives everywhere: Kafka, MongoDB, Redis, the socket.

use harness::{checker, dump, socket::Socket, stack::Stack};
use reqwest::Method;
use serde_json::{Value, json};
use worker::app::Role;

use crate::{USERS, user};

#[tokio::test(flavor = "multi_thread")]
async fn a_change_arrives_everywhere() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    let mut socket = Socket::open(&client, "ann", "tab-1").await?;

    let trace = "0af7651916cd43dd8448eb211c80319c";
    let create = client
        .request(Method::POST, USERS)
        .header("X-Request-Id", "request-1")
        .header("traceparent", format!("00-{trace}-b7ad6b7169203331-01"))
        .json(&user("ann"));
    let created = client.send(create).await?;
    client.patch("/api/v1/users/ann", &json!({ "name": "Ann" })).await?;
    client.delete("/api/v1/users/ann").await?;
    client.post(USERS, &user("ann")).await?;

    let frames = [socket.event().await?, socket.event().await?, socket.event().await?, socket.event().await?];
    let told: Vec<_> = frames.iter().map(|frame| (&frame["type"], &frame["entityversion"])).collect();
    let expected = [("user_created", 1), ("user_updated", 2), ("user_deleted", 3), ("user_created", 4)];
    assert_eq!(
        told.iter().map(|(kind, version)| json!([kind, version])).collect::<Vec<_>>(),
        expected.map(|it| json!(it))
    );
    assert_eq!(frames[0]["data"], created.body, "the event carries what REST shows");
    assert_eq!(frames[2]["data"]["name"], "Ann", "a deletion carries the last state");

    stack.settled().await?;
    let story = checker::consistent(&stack).await?;
    assert_eq!((story.records.len(), story.duplicates), (4, 0));
    for (record, frame) in story.records.iter().zip(&frames) {
        assert_eq!(&serde_json::from_str::<Value>(&record.value)?, frame, "socket and topic tell the same");
    }
    let first = &story.records[0];
    assert_eq!((first.key.as_str(), first.event.request_id.as_deref()), ("user:ann", Some("request-1")));
    assert_eq!(first.trace.trace_id(), Some(trace), "the client's trace goes on");
    let cached = dump::cached(&stack).await?;
    assert!(cached.get("user:ann").is_none_or(|entry| entry.get("version").is_none_or(|version| version == "4")));

    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}
