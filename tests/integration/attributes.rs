//! Free attributes of products: what every store can keep arrives unchanged, anything else is refused with its place.

use harness::{
    client::{Answer, Client},
    dump,
    stack::Stack,
};
use reqwest::Method;
use serde_json::{Value, json};
use worker::app::Role;

use crate::{
    input::{assert_problem, violations},
    shop::{PRODUCTS, create, product, with},
};

/// Byte for byte: what a JSON library makes of a number is another question.
async fn post(client: &Client, id: &str, attributes: &str) -> anyhow::Result<Answer> {
    let body = format!(
        r#"{{"id":"{id}","sku":"{id}","name":"n","category":"c","price":1,"currency":"EUR","attributes":{attributes}}}"#
    );
    client.send(client.request(Method::POST, PRODUCTS).header("Content-Type", "application/json").body(body)).await
}

/// So many levels, the attributes themselves being the first.
fn nested(levels: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused_with_its_place() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let long = "x".repeat(65);
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(8 * 1024 - 7));
    let of_key = |key: &str| format!(r#"{{"a":{{"{key}":1}}}}"#);
    let of_value = |value: &str| format!(r#"{{"a":[0,{{"b":{value}}}]}}"#);
    for (attributes, pointer, code) in [
        (large, "/attributes".to_owned(), "too-long"),
        (nested(6), "/attributes/a/a/a/a/a".to_owned(), "too-deep"),
        (r#"{"a":[[[[[]]]]]}"#.to_owned(), "/attributes/a/0/0/0/0".to_owned(), "too-deep"),
        (of_key(""), "/attributes/a/".to_owned(), "invalid-key"),
        (of_key("$set"), "/attributes/a/$set".to_owned(), "invalid-key"),
        (of_key("b.c"), "/attributes/a/b.c".to_owned(), "invalid-key"),
        (of_key(r"b\u0000"), "/attributes/a/b\0".to_owned(), "invalid-key"),
        (of_key(&long), format!("/attributes/a/{long}"), "invalid-key"),
        (of_value("9007199254740993"), "/attributes/a/1/b".to_owned(), "out-of-range"),
        (of_value("-9007199254740993"), "/attributes/a/1/b".to_owned(), "out-of-range"),
        (of_value("18446744073709551615"), "/attributes/a/1/b".to_owned(), "out-of-range"),
        (of_value("18446744073709551617"), "/attributes/a/1/b".to_owned(), "out-of-range"),
        (of_value("-123456789012345678901"), "/attributes/a/1/b".to_owned(), "out-of-range"),
        (of_value(r#""a\u0000b""#), "/attributes/a/1/b".to_owned(), "invalid-format"),
        ("[]".to_owned(), "/attributes".to_owned(), "wrong-type"),
        (r#""text""#.to_owned(), "/attributes".to_owned(), "wrong-type"),
    ] {
        let refused = post(&client, "p", &attributes).await?;
        assert_problem(&refused, 422, "validation-failed");
        assert_eq!(violations(&refused), [(pointer, code.to_owned())], "{attributes}");
    }
    // All of them at once.
    let refused = post(&client, "p", r#"{"$a":9007199254740994,"b.c":{"d":"\u0000"}}"#).await?;
    assert_eq!(violations(&refused).len(), 4, "{refused:?}");
    // What is no number at all is no JSON.
    assert_problem(&post(&client, "p", &of_value("1e999")).await?, 400, "invalid-json");
    assert_problem(&post(&client, "p", &of_value("NaN")).await?, 400, "invalid-json");
    assert_eq!(stack.outbox_depth().await?, 0);
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_arrives_unchanged() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    let full = format!(r#"{{"a":"{}"}}"#, "x".repeat(8 * 1024 - 8));
    let key = "ä".repeat(64);
    let cases = [
        full,
        nested(5),
        r#"{"a":[[[[0]]]]}"#.to_owned(),
        format!(r#"{{"{key}":1}}"#),
        r#"{"z":1,"a":{"y":null,"b":[true,false,null,"",{}]},"m":[]}"#.to_owned(),
        r#"{"big":9007199254740992,"small":-9007199254740992,"none":0}"#.to_owned(),
        r#"{"f":[0.1,0.30000000000000004,1.0,-0.0,5e-324,2.2250738585072014e-308,123456.789e-7]}"#.to_owned(),
        r#"{"f":[0.9999999999999999,1.1125369292536007e-308,7.2057594037927933e-1,2.71828182845904509]}"#.to_owned(),
        r#"{"t":"\u0001\ud83d\ude00\"\\/ \u2028","a/b~c":"$set.x","date":"2026-01-31T12:00:00.000Z"}"#.to_owned(),
        r#"{"_id":1,"__proto__":{"id":"x"},"price":"1.00"}"#.to_owned(),
    ];
    for (index, attributes) in cases.iter().enumerate() {
        let created = post(&client, &format!("p{index}"), attributes).await?;
        assert_eq!(created.status, 201, "{attributes}: {created:?}");
    }
    stack.settled().await?;
    let documents = dump::documents(&stack, "products").await?;
    let records = dump::topic(&stack.config.kafka).await?;
    for (index, attributes) in cases.iter().enumerate() {
        let id = format!("p{index}");
        let sent: Value = serde_json::from_str(attributes)?;
        // As text, so that the order of members and the form of numbers count too.
        let read =
            client.send(client.request(Method::GET, &format!("{PRODUCTS}/{id}")).header("Cache-Control", "no-cache"));
        assert_eq!(read.await?.body["attributes"].to_string(), sent.to_string());
        let told = records.iter().find(|record| record.event.entity_id.as_str() == id);
        let told = told.map(|record| serde_json::from_str::<Value>(record.event.data.get())).transpose()?;
        assert_eq!(told.unwrap_or_default()["attributes"].to_string(), sent.to_string());
        assert_eq!(serde_json::to_string(documents[&id].get_document("attributes")?)?, sent.to_string());
    }
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_is_merged_and_checked_as_a_whole() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let path = format!("{PRODUCTS}/p");
    let body = with(product("p", 1), "description", json!("old"));
    create(&client, PRODUCTS, &with(body, "attributes", json!({ "a": { "b": 1, "c": 2 }, "d": [1] }))).await?;
    let changes = json!({ "attributes": { "a": { "b": null, "e": 3 }, "d": null, "f": [null] } });
    assert_eq!(
        client.patch(&path, &changes).await?.body["attributes"],
        json!({ "a": { "c": 2, "e": 3 }, "f": [null] })
    );
    let cleared = client.patch(&path, &json!({ "description": null })).await?;
    assert_eq!((cleared.status.as_u16(), cleared.body.get("description")), (200, None));

    // Two halves that fit, and do not together.
    let half = "x".repeat(5000);
    assert_eq!(client.patch(&path, &json!({ "attributes": { "x": half } })).await?.status, 200);
    let refused = client.patch(&path, &json!({ "attributes": { "y": half } })).await?;
    assert_problem(&refused, 422, "validation-failed");
    assert_eq!(violations(&refused), [("/attributes".to_owned(), "too-long".to_owned())]);
    let refused = client.patch(&path, &json!({ "attributes": { "$set": 1 } })).await?;
    assert_eq!(violations(&refused), [("/attributes/$set".to_owned(), "invalid-key".to_owned())]);
    let replaced = client.put(&path, &product("p", 1)).await?;
    assert_eq!(replaced.body["attributes"], json!({}), "a replacement without them takes them away");
    api.stop().await?;
    stack.discard().await
}
