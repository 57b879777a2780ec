//! Events that Kafka will not take: their own entity waits for an operator, every other flows on.

use std::time::Duration;

use anyhow::Context;
use harness::{
    checker::{self, Recorder},
    client::Client,
    commands::{done, refused, status, status_is},
    dump,
    process::Process,
    stack::Stack,
    topic, wait,
    writers::{self, Plan},
};
use rand::RngExt;
use serde_json::{Value, json};
use shared::{
    config::Config,
    entity::{Key, Kind},
    lane::Lane,
};
use uuid::Uuid;

use crate::{USERS, user};

const PRODUCTS: &str = "/api/v1/products";

/// So little that compression makes nothing of it.
fn noise(bytes: usize) -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(bytes).map(char::from).collect()
}

/// A product whose second version is too large for a topic that takes 3,000 bytes; two small ones follow.
async fn write_a_large_version(client: &Client, id: &str) -> anyhow::Result<()> {
    let product = json!({ "id": id, "sku": id, "name": "N", "price": "1.00", "currency": "USD", "stock": 1,
        "category": "shoes", "description": "small" });
    let at = format!("{PRODUCTS}/{id}");
    anyhow::ensure!(client.post(PRODUCTS, &product).await?.status == 201);
    for description in [noise(4_500), "smaller".to_owned(), "smallest".to_owned()] {
        let changed = client.patch(&at, &json!({ "description": description })).await?;
        anyhow::ensure!(changed.status == 200, "{changed:?}");
    }
    Ok(())
}

/// The versions of an entity that are on the topic, as they lie there.
async fn published(stack: &Stack, key: &str) -> anyhow::Result<Vec<u64>> {
    let records = dump::topic(&stack.config.kafka).await?;
    Ok(records.iter().filter(|record| record.key == key).map(|record| record.event.version.0).collect())
}

/// The poison event of an entity, once it is parked with so many behind it.
async fn parked(config: &Config, id: &str, behind: u64) -> anyhow::Result<Value> {
    wait::until(&format!("{id} is parked"), async || {
        let listed = done(config, &["outbox", "parked", "list", "--json"]).await?.json()?;
        Ok(listed.into_iter().find(|event| event["entity_id"] == id && event["blocked"] == behind))
    })
    .await
}

/// Waits until nothing is held any more, and everything was consumed.
async fn released(stack: &Stack) -> anyhow::Result<()> {
    let none = json!({ "poison": 0, "blocked": 0, "replay": 0 });
    status_is(&stack.config, "nobody is needed any more", |code, it| code == 0 && it["parked"] == none).await?;
    stack.settled().await
}

fn id_of(event: &Value) -> anyhow::Result<String> {
    Ok(event["event_id"].as_str().context("no event id")?.to_owned())
}

/// How long after it was made the slowest event of other entities was appended to the topic: of those that were made
/// before this one was, and of those after it.
async fn slowest(stack: &Stack, key: &str) -> anyhow::Result<(Duration, Duration)> {
    let records = dump::topic(&stack.config.kafka).await?;
    let made_ms = |record: &dump::Record| record.event.time.to_utc().timestamp_millis();
    let began_ms = records.iter().find(|record| record.key == key).map(made_ms).context("it is not published")?;
    let slowest = |before: bool| {
        let others = records.iter().filter(|it| it.key != key && (made_ms(it) < began_ms) == before);
        let late_ms = others.map(|it| it.published_ms - made_ms(it)).max().unwrap_or_default();
        Duration::from_millis(u64::try_from(late_ms).unwrap_or_default())
    };
    Ok((slowest(true), slowest(false)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_waits_alone_until_the_topic_takes_it() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let config = &stack.config;
    let by_the_broker = ("message.timestamp.type", "LogAppendTime");
    topic::configure(&config.kafka, &[by_the_broker, ("max.message.bytes", "3000")]).await?;
    let (api, client) = stack.start_api().await?;
    let worker = Process::worker(config).await?;
    let recorder = Recorder::default();
    let plan = Plan { seed: rand::random::<u64>() >> 8, writers: 4, users: 100, changes: 1_200 };
    println!("seed {}", plan.seed);
    let poisoning = async {
        wait::until("some is written", async || Ok((recorder.done() >= 400).then_some(()))).await?;
        write_a_large_version(&client, "large").await
    };
    let (written, poisoned) = tokio::join!(writers::write(&client, plan, &recorder), poisoning);
    written?;
    poisoned?;
    let event = parked(config, "large", 2).await?;
    assert!(event["version"] == 2 && event["error"].as_str().unwrap_or_default().contains("TOO_LARGE"), "{event}");
    wait::until("all others are published", async || Ok((stack.outbox_depth().await? == 0).then_some(()))).await?;
    let (before, since) = slowest(&stack, "product:large").await?;
    println!("of the other entities no event came later than {before:?} before it, {since:?} since");
    assert!(since < before + Duration::from_secs(1), "every other entity flows on");
    assert_eq!(published(&stack, "product:large").await?, [1]);
    let (code, shown) = status(config).await?;
    assert_eq!((code, &shown["parked"]), (3, &json!({ "poison": 1, "blocked": 2, "replay": 0 })), "nobody else");

    // Later ones wait as well; and it is refused again while nothing has changed.
    client.patch(&format!("{PRODUCTS}/large"), &json!({ "name": "Five" })).await?;
    done(config, &["outbox", "parked", "replay", &id_of(&event)?]).await?;
    let again = parked(config, "large", 2).await?;
    wait::until("it was tried again", async || {
        let again = parked(config, "large", 2).await?;
        Ok((again["state"] == "parked" && again["attempts"].as_u64() > event["attempts"].as_u64()).then_some(()))
    })
    .await?;
    assert_eq!(published(&stack, "product:large").await?, [1]);

    topic::configure(&config.kafka, &[by_the_broker]).await?;
    done(config, &["outbox", "parked", "replay", &id_of(&again)?]).await?;
    released(&stack).await?;
    assert_eq!(published(&stack, "product:large").await?, [1, 2, 3, 4, 5]);
    // Of what was on its way when it was refused it is not known whether it arrived.
    println!("{} duplicates", checker::consistent(&stack).await?.duplicates);
    worker.terminate().await?;
    api.stop().await?;
    stack.finish().await
}

/// Changes the payloads of versions that wait, by hand.
async fn damage(stack: &Stack, id: &str, version: u64) -> anyhow::Result<()> {
    let damaged = sqlx::query(
        "UPDATE outbox_events SET payload = REPLACE(payload, 'specversion', 'specversiom') \
         WHERE entity_id = ? AND version = ?",
    )
    .bind(id)
    .bind(version)
    .execute(&mut stack.mysql().await?)
    .await?;
    anyhow::ensure!(damaged.rows_affected() == 1, "{id} {version} does not wait");
    Ok(())
}

async fn payload(stack: &Stack, id: &str, version: u64) -> anyhow::Result<Vec<u8>> {
    let select = "SELECT payload FROM outbox_events WHERE entity_id = ? AND version = ?";
    Ok(sqlx::query_scalar(select).bind(id).bind(version).fetch_one(&mut stack.mysql().await?).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_row_is_repaired_or_discarded_and_its_siblings_follow_in_order() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let config = &stack.config;
    let (api, client) = stack.start_api().await?;
    let worker = Process::worker(config).await?;
    done(config, &["outbox", "pause", "all", "--reason", "to damage"]).await?;
    for id in ["ann", "bob", "cid"] {
        client.post(USERS, &user(id)).await?;
        for number in 2..=4 {
            client.patch(&format!("{USERS}/{id}"), &json!({ "name": format!("Name {number}") })).await?;
        }
    }
    let whole = payload(&stack, "ann", 2).await?;
    damage(&stack, "ann", 2).await?;
    damage(&stack, "bob", 1).await?;
    damage(&stack, "bob", 3).await?;
    done(config, &["outbox", "resume", "all"]).await?;

    let (ann, bob) = (parked(config, "ann", 2).await?, parked(config, "bob", 3).await?);
    assert!(ann["error"].as_str().unwrap_or_default().contains("checksum"), "{ann}");
    wait::until("cid is published", async || Ok((published(&stack, "user:cid").await? == [1, 2, 3, 4]).then_some(())))
        .await?;
    assert_eq!((published(&stack, "user:ann").await?, published(&stack, "user:bob").await?), (vec![1], vec![]));
    client.patch(&format!("{USERS}/ann"), &json!({ "name": "Name 5" })).await?;

    let error = refused(config, &["outbox", "parked", "replay", &id_of(&ann)?]).await?;
    assert!(error.contains("checksum"), "{error}");
    let file = std::env::temp_dir().join(format!("sluice-repaired-{}", Uuid::now_v7()));
    tokio::fs::write(&file, &whole).await?;
    let path = file.to_str().unwrap_or_default();
    done(config, &["outbox", "parked", "replay", &id_of(&ann)?, "--payload", path]).await?;
    tokio::fs::remove_file(&file).await?;
    done(config, &["outbox", "parked", "discard", &id_of(&bob)?, "--reason", "of no use"]).await?;

    // What was behind it turns out to be broken itself, and holds the rest.
    let third = parked(config, "bob", 1).await?;
    assert_eq!(third["version"], 3);
    done(config, &["outbox", "parked", "discard", &id_of(&third)?, "--reason", "nor this"]).await?;
    released(&stack).await?;
    assert_eq!(published(&stack, "user:ann").await?, [1, 2, 3, 4, 5]);
    assert_eq!(published(&stack, "user:bob").await?, [2, 4]);
    assert_eq!(checker::consistent(&stack).await?.duplicates, 0);
    client.patch(&format!("{USERS}/bob"), &json!({ "name": "After" })).await?;
    stack.settled().await?;
    assert_eq!(published(&stack, "user:bob").await?, [2, 4, 5], "the entity is held no more");
    let left = done(config, &["outbox", "parked", "list", "--json", "--all"]).await?.json()?;
    assert!(left.len() == 2 && left.iter().all(|event| event["state"] == "discarded"), "as a record: {left:?}");
    worker.terminate().await?;
    api.stop().await?;
    stack.finish().await
}

/// More than single events are wrong: the lane waits instead, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_lane_with_nothing_but_poison_is_paused() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let config = &stack.config;
    let (api, client) = stack.start_api().await?;
    let worker = Process::worker(config).await?;
    done(config, &["outbox", "pause", "all", "--reason", "to damage"]).await?;
    let key = |id: &str| anyhow::Ok(Key { kind: Kind::User, id: id.parse()? });
    let lane = Lane::of(&key("p0")?);
    let mut ids = Vec::new();
    for number in 0.. {
        let id = format!("p{number}");
        if Lane::of(&key(&id)?) == lane {
            ids.push(id);
        }
        if ids.len() == 14 {
            break;
        }
    }
    for id in &ids {
        client.post(USERS, &user(id)).await?;
        damage(&stack, id, 1).await?;
    }
    client.post(USERS, &user("elsewhere")).await?;
    assert_ne!(Lane::of(&key("elsewhere")?), lane);
    done(config, &["outbox", "resume", "all"]).await?;
    let shown = status_is(config, "the lane is paused", |_, it| it["lanes"][lane.index()]["paused"] == true).await?;
    let reason = shown["lanes"][lane.index()]["pause_reason"].as_str().unwrap_or_default();
    assert!(reason.contains("10 poison events"), "{reason}");
    wait::until("others flow on", async || Ok((published(&stack, "user:elsewhere").await? == [1]).then_some(())))
        .await?;
    let (_, shown) = status(config).await?;
    assert!((9..=11).contains(&shown["parked"]["poison"].as_u64().unwrap_or_default()), "{}", shown["parked"]);
    assert_eq!(stack.outbox_depth().await?, 14 - shown["parked"]["poison"].as_i64().unwrap_or_default());
    worker.terminate().await?;
    api.stop().await?;
    stack.discard().await
}
