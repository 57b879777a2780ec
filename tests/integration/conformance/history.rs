//! What became of an entity: who, when, from what to what; also of what is gone.

use harness::{
    checker,
    client::Answer,
    process::free_port,
    sample::{self, Sample},
    stack::Stack,
};
use reqwest::Method;
use serde_json::{Value, json};
use worker::app::Role;

use super::of_each_entity;

of_each_entity!(every_change_is_told);
of_each_entity!(without_documents_only_the_history_is_missing);

async fn every_change_is_told<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    sample::prepare::<E>(&client).await?;
    let path = E::path(1);
    let created = client.ask(Method::POST, E::PATH, &[("X-Request-Id", "r1")], &E::creation(1)).await?;
    let changed = client.ask(Method::PATCH, &path, &[("X-Request-Id", "r2")], &E::change()).await?;
    client.ask(Method::DELETE, &path, &[("X-Request-Id", "r3")], &Value::Null).await?;
    let reborn = client.ask(Method::POST, E::PATH, &[("X-Request-Id", "r4")], &E::creation(1)).await?;
    client.ask(Method::DELETE, &path, &[("X-Request-Id", "r5")], &Value::Null).await?;
    assert_eq!(client.get(&path).await?.status, 404);
    stack.settled().await?;
    let story = checker::consistent(&stack).await?;

    let history = client.get(&format!("{path}/history")).await?;
    assert_eq!((history.status.as_u16(), &history.body["has_more"]), (200, &json!(false)), "{history:?}");
    let entries = history.body["items"].as_array().cloned().unwrap_or_default();
    let records = story.of(E::KIND, &E::sample_id(1));
    let states = [&created, &changed, &changed, &reborn, &reborn];
    assert_eq!((entries.len(), records.len()), (5, 5));
    for (((entry, record), state), version) in entries.iter().rev().zip(records).zip(states).zip(1..) {
        let event = &record.event;
        assert_eq!((&entry["version"], &entry["action"]), (&json!(version), &json!(event.event_type.action)));
        assert_eq!(entry["request_id"], format!("r{version}"));
        assert!(entry["actor"].is_null(), "nobody is told apart today");
        assert_eq!(entry["occurred_at"], event.time.to_text());
        assert_eq!((&entry["event_id"], &entry["transaction_id"]), (&json!(event.id), &json!(event.transaction_id)));
        assert_eq!(entry["after"], state.body);
    }
    assert_eq!(entries[0]["changes"], json!([]), "of a deletion nothing but that it is gone");
    let step = json!([{ "field": "status", "from": E::STATUSES[0], "to": E::STATUSES[1] }]);
    assert_eq!(entries[3]["changes"], step);
    for (entry, state) in [(&entries[4], &created), (&entries[1], &reborn)] {
        assert_tells_every_field(entry, state);
    }
    in_parts(&client, &path).await?;
    let unknown = client.get(&format!("{}/history", E::path(7))).await?;
    client.check_problem(&unknown, 404, "not-found").await?;
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// The first change of a life is from nothing to everything.
fn assert_tells_every_field(entry: &Value, state: &Answer) {
    let changes = entry["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let fields = state.body.as_object().into_iter().flatten();
    for (field, value) in fields.filter(|(field, _)| !["version", "updated_at"].contains(&field.as_str())) {
        let told = changes.iter().find(|change| change["field"] == *field);
        assert!(told.is_some_and(|told| told["from"].is_null() && told["to"] == *value), "{field} of {entry}");
    }
}

async fn in_parts(client: &harness::client::Client, path: &str) -> anyhow::Result<()> {
    let versions = |answer: &Answer| {
        let items = answer.body["items"].as_array().into_iter().flatten();
        items.map(|entry| entry["version"].as_u64().unwrap_or_default()).collect::<Vec<_>>()
    };
    for (query, expected, has_more) in [
        ("limit=2", vec![5, 4], true),
        ("limit=2&before=4", vec![3, 2], true),
        ("limit=2&before=2", vec![1], false),
        ("limit=5", vec![5, 4, 3, 2, 1], false),
        ("before=1", vec![], false),
    ] {
        let part = client.get(&format!("{path}/history?{query}")).await?;
        if expected.is_empty() {
            // Nothing is known from before the first.
            assert_eq!(part.status, 404);
            continue;
        }
        assert_eq!((versions(&part), &part.body["has_more"]), (expected, &json!(has_more)), "{query}");
    }
    // A part tells the same of its last entry as the whole does.
    let part = client.get(&format!("{path}/history?limit=1&before=3")).await?;
    assert_eq!(part.body["items"][0]["changes"].as_array().map(Vec::len), Some(1), "{part:?}");
    for query in ["limit=0", "limit=101", "limit=x", "before=x"] {
        let refused = client.get(&format!("{path}/history?{query}")).await?;
        client.check_problem(&refused, 400, "invalid-parameter").await?;
    }
    Ok(())
}

/// MongoDB away: everything else goes on.
async fn without_documents_only_the_history_is_missing<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let mut config = stack.config.clone();
    config.mongodb.uri = format!("mongodb://127.0.0.1:{}", free_port()?).into();
    config.mongodb.timeout_ms = 500;
    let (api, client) = Stack { config }.start_api().await?;
    sample::prepare::<E>(&client).await?;
    sample::create::<E>(&client, 1).await?;
    let path = E::path(1);
    let refused = client.get(&format!("{path}/history")).await?;
    client.check_problem(&refused, 503, "read-model-unavailable").await?;
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(client.patch(&path, &E::change()).await?.version(), 2);
    assert_eq!(client.put(&path, &E::replacement(1)).await?.version(), 3);
    assert_eq!(client.get(&path).await?.version(), 3);
    assert_eq!(client.get(E::PATH).await?.body["items"][0]["version"], 3);
    assert_eq!(client.delete(&path).await?.status, 204);
    api.stop().await?;
    stack.discard().await
}
