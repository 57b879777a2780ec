//! What the repositories tell of themselves.

use std::time::Duration;

use harness::{client::Client, process::free_port, stack::Stack, wait};
use serde_json::{Value, json};
use worker::app::Role;

use crate::{USERS, create, query, user};

const TYPES: [&str; 4] = ["mysql", "mongodb", "cached", "specification"];

async fn report(client: &Client, of: &str) -> anyhow::Result<Value> {
    let answer = client.get(&format!("/api/v1/repositories/{of}")).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["type"], of);
    Ok(answer.body)
}

fn of_users(report: &Value) -> &Value {
    let entities = report["entities"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(entities.len(), 4, "{report}");
    entities.iter().find(|entity| entity["entity"] == "user").unwrap_or(&Value::Null)
}

fn index_fields<'a>(entity: &'a Value, name: &str) -> Option<&'a Value> {
    entity["indexes"].as_array()?.iter().find(|index| index["name"] == name).map(|index| &index["fields"])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_tells_what_it_can_and_holds() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    create(&client, "users", (0..50).map(|number| user(&format!("u{number}"))).collect()).await?;
    stack.settled().await?;
    let listed = client.get("/api/v1/repositories").await?;
    let types: Vec<_> =
        listed.body["items"].as_array().into_iter().flatten().map(|item| item["type"].clone()).collect();
    assert_eq!(types, TYPES);
    for unknown in ["oracle", "MySQL", "query"] {
        let answer = client.get(&format!("/api/v1/repositories/{unknown}")).await?;
        assert!(matches!(answer.status.as_u16(), 404 | 405), "{unknown}: {answer:?}");
    }

    for of in TYPES {
        let report = report(&client, of).await?;
        assert_eq!(report["healthy"], true, "{report}");
        assert!(
            report["purpose"].is_string() && report["features"][0].is_string() && report["use_cases"][0].is_string()
        );
        let operations = of_users(&report)["operations"].as_array().map_or(0, Vec::len);
        assert!(operations >= 3, "{report}");
    }
    let mysql = report(&client, "mysql").await?;
    assert_eq!(index_fields(of_users(&mysql), "newest_first"), Some(&json!(["created_at", "id"])), "{mysql}");
    assert!(of_users(&mysql)["count"].is_u64(), "{mysql}");
    wait::until("the documents have their indexes", async || {
        let mongodb = report(&client, "mongodb").await?;
        let products = mongodb["entities"].as_array().and_then(|it| it.iter().find(|it| it["entity"] == "product"));
        let full_text = products.and_then(|it| index_fields(it, "full_text"));
        let by_name = index_fields(of_users(&mongodb), "name_1__id_1");
        Ok((full_text.is_some() && by_name == Some(&json!(["name", "_id"]))).then_some(()))
    })
    .await?;
    assert_eq!(of_users(&report(&client, "mongodb").await?)["count"], 50);
    let specification = report(&client, "specification").await?;
    let fields = of_users(&specification)["fields"].as_array().cloned().unwrap_or_default();
    assert_eq!(fields.len(), 7, "{specification}");
    latencies_are_told(&client).await?;
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

async fn latencies_are_told(client: &Client) -> anyhow::Result<()> {
    for number in 0..10 {
        for repository in ["mysql", "mongodb"] {
            let asked = json!({ "repository": repository, "entity": "user", "limit": 1, "offset": number });
            assert_eq!(query(client, &asked).await?.status, 200);
        }
    }
    for of in ["mysql", "mongodb", "specification"] {
        let report = report(client, of).await?;
        let latency = &of_users(&report)["latency"];
        let (p50, p99) =
            (latency["p50_ms"].as_f64().unwrap_or_default(), latency["p99_ms"].as_f64().unwrap_or_default());
        assert!(latency["answers"].as_u64() >= Some(10) && p50 > 0.0 && p50 <= p99 && p99 < 60_000.0, "{report}");
    }
    Ok(())
}

/// While nobody projects, the documents fall behind; afterwards they are not.
#[tokio::test(flavor = "multi_thread")]
async fn the_lag_grows_and_returns_to_nothing() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    client.post(USERS, &user("before")).await?;
    stack.settled().await?;
    let lag = async || Ok::<_, anyhow::Error>(report(&client, "mongodb").await?["lag_ms"].as_u64());
    wait::until("nothing is behind", async || Ok(lag().await?.filter(|lag| *lag == 0))).await?;
    worker.stop().await?;

    // Whether it waits in the outbox or on the topic.
    let relay = stack.start_worker(&[Role::Relay]).await?;
    for id in ["one", "two"] {
        client.post(USERS, &user(id)).await?;
    }
    wait::until("it is published", async || Ok((stack.outbox_depth().await? == 0).then_some(()))).await?;
    let first = wait::until("it lags", async || Ok(lag().await?.filter(|lag| *lag > 0))).await?;
    wait::pause(Duration::from_secs(1)).await;
    wait::until("it lags more", async || Ok(lag().await?.filter(|lag| *lag >= first + 1_000))).await?;
    relay.stop().await?;
    client.post(USERS, &user("three")).await?;
    let asked = json!({ "repository": "mongodb", "entity": "user" });
    let behind = query(&client, &asked).await?;
    assert!(behind.body["lag_ms"].as_u64() > Some(1_000), "{behind:?}");
    assert_eq!(behind.body["items"].as_array().map(Vec::len), Some(1));

    let worker = stack.start_worker(&Role::ALL).await?;
    stack.settled().await?;
    wait::until("nothing is behind again", async || Ok(lag().await?.filter(|lag| *lag == 0))).await?;
    assert_eq!(query(&client, &asked).await?.body["items"].as_array().map(Vec::len), Some(4));
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_told_and_no_error() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    let (there, url) = (stack.config.mongodb.clone(), stack.config.redis.url.clone());
    stack.config.mongodb.uri = format!("mongodb://127.0.0.1:{}", free_port()?).into();
    stack.config.mongodb.timeout_ms = 300;
    stack.config.redis.url = format!("redis://127.0.0.1:{}", free_port()?).into();
    let (api, client) = stack.start_api().await?;
    for (of, healthy) in [("mysql", true), ("mongodb", false), ("cached", false), ("specification", true)] {
        let report = report(&client, of).await?;
        assert_eq!(report["healthy"], healthy, "{report}");
        assert!(healthy || of_users(&report)["count"].is_null(), "{report}");
    }
    let stats = client.get("/api/v1/repositories/cache/stats").await?;
    assert_eq!((stats.status.as_u16(), &stats.body["healthy"]), (200, &json!(false)), "{stats:?}");
    for answer in [
        client.delete("/api/v1/repositories/cache").await?,
        client.delete("/api/v1/repositories/cache/user/ann").await?,
        client.post("/api/v1/repositories/cache/warm", &json!({ "entity": "user", "ids": ["ann"] })).await?,
        client.post("/api/v1/repositories/cache/warm", &json!({ "entity": "user", "where": { "all": [] } })).await?,
    ] {
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "cache-unavailable"), "{answer:?}");
    }
    api.stop().await?;
    (stack.config.mongodb, stack.config.redis.url) = (there, url);
    stack.discard().await
}
