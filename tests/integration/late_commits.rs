//! Transactions that commit long after their outbox row was written, while later ids are published.

use std::time::{Duration, Instant};

use anyhow::Context;
use harness::{
    checker::{self, Recorder},
    dump,
    stack::Stack,
    wait,
    writers::{self, Plan},
};
use serde_json::{Value, json};
use sqlx::{Connection, MySqlConnection, Row};
use uuid::Uuid;
use worker::app::Role;

use crate::{USERS, user};

/// Changes a user by hand, as the API would, and keeps the transaction open for so long. Answers with the event's id.
async fn change_slowly(stack: &Stack, id: &str, first: &Value, open: Duration) -> anyhow::Result<Uuid> {
    let mut event = first.clone();
    let (event_id, name) = (Uuid::now_v7(), format!("{id}, later"));
    event["id"] = json!(event_id);
    event["type"] = json!("user_updated");
    event["entityversion"] = json!(2);
    event["transactionid"] = json!(Uuid::now_v7());
    event["data"]["version"] = json!(2);
    event["data"]["name"] = json!(name);
    let payload = serde_json::to_vec(&event)?;
    let mut connection = stack.mysql().await?;
    let mut transaction = connection.begin().await?;
    sqlx::query("UPDATE users SET version = 2, name = ? WHERE id = ?")
        .bind(&name)
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    let key = shared::entity::Key { kind: shared::entity::Kind::User, id: id.parse()? };
    sqlx::query(
        "INSERT INTO outbox_events \
         (lane, event_id, kind, entity_id, version, action, headers, payload, payload_bytes, crc32c, created_at) \
         VALUES (?, ?, 'user', ?, 2, 'updated', '{}', ?, ?, ?, UTC_TIMESTAMP(6))",
    )
    .bind(shared::lane::Lane::of(&key))
    .bind(event_id)
    .bind(id)
    .bind(&payload)
    .bind(payload.len() as u64)
    .bind(crc32c::crc32c(&payload))
    .execute(&mut *transaction)
    .await?;
    wait::pause(open).await;
    transaction.commit().await?;
    Ok(event_id)
}

/// How long after the commit the event was on Kafka.
async fn seen_after(stack: &Stack, event_id: Uuid, committed: Instant) -> anyhow::Result<Duration> {
    wait::until("the late event is published", async || {
        let gone: i64 = sqlx::query("SELECT COUNT(*) AS count FROM outbox_events WHERE event_id = ?")
            .bind(event_id)
            .fetch_one(&mut stack.mysql().await?)
            .await?
            .get("count");
        Ok((gone == 0).then_some(committed.elapsed()))
    })
    .await
}

async fn first_event(connection: &mut MySqlConnection, id: &str) -> anyhow::Result<Value> {
    let payload: Vec<u8> = sqlx::query_scalar("SELECT payload FROM outbox_events WHERE entity_id = ?")
        .bind(id)
        .fetch_one(connection)
        .await?;
    serde_json::from_slice(&payload).context("an event that is no JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_commits_late_is_delivered_once_and_in_order() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    client.post(USERS, &user("late")).await?;
    client.post(USERS, &user("later")).await?;
    let mut connection = stack.mysql().await?;
    let (late, later) = (first_event(&mut connection, "late").await?, first_event(&mut connection, "later").await?);
    let worker = stack.start_worker(&Role::ALL).await?;
    stack.settled().await?;

    let changing = async |id: &str, first: &Value, open: Duration| {
        let event_id = change_slowly(&stack, id, first, open).await?;
        let committed = Instant::now();
        // The next version comes at once, with an id far beyond that of the late one.
        client.patch(&format!("{USERS}/{id}"), &json!({ "name": "After" })).await?;
        seen_after(&stack, event_id, committed).await
    };
    let recorder = Recorder::default();
    let writing = async {
        for seed in 1..=6 {
            let plan = Plan { seed, writers: 2, users: 30, changes: 400 };
            writers::write(&client, plan, &recorder).await?;
            wait::pause(Duration::from_secs(1)).await;
        }
        anyhow::Ok(())
    };
    let (short, long, written) = tokio::join!(
        changing("late", &late, Duration::from_secs(3)),
        changing("later", &later, Duration::from_secs(30)),
        writing
    );
    written?;
    let (short, long) = (short?, long?);
    println!("published {short:?} after a commit that took 3 s, {long:?} after one that took 30 s");
    assert!(short.max(long) < Duration::from_secs(15), "a sweep is due every 5 s");
    stack.settled().await?;
    let story = checker::consistent(&stack).await?;
    assert_eq!(story.duplicates, 0);
    let names = |id| story.of(shared::entity::Kind::User, id).iter().map(|it| it.event.version.0).collect::<Vec<_>>();
    assert_eq!((names("late"), names("later")), (vec![1, 2, 3], vec![1, 2, 3]));
    assert!(dump::topic(&stack.config.kafka).await?.len() > 1_000);

    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}
