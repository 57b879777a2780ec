//! Several at once: all or none, in the order of the request.

use futures_util::future::try_join_all;
use harness::{
    checker,
    client::Client,
    sample::{self, Sample, nameless, shows, with},
    stack::Stack,
};
use serde_json::{Value, json};
use worker::app::Role;

use super::of_each_entity;

of_each_entity!(all_are_created_in_their_order);
of_each_entity!(one_that_is_refused_refuses_all);

/// The most that one request may create.
const MOST: usize = 100;

async fn post<E: Sample>(client: &Client, items: Vec<Value>) -> anyhow::Result<harness::client::Answer> {
    client.post(&format!("{}/batch", E::PATH), &json!({ "items": items })).await
}

async fn all_are_created_in_their_order<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    sample::prepare::<E>(&client).await?;
    // Neither the order of the ids nor its reverse.
    let numbers: Vec<usize> = (0..MOST).map(|index| index * 37 % MOST).collect();
    let items: Vec<Value> = numbers.iter().map(|number| E::creation(*number)).collect();
    let created = post::<E>(&client, items.clone()).await?;
    assert_eq!(created.status, 201, "{created:?}");
    let shown = created.body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(shown.len(), MOST);
    for (shown, item) in shown.iter().zip(&items) {
        assert!(shows(shown, item) && shown["version"] == 1, "{shown} is not {item}");
    }
    let one = post::<E>(&client, vec![E::creation(MOST)]).await?;
    assert_eq!((one.status.as_u16(), &one.body["items"][0]["id"]), (201, &json!(E::sample_id(MOST))));
    // A server's id is none of the client's.
    let named = post::<E>(&client, vec![nameless(E::creation(MOST + 1))]).await?;
    assert_eq!(named.status, 201, "{named:?}");
    assert!(named.body["items"][0]["id"].as_str().is_some_and(|id| id.len() == 36));

    stack.settled().await?;
    let story = checker::consistent(&stack).await?;
    assert_eq!(story.count(E::KIND), MOST + 2);
    let first = &story.of(E::KIND, &E::sample_id(0))[0].event;
    for number in 0..MOST {
        let records = story.of(E::KIND, &E::sample_id(number));
        assert_eq!(records[0].event.transaction_id, first.transaction_id, "they are one transaction");
        assert_eq!(records[0].event.event_type.to_string(), format!("{}_created", E::KIND));
    }
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

async fn one_that_is_refused_refuses_all<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    sample::prepare::<E>(&client).await?;
    sample::create::<E>(&client, 3).await?;
    let depth = stack.outbox_depth().await?;
    let several = || (0..5).map(E::creation).collect::<Vec<_>>();

    let taken = post::<E>(&client, several()).await?;
    client.check_problem(&taken, 409, "already-exists").await?;
    assert_eq!(taken.violations(), [("/items/3/id", "taken")]);

    let mut broken = several();
    broken[1] = with(E::creation(1), "status", json!("nonsense"));
    broken[3] = with(E::creation(3), "surprise", json!(1));
    let broken = post::<E>(&client, broken).await?;
    client.check_problem(&broken, 422, "validation-failed").await?;
    assert_eq!(broken.violations(), [("/items/1/status", "not-allowed"), ("/items/3/surprise", "unknown-field")]);

    let mut twice = several();
    twice[3] = with(E::creation(9), "id", json!(E::sample_id(1)));
    let twice = post::<E>(&client, twice).await?;
    client.check_problem(&twice, 422, "validation-failed").await?;
    assert_eq!(twice.violations(), [("/items/3/id", "duplicate")]);

    for (items, code) in [(Vec::new(), "too-short"), ((10..=MOST + 10).map(E::creation).collect(), "too-long")] {
        let refused = post::<E>(&client, items).await?;
        client.check_problem(&refused, 422, "validation-failed").await?;
        assert_eq!(refused.violations(), [("/items", code)]);
    }
    let shapeless = client.post(&format!("{}/batch", E::PATH), &json!([E::creation(1)])).await?;
    client.check_problem(&shapeless, 422, "validation-failed").await?;

    let listed = client.get(E::PATH).await?;
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1), "{listed:?}");
    assert_eq!(stack.outbox_depth().await?, depth, "nothing was announced");

    // Batches that want the same ids in other orders do not wait for each other for ever.
    let batches = (0..6).map(|turn| {
        let mut items: Vec<Value> = (10..40).map(E::creation).collect();
        items.rotate_left(turn * 5);
        post::<E>(&client, items)
    });
    let answers = try_join_all(batches).await?;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    let refused = answers.iter().filter(|answer| answer.code() == "already-exists").count();
    assert_eq!((created, refused), (1, 5), "{answers:?}");
    api.stop().await?;
    stack.discard().await
}
