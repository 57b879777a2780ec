//! Orders: what they may name, what stays as it was, and what they take from the stock.

use std::collections::BTreeMap;

use harness::{client::Answer, ledger, stack::Stack};
use serde_json::{Value, json};
use shared::entity::Kind;

use crate::{
    USERS,
    input::{assert_problem, violations},
    shop::{ORDERS, PAYMENTS, PRODUCTS, create, create_users, order, payment_of, product, stock_of, walk, with},
};

fn assert_broken(answer: &Answer, expected: &[(&str, &str)]) {
    assert_problem(answer, 422, "validation-failed");
    let expected: Vec<_> = expected.iter().map(|(at, code)| ((*at).to_owned(), (*code).to_owned())).collect();
    assert_eq!(violations(answer), expected, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_ordered_is_refused_and_takes_nothing() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    for id in ["lamp", "old", "yen"] {
        let body = with(product(id, 10), "currency", json!(if id == "yen" { "JPY" } else { "USD" }));
        create(&client, PRODUCTS, &with(body, "price", json!("7"))).await?;
    }
    client.patch("/api/v1/products/old", &json!({ "status": "archived" })).await?;
    let before = ledger::outbox(&stack).await?.len();

    let of = |items: &[(&str, u32)]| order("o", "ann", items);
    for (body, expected) in [
        (of(&[("lamp", 1), ("old", 1)]), vec![("/items/1/product_id", "archived")]),
        (of(&[("lamp", 1), ("yen", 1)]), vec![("/items/1/product_id", "another-currency")]),
        (
            of(&[("none", 1), ("lamp", 1), ("nothing", 1)]),
            vec![("/items/0/product_id", "unknown-reference"), ("/items/2/product_id", "unknown-reference")],
        ),
        (of(&[("lamp", 1), ("lamp", 1)]), vec![("/items/1/product_id", "duplicate")]),
        (of(&[("lamp", 0)]), vec![("/items/0/quantity", "out-of-range")]),
        (of(&[("lamp", 1_000_001)]), vec![("/items/0/quantity", "out-of-range")]),
        (of(&[]), vec![("/items", "too-short")]),
        (
            with(of(&[("lamp", 1)]), "items", json!([{ "product_id": "lamp", "quantity": 1.5 }])),
            vec![("/items/0/quantity", "wrong-type")],
        ),
        (with(of(&[("lamp", 1)]), "user_id", json!("nobody")), vec![("/user_id", "unknown-reference")]),
        (with(of(&[("lamp", 1)]), "status", json!("confirmed")), vec![("/status", "not-allowed")]),
        (with(of(&[("lamp", 1)]), "total_amount", json!("1.00")), vec![("/total_amount", "unknown-field")]),
        (
            with(of(&[("lamp", 1)]), "items", json!([{ "product_id": "lamp", "quantity": 1, "unit_price": "0.01" }])),
            vec![("/items/0/unit_price", "unknown-field")],
        ),
    ] {
        assert_broken(&client.post(ORDERS, &body).await?, &expected);
    }
    assert_eq!(ledger::outbox(&stack).await?.len(), before, "a refused order was told");
    for id in ["lamp", "old", "yen"] {
        assert_eq!(stock_of(&client, id).await?, Some(10), "{id}");
    }
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn price_items_and_user_stay_as_they_were_ordered() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann", "bob"]).await?;
    create(&client, PRODUCTS, &product("lamp", 10)).await?;
    create(&client, PRODUCTS, &with(product("book", 10), "price", json!("0.10"))).await?;
    let body = order("o", "ann", &[("lamp", 2), ("book", 3)]);
    let placed = create(&client, ORDERS, &body).await?;
    assert_eq!(placed.body["total_amount"], "20.30");
    assert_eq!(placed.body["items"][1], json!({ "product_id": "book", "quantity": 3, "unit_price": "0.10" }));

    client.patch("/api/v1/products/book", &json!({ "price": "99.00", "currency": "EUR" })).await?;
    client.patch("/api/v1/products/book", &json!({ "status": "archived" })).await?;
    let path = format!("{ORDERS}/o");
    assert_eq!(client.get(&path).await?.body, placed.body);
    // What repeats what is there changes nothing of it.
    let replaced = client.put(&path, &with(body.clone(), "status", json!("confirmed"))).await?;
    assert_eq!((replaced.body["status"].as_str(), &replaced.body["items"]), (Some("confirmed"), &placed.body["items"]));
    assert_eq!(replaced.body["total_amount"], "20.30");

    let other_items = order("o", "ann", &[("lamp", 2), ("book", 4)]);
    assert_broken(&client.put(&path, &other_items).await?, &[("/items", "immutable")]);
    let turned = order("o", "bob", &[("book", 3), ("lamp", 2)]);
    assert_broken(&client.put(&path, &turned).await?, &[("/items", "immutable"), ("/user_id", "immutable")]);
    for field in ["user_id", "items", "currency", "total_amount"] {
        let pointer = format!("/{field}");
        assert_broken(&client.patch(&path, &json!({ field: body["items"] })).await?, &[(&*pointer, "unknown-field")]);
    }
    assert_eq!(client.get(&path).await?.body, replaced.body);
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_returns_when_an_order_ends_early_and_only_then() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    create(&client, PRODUCTS, &product("lamp", 10)).await?;
    let path = |id: &str| format!("{ORDERS}/{id}");
    let placed = async |id: &str| create(&client, ORDERS, &order(id, "ann", &[("lamp", 3)])).await;

    placed("delivered").await?;
    walk(&client, &path("delivered"), &["confirmed", "processing", "shipped", "delivered", "returned"]).await?;
    assert_eq!(stock_of(&client, "lamp").await?, Some(7), "what was returned is not restocked");
    for (id, steps) in [("pending", [].as_slice()), ("confirmed", &["confirmed"])] {
        placed(id).await?;
        walk(&client, &path(id), steps).await?;
        assert_eq!(stock_of(&client, "lamp").await?, Some(4));
        assert_eq!(client.delete(&path(id)).await?.status, 204);
        assert_eq!(stock_of(&client, "lamp").await?, Some(7), "{id}");
        placed(id).await?;
        walk(&client, &path(id), steps).await?;
        walk(&client, &path(id), &["cancelled", "cancelled"]).await?;
        assert_eq!(stock_of(&client, "lamp").await?, Some(7), "{id}");
        assert_eq!(client.delete(&path(id)).await?.status, 204);
        assert_eq!(stock_of(&client, "lamp").await?, Some(7), "{id}");
    }
    ledger::check_events(ledger::outbox(&stack).await?.iter())?;
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_refer_to_stays() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    create(&client, PRODUCTS, &product("lamp", 10)).await?;
    create(&client, ORDERS, &order("o", "ann", &[("lamp", 3)])).await?;
    create(&client, PAYMENTS, &payment_of("p", "ann", "o")).await?;
    for (path, kind) in [("users/ann", "orders"), ("products/lamp", "orders"), ("orders/o", "payments")] {
        let refused = client.delete(&format!("/api/v1/{path}")).await?;
        assert_problem(&refused, 409, "in-use");
        assert_eq!(refused.body["detail"], format!("{kind} refer to it"), "{path}");
    }
    assert_eq!(stock_of(&client, "lamp").await?, Some(7), "a refused deletion gives nothing back");
    // A cancelled order still names its products and its user.
    walk(&client, &format!("{ORDERS}/o"), &["cancelled"]).await?;
    assert_problem(&client.delete(&format!("{PRODUCTS}/lamp")).await?, 409, "in-use");
    for path in [format!("{PAYMENTS}/p"), format!("{ORDERS}/o"), format!("{PRODUCTS}/lamp"), format!("{USERS}/ann")] {
        assert_eq!(client.delete(&path).await?.status, 204, "{path}");
    }
    api.stop().await?;
    stack.discard().await
}

/// A batch takes what all its orders need at once: one version and one event of each product.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_takes_the_products_of_all_its_orders_at_once() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    create(&client, PRODUCTS, &product("lamp", 10)).await?;
    create(&client, PRODUCTS, &product("book", 10)).await?;
    let batch = |orders: &[Value]| json!({ "items": orders });
    let path = format!("{ORDERS}/batch");

    let too_much = batch(&[order("a", "ann", &[("book", 1), ("lamp", 6)]), order("b", "ann", &[("lamp", 5)])]);
    let refused = client.post(&path, &too_much).await?;
    assert_problem(&refused, 409, "insufficient-stock");
    let missing = |at: &str| (at.to_owned(), "insufficient-stock".to_owned());
    assert_eq!(violations(&refused), [missing("/items/0/items/1/quantity"), missing("/items/1/items/0/quantity")]);
    let twice = batch(&[order("a", "ann", &[("lamp", 1)]), order("a", "ann", &[("lamp", 1)])]);
    assert_broken(&client.post(&path, &twice).await?, &[("/items/1/id", "duplicate")]);
    let unknown = batch(&[order("a", "ann", &[("lamp", 1)]), order("b", "bob", &[("none", 1)])]);
    assert_broken(&client.post(&path, &unknown).await?, &[("/items/1/items/0/product_id", "unknown-reference")]);
    let stranger = batch(&[order("a", "ann", &[("lamp", 1)]), order("b", "bob", &[("lamp", 1)])]);
    assert_broken(&client.post(&path, &stranger).await?, &[("/items/1/user_id", "unknown-reference")]);

    let fits = batch(&[
        order("b", "ann", &[("lamp", 4), ("book", 1)]),
        order("a", "ann", &[("book", 2), ("lamp", 6)]),
        order("c", "ann", &[("book", 3)]),
    ]);
    let placed = client.post(&path, &fits).await?;
    assert_eq!(placed.status, 201, "{placed:?}");
    let ids: Vec<_> = placed.body["items"].as_array().into_iter().flatten().map(|item| &item["id"]).collect();
    assert_eq!(ids, ["b", "a", "c"], "in the order of the request");

    let events = ledger::outbox(&stack).await?;
    ledger::check_events(events.iter())?;
    let transaction = events.last().map(|event| event.transaction_id);
    let of_batch: Vec<_> = events.iter().filter(|event| Some(event.transaction_id) == transaction).collect();
    assert_eq!(of_batch.len(), 5, "{of_batch:?}");
    let versions = of_batch.iter().filter(|event| event.kind == Kind::Product);
    let versions: BTreeMap<_, _> = versions.map(|event| (event.entity_id.as_str(), event.version.0)).collect();
    assert_eq!(versions, BTreeMap::from([("book", 2), ("lamp", 2)]));
    assert_eq!((stock_of(&client, "lamp").await?, stock_of(&client, "book").await?), (Some(0), Some(4)));
    api.stop().await?;
    stack.discard().await
}
