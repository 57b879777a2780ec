//! The stock of a product, which nobody overwrites unseen, and which moves once for a key.

use harness::{
    checker,
    proxy::Next,
    sample::{self, Sample, with},
    stack::Stack,
};
use reqwest::Method;
use serde_json::json;
use shared::entity::{Kind, Product};
use worker::app::Role;

use super::{
    commit::{behind_a_proxy, repeat},
    idempotency::{assert_replayed, post},
};

#[tokio::test(flavor = "multi_thread")]
async fn who_overwrites_it_must_have_seen_it() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    sample::create::<Product>(&client, 1).await?;
    let path = Product::path(1);
    let (change, replacement) = (json!({ "stock": 11 }), with(Product::replacement(1), "stock", json!(11)));
    for (method, body) in [(Method::PATCH, &change), (Method::PUT, &replacement)] {
        for any in [&[][..], &[("If-Match", "*")]] {
            let refused = client.ask(method.clone(), &path, any, body).await?;
            client.check_problem(&refused, 428, "version-required").await?;
        }
    }
    // Who says what it is anyway overwrites nothing.
    let same = client.patch(&path, &json!({ "stock": 10, "name": "Sandal" })).await?;
    assert_eq!((same.status.as_u16(), same.version()), (200, 2), "{same:?}");
    let seen = client.ask(Method::PATCH, &path, &[("If-Match", "\"2\"")], &change).await?;
    assert_eq!((seen.status.as_u16(), &seen.body["stock"]), (200, &json!(11)), "{seen:?}");
    let unseen = client.ask(Method::PUT, &path, &[("If-Match", "\"2\"")], &replacement).await?;
    client.check_problem(&unseen, 412, "version-mismatch").await?;
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_moves_once_for_a_key() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    sample::create::<Product>(&client, 1).await?;
    let path = format!("{}/stock", Product::path(1));
    let sold = json!({ "delta": -4, "reason": "sold" });
    let first = post(&client, &path, "sale-1", &sold).await?;
    assert_eq!((first.status.as_u16(), &first.body["stock"]), (200, &json!(6)), "{first:?}");
    assert_eq!(first.header("etag"), "\"2\"");
    assert_replayed(&post(&client, &path, "sale-1", &sold).await?, &first);

    let too_many = json!({ "delta": -7 });
    let refused = post(&client, &path, "sale-2", &too_many).await?;
    client.check_problem(&refused, 409, "insufficient-stock").await?;
    assert_eq!(refused.violations(), [("/delta", "insufficient-stock")]);
    assert_eq!(post(&client, &path, "delivery", &json!({ "delta": 100 })).await?.body["stock"], 106);
    assert_replayed(&post(&client, &path, "sale-2", &too_many).await?, &refused);
    let elsewhere = post(&client, &format!("{}/stock", Product::path(2)), "sale-1", &sold).await?;
    client.check_problem(&elsewhere, 422, "idempotency-key-reused").await?;

    stack.settled().await?;
    let story = checker::consistent(&stack).await?;
    let records = story.of(Kind::Product, &Product::sample_id(1));
    let reasons: Vec<_> = records.iter().map(|record| record.event.reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("sold"), None]);
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// Whoever sells and hears nothing sells again with the same key.
#[tokio::test(flavor = "multi_thread")]
async fn it_moves_once_though_the_commit_is_lost() -> anyhow::Result<()> {
    let (stack, behind, proxy) = behind_a_proxy().await?;
    let (api, client) = behind.start_api().await?;
    sample::create::<Product>(&client, 1).await?;
    let (path, sold) = (format!("{}/stock", Product::path(1)), json!({ "delta": -4 }));
    for (next, key, left) in [(Next::IsNotAnswered, "sale-1", 6), (Next::IsCut, "sale-2", 2)] {
        proxy.next_commit(next);
        let lost = post(&client, &path, key, &sold).await?;
        client.check_problem(&lost, 503, "outcome-unknown").await?;
        let found = repeat(&client, &path, key, &sold).await?;
        assert_eq!((found.status.as_u16(), &found.body["stock"]), (200, &json!(left)), "{found:?}");
        assert_eq!(found.header("idempotency-replayed") == "true", next == Next::IsNotAnswered);
    }
    assert_eq!(client.get(&Product::path(1)).await?.body["stock"], 2);
    api.stop().await?;
    stack.discard().await
}
