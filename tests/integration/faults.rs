//! A store that is away degrades its own duty only. Each test has the server that it kills for itself.

use std::time::{Duration, Instant};

use harness::{
    checker::{self, Recorder, Write},
    client::Client,
    servers::Servers,
    socket::Socket,
    stack::Stack,
    wait,
    writers::{self, Plan},
};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{config::Config, entity::Kind};
use worker::app::Role;

use crate::{USERS, user};

const OUTAGE: Duration = Duration::from_secs(20);

/// A stack on the shared servers, but for one of its own.
async fn stack_with_own(server: &'static str) -> anyhow::Result<(Stack, Servers)> {
    let mut config = Config::load(None)?;
    Stack::rename(&mut config);
    let servers = Servers::start(&[server], &mut config).await?;
    Ok((Stack::with_config(config).await?, servers))
}

fn create(id: &str) -> Write {
    Write::new(Method::POST, Kind::User, id, user(id))
}

/// Posts users for so long and answers with how many, and how long the slowest took.
async fn post_for(client: &Client, duration: Duration, recorder: &Recorder) -> anyhow::Result<(usize, Duration)> {
    let (start, mut slowest, mut posted) = (Instant::now(), Duration::ZERO, 0);
    while start.elapsed() < duration {
        let sent = Instant::now();
        let answer = recorder.send(client, create(&format!("u{posted}"))).await?;
        assert_eq!(answer.status, 201, "{answer:?}");
        slowest = slowest.max(sent.elapsed());
        posted += 1;
        wait::pause(Duration::from_millis(10)).await;
    }
    Ok((posted, slowest))
}

#[tokio::test(flavor = "multi_thread")]
async fn with_kafka_away_writes_go_on_and_the_backlog_drains() -> anyhow::Result<()> {
    let (stack, servers) = stack_with_own("kafka").await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    let recorder = Recorder::default();
    recorder.send(&client, create("before")).await?;
    stack.settled().await?;
    let mut socket = Socket::open(&client, "before", "tab").await?;

    servers.kill("kafka").await?;
    let (posted, slowest) = post_for(&client, OUTAGE, &recorder).await?;
    let backlog = stack.outbox_depth().await?;
    println!("{posted} users were stored without Kafka, the slowest in {slowest:?}; {backlog} events wait");
    assert_eq!(usize::try_from(backlog)?, posted);
    let change = Write::new(Method::PATCH, Kind::User, "before", json!({ "name": "During" }));
    recorder.send(&client, change).await?;

    servers.up(&["kafka"]).await?;
    let start = Instant::now();
    stack.settled().await?;
    println!("drained {:?} after Kafka was back", start.elapsed());
    let story = checker::consistent_with(&recorder, &stack).await?;
    assert_eq!(story.count(Kind::User), posted + 1);
    assert_eq!(socket.event().await?["data"]["name"], "During", "a socket that stayed open missed nothing");

    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_redis_away_reads_and_writes_are_right_and_quick() -> anyhow::Result<()> {
    let (stack, servers) = stack_with_own("redis").await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    client.post(USERS, &user("ann")).await?;
    servers.kill("redis").await?;

    let mut slowest = Duration::ZERO;
    for number in 0..300 {
        let name = format!("Ann {number}");
        let sent = Instant::now();
        let changed = client.patch("/api/v1/users/ann", &json!({ "name": name })).await?;
        let read = client.get("/api/v1/users/ann").await?;
        slowest = slowest.max(sent.elapsed());
        assert_eq!((changed.status.as_u16(), read.status.as_u16()), (200, 200));
        assert_eq!(read.body["name"], name);
    }
    println!("Redis away: the slowest write and read together took {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "a request waited for Redis: {slowest:?}");
    assert_eq!(client.get("/health").await?.body["status"], "degraded");
    // The relay needs no bell.
    wait::until("the outbox is empty", async || Ok((stack.outbox_depth().await? == 0).then_some(()))).await?;

    servers.up(&["redis"]).await?;
    client.patch("/api/v1/users/ann", &json!({ "name": "After" })).await?;
    stack.settled().await?;
    checker::consistent(&stack).await?;
    wait::until("Redis is heard again", async || {
        Ok((client.get("/health").await?.body["status"] == "up").then_some(()))
    })
    .await?;
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_mysql_away_requests_are_refused_soon_and_all_heals() -> anyhow::Result<()> {
    let (stack, servers) = stack_with_own("mysql").await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    let recorder = Recorder::default();
    writers::write(&client, Plan { seed: 1, writers: 4, users: 20, changes: 200 }, &recorder).await?;

    servers.kill("mysql").await?;
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let sent = Instant::now();
        let refused = match number % 3 {
            0 => recorder.send(&client, create("refused")).await?,
            1 => client.get("/api/v1/users/u1").await?,
            _ => recorder.send(&client, Write::new(Method::DELETE, Kind::User, "u1", Value::Null)).await?,
        };
        slowest = slowest.max(sent.elapsed());
        assert_eq!(refused.status, 503, "{refused:?}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert!(["unavailable", "outcome-unknown"].contains(&refused.code()), "{refused:?}");
    }
    println!("MySQL away: the slowest refusal took {slowest:?}");
    assert!(slowest < Duration::from_secs(10));
    assert_eq!(client.get("/livez").await?.status, 200);

    servers.up(&["mysql"]).await?;
    wait::until("writes are accepted again", async || {
        Ok((recorder.send(&client, create("healed")).await?.status == 201).then_some(()))
    })
    .await?;
    stack.settled().await?;
    let story = checker::consistent_with(&recorder, &stack).await?;
    assert!(story.rows.contains_key("user:healed"));
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}
