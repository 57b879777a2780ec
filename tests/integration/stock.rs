//! Stock under many hands: never below nothing, never lost, each change told by an event of the product's own.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use harness::{dump, ledger, stack::Stack};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use reqwest::Method;
use serde_json::json;
use worker::app::Role;

use crate::{
    input::{assert_problem, violations},
    shop::{ORDERS, PRODUCTS, create, create_users, order, patient_stack, product, stock_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_fight_for_the_last_ten_pieces() -> anyhow::Result<()> {
    let stack = patient_stack().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    create_users(&client, &["ann"]).await?;
    create(&client, PRODUCTS, &product("lamp", 10)).await?;

    let orders = (0..50).map(|number| {
        let client = client.clone();
        async move { client.post(ORDERS, &order(&format!("o{number}"), "ann", &[("lamp", 1)])).await }
    });
    let mut placed = 0;
    for answer in try_join_all(orders).await? {
        if answer.status == 201 {
            placed += 1;
        } else {
            assert_problem(&answer, 409, "insufficient-stock");
            assert_eq!(violations(&answer), [("/items/0/quantity".to_owned(), "insufficient-stock".to_owned())]);
        }
    }
    assert_eq!(placed, 10);
    let lamp = client.get("/api/v1/products/lamp").await?;
    assert_eq!((lamp.version(), &lamp.body["stock"]), (11, &json!(0)));
    assert_eq!(ledger::pieces(&stack).await?, BTreeMap::from([("lamp".to_owned(), 10)]));

    stack.settled().await?;
    let records = dump::topic(&stack.config.kafka).await?;
    ledger::check_events(ledger::once(&records).into_iter())?;
    let told = records.iter().filter(|record| record.key == "product:lamp");
    let told: Vec<_> = told.map(|it| (it.event.version.0, stock(&it.event), it.event.transaction_size)).collect();
    let expected = (0..10).map(|sold| (sold + 2, 9 - sold, 2));
    assert_eq!(told, [(1, 10, 1)].into_iter().chain(expected).collect::<Vec<_>>());

    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

fn stock(event: &shared::event::Event) -> u64 {
    let data: serde_json::Value = serde_json::from_str(event.data.get()).unwrap_or_default();
    data["stock"].as_u64().unwrap_or(u64::MAX)
}

/// Orders that name the same products in different orders wait for each other; they do not end in deadlocks.
#[tokio::test(flavor = "multi_thread")]
async fn orders_of_three_products_in_any_order_never_fail() -> anyhow::Result<()> {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stack = patient_stack().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann", "bob"]).await?;
    let products = ["chair", "lamp", "table"];
    for id in products {
        create(&client, PRODUCTS, &product(id, 60)).await?;
    }
    let bodies: Vec<_> = (0..50)
        .map(|number| {
            let mut items = products.map(|product| (product, random.random_range(1..=3)));
            items.shuffle(&mut random);
            order(&format!("o{number}"), if number % 2 == 0 { "ann" } else { "bob" }, &items)
        })
        .collect();
    let mut statuses = BTreeMap::new();
    for answer in try_join_all(bodies.iter().map(|body| client.post(ORDERS, body))).await? {
        assert!(answer.status == 201 || answer.code() == "insufficient-stock", "{answer:?}");
        *statuses.entry(answer.status.as_u16()).or_insert(0) += 1;
    }
    println!("{statuses:?}");
    assert!(statuses.len() == 2, "all three sell out on the way: {statuses:?}");
    for (product, pieces) in ledger::pieces(&stack).await? {
        assert_eq!(pieces, 60, "{product}");
    }
    ledger::check_events(ledger::outbox(&stack).await?.iter())?;

    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_overwritten_only_by_who_has_seen_it() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let lamp = format!("{PRODUCTS}/lamp");
    create(&client, PRODUCTS, &product("lamp", 10)).await?;

    let change = json!({ "stock": 20 });
    assert_problem(&client.patch(&lamp, &change).await?, 428, "version-required");
    assert_problem(&client.put(&lamp, &product("lamp", 20)).await?, 428, "version-required");
    let guarded = |version: &str| client.request(Method::PATCH, &lamp).header("If-Match", version).json(&change);
    assert_problem(&client.send(guarded("*")).await?, 428, "version-required");
    assert_problem(&client.send(guarded("\"9\"")).await?, 412, "version-mismatch");
    assert_eq!(stock_of(&client, "lamp").await?, Some(10));
    assert_eq!(client.send(guarded("\"1\"")).await?.body["stock"], 20);

    // Whoever says what it is changes nothing of it.
    assert_eq!(client.patch(&lamp, &json!({ "stock": 20, "name": "Lamp" })).await?.status, 200);
    let replacement = json!({ "sku": "l", "name": "L", "category": "c", "price": 1, "currency": "EUR" });
    assert_eq!(client.put(&lamp, &replacement).await?.body["stock"], 20, "left out, it stays");

    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_moves_within_its_bounds() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create(&client, PRODUCTS, &product("lamp", 10)).await?;
    let moved = async |delta: i64| client.post("/api/v1/products/lamp/stock", &json!({ "delta": delta })).await;

    assert_eq!(moved(-10).await?.body["stock"], 0);
    let refused = moved(-1).await?;
    assert_problem(&refused, 409, "insufficient-stock");
    assert_eq!(violations(&refused), [("/delta".to_owned(), "insufficient-stock".to_owned())]);
    assert_eq!(moved(1_000_000_000).await?.body["stock"], 1_000_000_000);
    for delta in [1, 1_000_000_001, -1_000_000_001] {
        let refused = moved(delta).await?;
        assert_problem(&refused, 422, "validation-failed");
        assert_eq!(violations(&refused), [("/delta".to_owned(), "out-of-range".to_owned())], "{delta}");
    }
    let damaged = json!({ "delta": -1, "reason": "damaged" });
    assert_eq!(client.post("/api/v1/products/lamp/stock", &damaged).await?.version(), 4);
    for (reason, code) in [("x".repeat(201), "too-long"), ("a\nb".to_owned(), "invalid-format")] {
        let refused = client.post("/api/v1/products/lamp/stock", &json!({ "delta": 1, "reason": reason })).await?;
        assert_eq!(violations(&refused), [("/reason".to_owned(), code.to_owned())]);
    }
    assert_problem(&client.post("/api/v1/products/none/stock", &damaged).await?, 404, "not-found");
    let last = ledger::outbox(&stack).await?;
    assert_eq!(last.last().and_then(|event| event.reason.as_deref()), Some("damaged"));

    api.stop().await?;
    stack.discard().await
}

/// A product that sells all day can still be edited: neither the edits nor the sales are lost.
#[tokio::test(flavor = "multi_thread")]
async fn edits_merge_with_sales() -> anyhow::Result<()> {
    let stack = patient_stack().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    create(&client, PRODUCTS, &product("lamp", 100)).await?;
    let sales = (0..20).map(|number| {
        let client = client.clone();
        async move { client.post(ORDERS, &order(&format!("o{number}"), "ann", &[("lamp", 2)])).await }
    });
    let edits = (0..20).map(|number| {
        let client = client.clone();
        let attributes = json!({ "attributes": { format!("edit-{number}"): number } });
        async move { client.patch("/api/v1/products/lamp", &attributes).await }
    });
    let (sales, edits) = tokio::try_join!(try_join_all(sales), try_join_all(edits))?;
    assert!(sales.iter().all(|answer| answer.status == 201), "{sales:?}");
    assert!(edits.iter().all(|answer| answer.status == 200), "{edits:?}");
    let lamp = client.get("/api/v1/products/lamp").await?;
    assert_eq!((lamp.version(), &lamp.body["stock"]), (41, &json!(60)));
    assert_eq!(lamp.body["attributes"].as_object().map(serde_json::Map::len), Some(20));
    ledger::check_events(ledger::outbox(&stack).await?.iter())?;

    api.stop().await?;
    stack.discard().await
}
