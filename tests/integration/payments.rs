//! Payments: of whose order they may be, what stays as it was, and when an order is closed to them.

use harness::{client::Answer, stack::Stack};
use serde_json::json;

use crate::{
    input::{assert_problem, violations},
    shop::{ORDERS, PAYMENTS, PRODUCTS, create, create_users, order, payment, payment_of, product, walk, with},
};

fn assert_broken(answer: &Answer, pointer: &str, code: &str) {
    assert_problem(answer, 422, "validation-failed");
    assert_eq!(violations(answer), [(pointer.to_owned(), code.to_owned())], "{answer:?}");
}

/// Ann with an order of hers, and Bob.
async fn shop() -> anyhow::Result<(Stack, harness::stack::Running, harness::client::Client)> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann", "bob"]).await?;
    create(&client, PRODUCTS, &product("lamp", 10)).await?;
    create(&client, ORDERS, &order("o", "ann", &[("lamp", 1)])).await?;
    Ok((stack, api, client))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_of_an_order_of_its_own_user() -> anyhow::Result<()> {
    let (stack, api, client) = shop().await?;
    let anothers = client.post(PAYMENTS, &payment_of("p", "bob", "o")).await?;
    assert_broken(&anothers, "/order_id", "unknown-reference");
    let missing = client.post(PAYMENTS, &payment_of("p", "bob", "none")).await?;
    assert_broken(&missing, "/order_id", "unknown-reference");
    assert_eq!(anothers.body["errors"], missing.body["errors"], "another's order is told apart from none");
    assert_broken(&client.post(PAYMENTS, &payment("p", "nobody")).await?, "/user_id", "unknown-reference");
    assert_broken(&client.post(PAYMENTS, &payment_of("p", "nobody", "o")).await?, "/order_id", "unknown-reference");
    for (field, value, code) in [
        ("status", json!("processing"), "not-allowed"),
        ("currency", json!("XAU"), "invalid-format"),
        ("currency", json!("usd"), "invalid-format"),
        ("gateway", json!(""), "too-short"),
        ("gateway_reference", json!("a b"), "invalid-format"),
        ("gateway_reference", json!("x".repeat(201)), "too-long"),
    ] {
        let refused = client.post(PAYMENTS, &with(payment("p", "ann"), field, value)).await?;
        assert_problem(&refused, 422, "validation-failed");
        assert!(violations(&refused).contains(&(format!("/{field}"), code.to_owned())), "{refused:?}");
    }
    let batch = json!({ "items": [payment_of("p", "ann", "o"), payment_of("q", "bob", "o")] });
    let refused = client.post(&format!("{PAYMENTS}/batch"), &batch).await?;
    assert_broken(&refused, "/items/1/order_id", "unknown-reference");
    assert_eq!(client.get(&format!("{PAYMENTS}/p")).await?.status, 404, "all or nothing");
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_status_and_reference_change() -> anyhow::Result<()> {
    let (stack, api, client) = shop().await?;
    create(&client, ORDERS, &order("other", "ann", &[("lamp", 1)])).await?;
    let body = with(payment_of("p", "ann", "o"), "gateway_reference", json!("ch_1"));
    let created = create(&client, PAYMENTS, &body).await?;
    let path = format!("{PAYMENTS}/p");
    for (field, value) in [
        ("user_id", json!("bob")),
        ("order_id", json!("other")),
        ("amount", json!("10.01")),
        ("currency", json!("EUR")),
        ("gateway", json!("adyen")),
    ] {
        let pointer = format!("/{field}");
        assert_broken(&client.put(&path, &with(body.clone(), field, value.clone())).await?, &pointer, "immutable");
        assert_broken(&client.patch(&path, &json!({ field: value })).await?, &pointer, "unknown-field");
    }
    let without = json!({ "user_id": "ann", "amount": "10.00", "currency": "USD", "gateway": "stripe" });
    assert_broken(&client.put(&path, &without).await?, "/order_id", "immutable");
    assert_eq!(client.get(&path).await?.body, created.body);
    // The same amount in another form is no other amount.
    let same = with(with(body.clone(), "amount", json!(10)), "status", json!("processing"));
    let replaced = client.put(&path, &same).await?;
    assert_eq!(
        (replaced.body["status"].as_str(), replaced.body["amount"].as_str()),
        (Some("processing"), Some("10.00"))
    );
    let noted = client.patch(&path, &json!({ "gateway_reference": "ch_2" })).await?;
    assert_eq!((&noted.body["gateway_reference"], &noted.body["status"]), (&json!("ch_2"), &json!("processing")));
    let cleared = client.patch(&path, &json!({ "gateway_reference": null })).await?;
    assert_eq!((cleared.status.as_u16(), cleared.body.get("gateway_reference")), (200, None));
    let spaced = client.patch(&path, &json!({ "gateway_reference": "a b" })).await?;
    assert_broken(&spaced, "/gateway_reference", "invalid-format");
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_is_not_paid() -> anyhow::Result<()> {
    let (stack, api, client) = shop().await?;
    for (id, steps) in [("pending", [].as_slice()), ("processing", &["processing"]), ("failing", &["processing"])] {
        create(&client, PAYMENTS, &payment_of(id, "ann", "o")).await?;
        walk(&client, &format!("{PAYMENTS}/{id}"), steps).await?;
    }
    create(&client, PAYMENTS, &payment_of("completed", "ann", "o")).await?;
    walk(&client, &format!("{PAYMENTS}/completed"), &["processing", "completed"]).await?;
    walk(&client, &format!("{ORDERS}/o"), &["cancelled"]).await?;

    assert_problem(&client.post(PAYMENTS, &payment_of("late", "ann", "o")).await?, 409, "order-closed");
    let stepped = async |id: &str, status: &str| {
        let path = format!("{PAYMENTS}/{id}");
        client.patch(&path, &json!({ "status": status })).await
    };
    assert_problem(&stepped("pending", "processing").await?, 409, "order-closed");
    assert_problem(&stepped("processing", "completed").await?, 409, "order-closed");
    // An illegal step is illegal first.
    assert_problem(&stepped("pending", "completed").await?, 409, "illegal-transition");
    for (id, status) in [("pending", "cancelled"), ("failing", "failed"), ("completed", "refunded")] {
        assert_eq!(stepped(id, status).await?.body["status"], status, "what leads away from paying is open");
    }
    let noted = client.patch(&format!("{PAYMENTS}/processing"), &json!({ "gateway_reference": "ch_1" })).await?;
    assert_eq!(noted.status, 200, "{noted:?}");
    api.stop().await?;
    stack.discard().await
}
