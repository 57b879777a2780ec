//! One by one: create, read, change, replace, delete, and live again.

use std::collections::BTreeMap;

use harness::{
    checker,
    client::{Answer, Client},
    sample::{self, Sample, shows, with},
    stack::Stack,
};
use reqwest::Method;
use serde_json::{Value, json};
use worker::app::Role;

use super::of_each_entity;

of_each_entity!(a_life);

/// What was answered at each version.
type Told = BTreeMap<u64, Value>;

async fn a_life<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    sample::prepare::<E>(&client).await?;
    let mut told = Told::new();

    born::<E>(&client, &mut told).await?;
    read::<E>(&client, &told[&1]).await?;
    changed::<E>(&client, &mut told).await?;
    replaced::<E>(&client, &mut told).await?;
    gone::<E>(&client, &mut told).await?;
    born_again::<E>(&client, &mut told).await?;

    stack.settled().await?;
    let story = checker::consistent(&stack).await?;
    let actions = ["created", "updated", "updated", "updated", "updated", "deleted", "created", "deleted", "created"];
    let records = story.of(E::KIND, &E::sample_id(1));
    assert_eq!(records.len(), actions.len());
    for ((record, action), version) in records.iter().zip(actions).zip(1..) {
        let event = &record.event;
        assert_eq!(event.event_type.to_string(), format!("{}_{action}", E::KIND));
        assert_eq!((record.key.as_str(), event.version.0), (&*format!("{}:{}", E::KIND, E::sample_id(1)), version));
        let data: Value = serde_json::from_str(event.data.get())?;
        assert_eq!(data, told[&version], "the event of version {version} carries what REST showed");
        let entity: E = serde_json::from_value(data)?;
        assert_eq!(event.recipient.as_ref(), entity.owner());
        assert!(event.actor.is_none() && event.request_id.is_some());
    }
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

fn assert_entity(answer: &Answer, status: u16, version: u64) {
    assert_eq!((answer.status.as_u16(), answer.version()), (status, version), "{answer:?}");
    assert_eq!(answer.header("etag"), format!("\"{version}\""));
    assert!(answer.header("content-type").starts_with("application/json"));
}

async fn born<E: Sample>(client: &Client, told: &mut Told) -> anyhow::Result<()> {
    let created = client.post(E::PATH, &E::creation(1)).await?;
    assert_entity(&created, 201, 1);
    assert_eq!(created.header("location"), E::path(1));
    assert!(shows(&created.body, &E::creation(1)), "{created:?}");
    assert_eq!(created.body["status"], E::STATUSES[0]);
    assert_eq!(created.body["created_at"], created.body["updated_at"]);
    let again = client.post(E::PATH, &E::creation(1)).await?;
    client.check_problem(&again, 409, "already-exists").await?;
    assert_eq!(again.violations(), [("/id", "taken")]);
    told.insert(1, created.body);
    Ok(())
}

async fn read<E: Sample>(client: &Client, expected: &Value) -> anyhow::Result<()> {
    let path = E::path(1);
    let found = client.get(&path).await?;
    assert_entity(&found, 200, 1);
    assert_eq!(&found.body, expected);
    let head = client.ask(Method::HEAD, &path, &[], &Value::Null).await?;
    assert_eq!((head.status.as_u16(), head.header("etag"), &head.body), (200, "\"1\"", &Value::Null));
    for tag in ["\"1\"", "W/\"1\"", "\"7\", \"1\"", "*"] {
        let known = client.ask(Method::GET, &path, &[("If-None-Match", tag)], &Value::Null).await?;
        assert_eq!((known.status.as_u16(), known.header("etag"), &known.body), (304, "\"1\"", &Value::Null), "{tag}");
    }
    let other = client.ask(Method::GET, &path, &[("If-None-Match", "\"7\"")], &Value::Null).await?;
    assert_eq!(other.body, found.body);
    let reached = client.ask(Method::GET, &path, &[("X-Min-Version", "1")], &Value::Null).await?;
    assert_eq!(reached.body, found.body);
    for (least, path) in [("2", &path), ("1", &E::path(7))] {
        let refused = client.ask(Method::GET, path, &[("X-Min-Version", least)], &Value::Null).await?;
        client.check_problem(&refused, 412, "version-not-reached").await?;
    }
    let refused = client.ask(Method::GET, &path, &[("X-Min-Version", "many")], &Value::Null).await?;
    client.check_problem(&refused, 400, "invalid-parameter").await
}

/// Only what is sent changes, whichever of the two content types says that it is a merge patch.
async fn changed<E: Sample>(client: &Client, told: &mut Told) -> anyhow::Result<()> {
    for (version, content_type) in [(2, "application/json"), (3, "application/merge-patch+json")] {
        let request = client.request(Method::PATCH, &E::path(1)).header("Content-Type", content_type);
        let changed = client.send(request.body(E::change().to_string())).await?;
        assert_entity(&changed, 200, version);
        let mut expected = told[&1].clone();
        for member in ["version", "updated_at", "status"] {
            expected[member] = changed.body[member].clone();
        }
        assert_eq!(changed.body, expected, "what is not sent stays");
        assert_eq!(changed.body["status"], E::STATUSES[1]);
        assert!(changed.body["updated_at"].as_str() >= told[&1]["updated_at"].as_str());
        told.insert(version, changed.body);
    }
    Ok(())
}

async fn replaced<E: Sample>(client: &Client, told: &mut Told) -> anyhow::Result<()> {
    let path = E::path(1);
    let replaced = client.put(&path, &E::replacement(1)).await?;
    assert_entity(&replaced, 200, 4);
    assert!(shows(&replaced.body, &E::replacement(1)), "{replaced:?}");
    assert_eq!(replaced.body["status"], E::STATUSES[1], "a status is not lost by leaving it out");
    assert_eq!(replaced.body["created_at"], told[&1]["created_at"]);
    let repeated = client.put(&path, &with(E::replacement(1), "id", json!(E::sample_id(1)))).await?;
    assert_entity(&repeated, 200, 5);
    let moved = client.put(&path, &with(E::replacement(1), "id", json!("other"))).await?;
    client.check_problem(&moved, 422, "validation-failed").await?;
    assert_eq!(moved.violations(), [("/id", "not-allowed")]);
    assert_eq!(client.get(&path).await?.body, repeated.body);
    told.insert(4, replaced.body);
    told.insert(5, repeated.body);
    Ok(())
}

async fn gone<E: Sample>(client: &Client, told: &mut Told) -> anyhow::Result<()> {
    let path = E::path(1);
    let deleted = client.delete(&path).await?;
    assert_eq!((deleted.status.as_u16(), &deleted.body), (204, &Value::Null));
    for gone in [
        client.get(&path).await?,
        client.delete(&path).await?,
        client.patch(&path, &E::change()).await?,
        client.put(&path, &E::replacement(1)).await?,
        client.get(&format!("{}/no%20id", E::PATH)).await?,
    ] {
        client.check_problem(&gone, 404, "not-found").await?;
    }
    assert_eq!(client.ask(Method::HEAD, &path, &[], &Value::Null).await?.status, 404);
    // Its event carries the last state.
    told.insert(6, told[&5].clone());
    Ok(())
}

/// The versions go on, so that no consumer takes the new life for the old one.
async fn born_again<E: Sample>(client: &Client, told: &mut Told) -> anyhow::Result<()> {
    let path = E::path(1);
    let born = client.post(E::PATH, &E::creation(1)).await?;
    assert_entity(&born, 201, 7);
    assert_eq!(born.body["status"], E::STATUSES[0]);
    told.insert(7, born.body.clone());
    assert_eq!(client.delete(&path).await?.status, 204);
    told.insert(8, born.body);

    let if_absent = [("If-None-Match", "*")];
    let placed = client.ask(Method::PUT, &path, &if_absent, &E::creation(1)).await?;
    assert_entity(&placed, 201, 9);
    assert_eq!(placed.header("location"), path);
    let again = client.ask(Method::PUT, &path, &if_absent, &E::creation(1)).await?;
    client.check_problem(&again, 412, "version-mismatch").await?;
    assert_eq!(client.get(&path).await?.body, placed.body);
    for headers in [[("If-None-Match", "\"1\""), ("X-Other", "")], [("If-None-Match", "*"), ("If-Match", "\"1\"")]] {
        let refused = client.ask(Method::PUT, &path, &headers, &E::creation(1)).await?;
        client.check_problem(&refused, 400, "invalid-parameter").await?;
    }
    told.insert(9, placed.body);
    Ok(())
}
