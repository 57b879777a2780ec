//! Who changes what it has not seen is told so.

use futures_util::future::try_join_all;
use harness::{
    client::{Answer, Client},
    sample::{self, Sample},
    stack::Stack,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::of_each_entity;

of_each_entity!(if_match_guards_each_change);
of_each_entity!(a_version_can_be_required);

/// The ways to change the first sample, with their bodies.
fn ways<E: Sample>() -> [(Method, Value); 3] {
    [(Method::PUT, E::replacement(1)), (Method::PATCH, E::change()), (Method::DELETE, Value::Null)]
}

async fn if_match_guards_each_change<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    sample::prepare::<E>(&client).await?;
    sample::create::<E>(&client, 1).await?;
    let path = E::path(1);
    let before = client.patch(&path, &E::change()).await?;
    assert_eq!(before.version(), 2);
    for (method, body) in ways::<E>() {
        for stale in ["\"1\"", "\"3\""] {
            let refused = client.ask(method.clone(), &path, &[("If-Match", stale)], &body).await?;
            client.check_problem(&refused, 412, "version-mismatch").await?;
            assert_eq!(refused.body["current_version"], 2);
        }
        for malformed in ["two", "2", "\"two\"", "W/\"2\"", "\"1\", \"2\"", ""] {
            let refused = client.ask(method.clone(), &path, &[("If-Match", malformed)], &body).await?;
            client.check_problem(&refused, 400, "invalid-parameter").await?;
            assert_eq!(refused.body["errors"][0]["parameter"], "If-Match", "{method} {malformed}");
        }
        let nowhere = client.ask(method, &E::path(7), &[("If-Match", "\"1\"")], &body).await?;
        client.check_problem(&nowhere, 404, "not-found").await?;
    }
    assert_eq!(client.get(&path).await?.body, before.body, "a refused change changes nothing");
    for ((method, body), (tag, status)) in ways::<E>().into_iter().zip([("\"2\"", 200), ("*", 200), ("\"4\"", 204)]) {
        let done = client.ask(method, &path, &[("If-Match", tag)], &body).await?;
        assert_eq!(done.status, status, "{done:?}");
    }
    changes_at_once::<E>(&client).await?;
    api.stop().await?;
    stack.discard().await
}

/// Writers of one entity wait for each other; none is lost. Of those that name one version, one wins.
async fn changes_at_once<E: Sample>(client: &Client) -> anyhow::Result<()> {
    const WRITERS: u64 = 30;
    sample::create::<E>(client, 2).await?;
    let (path, change) = (E::path(2), E::change());

    let answers = try_join_all((0..WRITERS).map(|_| client.patch(&path, &change))).await?;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let mut versions: Vec<u64> = answers.iter().map(Answer::version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=WRITERS + 1).collect::<Vec<u64>>());

    let tag = format!("\"{}\"", WRITERS + 1);
    let headers = [("If-Match", tag.as_str())];
    let answers = try_join_all((0..WRITERS).map(|_| client.ask(Method::PATCH, &path, &headers, &change))).await?;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.code() == "version-mismatch").count();
    assert_eq!((won, refused), (1, answers.len() - 1), "{answers:?}");
    Ok(())
}

async fn a_version_can_be_required<E: Sample>() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    stack.config.http.require_if_match = true;
    let (api, client) = stack.start_api().await?;
    sample::prepare::<E>(&client).await?;
    sample::create::<E>(&client, 1).await?;
    let path = E::path(1);
    for (method, body) in ways::<E>() {
        let refused = client.ask(method, &path, &[], &body).await?;
        client.check_problem(&refused, 428, "version-required").await?;
    }
    assert_eq!(client.get(&path).await?.version(), 1);
    for ((method, body), tag) in ways::<E>().into_iter().zip(["\"1\"", "\"2\"", "\"3\""]) {
        let done = client.ask(method, &path, &[("If-Match", tag)], &body).await?;
        assert!(done.status.is_success(), "{done:?}");
    }
    // Creating asks for no version, also where it is done by its address.
    let placed = client.ask(Method::PUT, &path, &[("If-None-Match", "*")], &E::creation(1)).await?;
    assert_eq!((placed.status.as_u16(), &placed.body["version"]), (201, &json!(5)));
    api.stop().await?;
    stack.discard().await
}
