//! Amounts come in exactly or not at all, and go out with the scale of their currency.

use harness::{
    client::{Answer, Client},
    ledger,
    stack::Stack,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    input::{assert_problem, violations},
    shop::{ORDERS, PAYMENTS, PRODUCTS, create, create_users, order, product, with},
};

/// Byte for byte: a JSON library would write the number in a form of its own.
async fn send(client: &Client, method: Method, path: &str, body: String) -> anyhow::Result<Answer> {
    client.send(client.request(method, path).header("Content-Type", "application/json").body(body)).await
}

async fn pay(client: &Client, amount: &str, currency: &str) -> anyhow::Result<Answer> {
    let body = format!(r#"{{"user_id":"ann","amount":{amount},"currency":"{currency}","gateway":"stripe"}}"#);
    send(client, Method::POST, PAYMENTS, body).await
}

/// As it is written in JSON, with the currency and what is answered.
const EXACT: [(&str, &str, &str); 22] = [
    ("100.50", "USD", "100.50"),
    ("100.5", "USD", "100.50"),
    (r#""100.50""#, "USD", "100.50"),
    (r#""100.5""#, "USD", "100.50"),
    (r#""100.5000""#, "USD", "100.50"),
    (r#""007.5""#, "USD", "7.50"),
    ("1e2", "USD", "100.00"),
    ("1.005E2", "USD", "100.50"),
    ("0.01", "USD", "0.01"),
    ("0.1", "EUR", "0.10"),
    ("500", "JPY", "500"),
    ("500.0", "JPY", "500"),
    (r#""500.00""#, "JPY", "500"),
    ("1.234", "KWD", "1.234"),
    (r#""1.2""#, "KWD", "1.200"),
    (r#""0.0001""#, "CLF", "0.0001"),
    ("999999999999999", "JPY", "999999999999999"),
    ("9999999999999.99", "USD", "9999999999999.99"),
    ("1000000000000000000", "JPY", "1000000000000000000"),
    (r#""9007199254740993.11""#, "USD", "9007199254740993.11"),
    (r#""9999999999999999999.99""#, "USD", "9999999999999999999.99"),
    (r#""9999999999999999999.9999""#, "CLF", "9999999999999999999.9999"),
];

/// As it is written in JSON, with the currency and the rule that it breaks.
const REFUSED: [(&str, &str, &str); 29] = [
    ("9007199254740993.11", "USD", "send-as-text"),
    ("9007199254740993", "JPY", "send-as-text"),
    ("0.30000000000000004", "USD", "send-as-text"),
    ("12345678901234567890123", "JPY", "send-as-text"),
    ("1234567890123.456", "USD", "send-as-text"),
    (r#""1e2""#, "USD", "invalid-format"),
    (r#""1E2""#, "USD", "invalid-format"),
    (r#""+1""#, "USD", "invalid-format"),
    (r#"" 1""#, "USD", "invalid-format"),
    (r#""1,5""#, "USD", "invalid-format"),
    (r#""1.""#, "USD", "invalid-format"),
    (r#"".5""#, "USD", "invalid-format"),
    (r#""""#, "USD", "invalid-format"),
    (r#""NaN""#, "USD", "invalid-format"),
    (r#""0x10""#, "USD", "invalid-format"),
    ("true", "USD", "invalid-format"),
    ("null", "USD", "invalid-format"),
    ("[1]", "USD", "invalid-format"),
    ("-1", "USD", "out-of-range"),
    (r#""-0.01""#, "USD", "out-of-range"),
    ("0", "USD", "out-of-range"),
    (r#""0.00""#, "USD", "out-of-range"),
    ("-0.0", "USD", "out-of-range"),
    (r#""10000000000000000000""#, "USD", "out-of-range"),
    ("1e300", "USD", "out-of-range"),
    (r#""0.00001""#, "CLF", "out-of-range"),
    ("100.505", "USD", "too-many-decimals"),
    (r#""0.5""#, "JPY", "too-many-decimals"),
    (r#""1.2345""#, "KWD", "too-many-decimals"),
];

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_is_exact_or_refused() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    for (amount, currency, expected) in EXACT {
        let paid = pay(&client, amount, currency).await?;
        assert_eq!((paid.status.as_u16(), &paid.body["amount"]), (201, &json!(expected)), "{amount}: {paid:?}");
        let read = client.get(&format!("{PAYMENTS}/{}", paid.body["id"].as_str().unwrap_or_default())).await?;
        assert_eq!(read.body, paid.body);
    }
    let before = ledger::outbox(&stack).await?.len();
    for (amount, currency, code) in REFUSED {
        let refused = pay(&client, amount, currency).await?;
        assert_problem(&refused, 422, "validation-failed");
        assert_eq!(violations(&refused), [("/amount".to_owned(), code.to_owned())], "{amount} {currency}");
    }
    let missing =
        send(&client, Method::POST, PAYMENTS, r#"{"user_id":"ann","currency":"USD","gateway":"g"}"#.to_owned());
    assert_eq!(violations(&missing.await?), [("/amount".to_owned(), "required".to_owned())]);
    assert_problem(&pay(&client, "1e999", "USD").await?, 400, "invalid-json");
    assert_problem(&pay(&client, "NaN", "USD").await?, 400, "invalid-json");
    assert_eq!(ledger::outbox(&stack).await?.len(), before, "a refused payment was told");
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_is_exact_or_refused_and_may_be_nothing() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let path = format!("{PRODUCTS}/p");
    create(&client, PRODUCTS, &product("p", 0)).await?;
    for (price, currency, expected) in EXACT {
        let body = format!(r#"{{"price":{price},"currency":"{currency}"}}"#);
        let changed = send(&client, Method::PATCH, &path, body).await?;
        assert_eq!((changed.status.as_u16(), &changed.body["price"]), (200, &json!(expected)), "{price}: {changed:?}");
    }
    let before = client.get(&path).await?;
    let nothing = ["0", r#""0.00""#, "-0.0"];
    for (price, currency, code) in REFUSED.into_iter().filter(|(price, ..)| !nothing.contains(price)) {
        let refused = [
            send(&client, Method::PATCH, &path, format!(r#"{{"price":{price},"currency":"{currency}"}}"#)).await?,
            send(
                &client,
                Method::PUT,
                &path,
                format!(r#"{{"sku":"s","name":"n","category":"c","price":{price},"currency":"{currency}"}}"#),
            )
            .await?,
        ];
        for answer in refused {
            assert_problem(&answer, 422, "validation-failed");
            assert_eq!(violations(&answer), [("/price".to_owned(), code.to_owned())], "{price} {currency}");
        }
    }
    assert_eq!(client.get(&path).await?.body, before.body);
    for (price, currency, expected) in [("0", "USD", "0.00"), ("-0.0", "KWD", "0.000"), (r#""0""#, "JPY", "0")] {
        let body = format!(r#"{{"price":{price},"currency":"{currency}"}}"#);
        assert_eq!(send(&client, Method::PATCH, &path, body).await?.body["price"], expected);
    }
    // Another currency has another scale, and its own rule for the price that stays.
    client.patch(&path, &json!({ "price": "1.234", "currency": "KWD" })).await?;
    let refused = client.patch(&path, &json!({ "currency": "USD" })).await?;
    assert_eq!(violations(&refused), [("/price".to_owned(), "too-many-decimals".to_owned())]);
    client.patch(&path, &json!({ "price": "1.20" })).await?;
    assert_eq!(client.patch(&path, &json!({ "currency": "USD" })).await?.body["price"], "1.20");
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_is_the_exact_sum_or_refused() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    let prices = [
        ("cent", "0.01", "USD"),
        ("free", "0", "USD"),
        ("gift", "0.00", "USD"),
        ("most", "9999999999999999999.99", "USD"),
        ("odd", "9007199254740993.11", "USD"),
        ("fils", "0.001", "KWD"),
        ("yen", "333", "JPY"),
    ];
    for (id, price, currency) in prices {
        let body = with(product(id, 1_000_000_000), "price", json!(price));
        create(&client, PRODUCTS, &with(body, "currency", json!(currency))).await?;
    }
    let cases: [(&[(&str, u32)], &str); 9] = [
        (&[("cent", 3)], "0.03"),
        (&[("cent", 1_000_000)], "10000.00"),
        (&[("odd", 3), ("cent", 7)], "27021597764222979.40"),
        (&[("odd", 1000), ("free", 5)], "9007199254740993110.00"),
        (&[("free", 3)], "0.00"),
        (&[("free", 3), ("gift", 1)], "0.00"),
        (&[("most", 1), ("free", 1)], "9999999999999999999.99"),
        (&[("fils", 1_000_000)], "1000.000"),
        (&[("yen", 3)], "999"),
    ];
    for (index, (items, total)) in cases.iter().enumerate() {
        let placed = create(&client, ORDERS, &order(&format!("o{index}"), "ann", items)).await?;
        assert_eq!(placed.body["total_amount"], *total, "{items:?}");
        assert_eq!(client.get(&format!("{ORDERS}/o{index}")).await?.body, placed.body, "answered and stored differ");
    }
    let too_large: [(&[(&str, u32)], &str); 3] = [
        (&[("most", 1), ("cent", 1)], "/items/1/product_id"),
        (&[("most", 2)], "/items/0/product_id"),
        (&[("most", 1_000_000)], "/items/0/product_id"),
    ];
    for (items, pointer) in too_large {
        let refused = client.post(ORDERS, &order("large", "ann", items)).await?;
        assert_problem(&refused, 422, "validation-failed");
        assert_eq!(violations(&refused), [(pointer.to_owned(), "out-of-range".to_owned())], "{items:?}");
    }
    for event in ledger::outbox(&stack).await?.iter().filter(|event| event.kind == shared::entity::Kind::Order) {
        let told: Value = serde_json::from_str(event.data.get())?;
        assert_eq!(told, client.get(&format!("{ORDERS}/{}", event.entity_id)).await?.body, "told and stored differ");
    }
    api.stop().await?;
    stack.discard().await
}
