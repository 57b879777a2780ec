//! A request with a key may be repeated: there is one effect and one answer.

use futures_util::future::try_join_all;
use harness::{
    checker,
    client::{Answer, Client},
    sample::{self, Sample, with},
    stack::Stack,
};
use reqwest::Method;
use serde_json::{Value, json};
use worker::app::Role;

use super::of_each_entity;

of_each_entity!(a_key_stands_for_one_request);
of_each_entity!(many_at_once_are_one);

pub(super) async fn post(client: &Client, path: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
    client.ask(Method::POST, path, &[("Idempotency-Key", key)], body).await
}

/// Checks that the second is the first again.
pub(super) fn assert_replayed(again: &Answer, first: &Answer) {
    assert_eq!(again.header("idempotency-replayed"), "true", "{again:?}");
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    for name in ["etag", "location", "content-type"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
}

async fn a_key_stands_for_one_request<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    sample::prepare::<E>(&client).await?;

    let first = post(&client, E::PATH, "key-1", &E::creation(1)).await?;
    assert_eq!((first.status.as_u16(), first.header("idempotency-replayed")), (201, ""), "{first:?}");
    // What is changed meanwhile changes nothing of the answer.
    client.patch(&E::path(1), &E::change()).await?;
    for key in ["key-1", "\"key-1\""] {
        assert_replayed(&post(&client, E::PATH, key, &E::creation(1)).await?, &first);
    }
    let batch = format!("{}/batch", E::PATH);
    let items = json!({ "items": (2..5).map(E::creation).collect::<Vec<_>>() });
    let created = post(&client, &batch, "key-2", &items).await?;
    assert_eq!(created.status, 201, "{created:?}");
    assert_replayed(&post(&client, &batch, "key-2", &items).await?, &created);

    for (path, key, body) in
        [(E::PATH, "key-1", E::creation(7)), (E::PATH, "key-2", E::creation(2)), (&*batch, "key-1", items)]
    {
        let reused = post(&client, path, key, &body).await?;
        client.check_problem(&reused, 422, "idempotency-key-reused").await?;
    }
    let long = "k".repeat(256);
    for bad in ["", "\"\"", "two words", &long] {
        let refused = post(&client, E::PATH, bad, &E::creation(7)).await?;
        client.check_problem(&refused, 400, "invalid-parameter").await?;
        assert_eq!(refused.body["errors"][0]["parameter"], "Idempotency-Key");
    }
    refusals_are_replayed::<E>(&client).await?;
    failed_checks_are_not_stored::<E>(&client, &long[..255]).await?;

    stack.settled().await?;
    let story = checker::consistent(&stack).await?;
    for (number, events) in [(1, 3), (2, 1), (3, 1), (4, 1), (5, 1)] {
        assert_eq!(story.of(E::KIND, &E::sample_id(number)).len(), events, "of {number}");
    }
    assert!(story.of(E::KIND, &E::sample_id(7)).is_empty());
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// What the transaction decided is the answer for good, also after its reason is gone.
async fn refusals_are_replayed<E: Sample>(client: &Client) -> anyhow::Result<()> {
    let refused = post(client, E::PATH, "key-3", &E::creation(1)).await?;
    client.check_problem(&refused, 409, "already-exists").await?;
    assert_eq!(client.delete(&E::path(1)).await?.status, 204);
    let again = post(client, E::PATH, "key-3", &E::creation(1)).await?;
    assert_replayed(&again, &refused);
    client.check_problem(&again, 409, "already-exists").await?;
    assert_eq!(client.get(&E::path(1)).await?.status, 404);
    Ok(())
}

/// What never reached the transaction leaves the key free.
async fn failed_checks_are_not_stored<E: Sample>(client: &Client, key: &str) -> anyhow::Result<()> {
    let broken = post(client, E::PATH, key, &with(E::creation(5), "surprise", json!(1))).await?;
    client.check_problem(&broken, 422, "validation-failed").await?;
    let created = post(client, E::PATH, key, &E::creation(5)).await?;
    assert_eq!((created.status.as_u16(), created.header("idempotency-replayed")), (201, ""), "{created:?}");
    Ok(())
}

/// The first answer, the same again, or the request to wait for it; never a second effect, never a failure.
async fn many_at_once_are_one<E: Sample>() -> anyhow::Result<()> {
    const REQUESTS: usize = 100;
    let mut stack = Stack::new().await?;
    // What is tested is the key, not the pool.
    stack.config.database.max_connections = 30;
    stack.config.database.acquire_timeout_ms = 10_000;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    sample::prepare::<E>(&client).await?;
    for (path, key, body) in [
        (E::PATH.to_owned(), "one", E::creation(1)),
        (format!("{}/batch", E::PATH), "several", json!({ "items": [E::creation(2), E::creation(3)] })),
    ] {
        let answers = try_join_all((0..REQUESTS).map(|_| post(&client, &path, key, &body))).await?;
        let first: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 201 && answer.header("idempotency-replayed").is_empty())
            .collect();
        assert_eq!(first.len(), 1, "{answers:?}");
        for answer in &answers {
            match answer.status.as_u16() {
                201 => assert_eq!(answer.body, first[0].body),
                409 => client.check_problem(answer, 409, "idempotency-key-in-use").await?,
                _ => panic!("{answer:?}"),
            }
        }
        let waiting = answers.iter().filter(|answer| answer.status == 409).count();
        println!("{path}: {waiting} of {REQUESTS} were told to wait");
        assert_replayed(&post(&client, &path, key, &body).await?, first[0]);
    }
    stack.settled().await?;
    let story = checker::consistent(&stack).await?;
    for number in 1..=3 {
        assert_eq!(story.of(E::KIND, &E::sample_id(number)).len(), 1, "of {number}");
    }
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}
