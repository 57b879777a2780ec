//! What comes again, late and out of order, changes nothing.

use std::time::Duration;

use harness::{checker, dump, stack::Stack};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use serde_json::json;
use shared::{event, kafka};
use worker::app::Role;

use crate::{USERS, user};

#[tokio::test(flavor = "multi_thread")]
async fn late_duplicates_change_nothing() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    client.post(USERS, &user("kept")).await?;
    client.post(USERS, &user("gone")).await?;
    for number in 0..5 {
        client.patch("/api/v1/users/kept", &json!({ "name": format!("Name {number}") })).await?;
    }
    client.delete("/api/v1/users/gone").await?;
    stack.settled().await?;
    let before = checker::consistent(&stack).await?;
    let audit = dump::documents(&stack, "audit_log").await?;

    // Each record once more, one by one and the newest first: so each is a batch of its own behind newer ones.
    let producer: FutureProducer = kafka::client(&stack.config.kafka).create()?;
    for record in before.records.iter().rev() {
        let headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(event::CONTENT_TYPE) });
        let again = FutureRecord::to(&stack.config.kafka.topic)
            .key(&record.key)
            .payload(&record.value)
            .headers(headers)
            .partition(record.partition);
        producer.send(again, Duration::from_secs(30)).await.map_err(|(error, _)| error)?;
        stack.settled().await?;
    }
    let after = checker::consistent(&stack).await?;
    assert_eq!(after.duplicates, before.records.len());
    assert_eq!(dump::documents(&stack, "audit_log").await?, audit, "an entry was written again");

    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}
