//! The addresses of an entity: which methods each knows, and what is no request at all.

use harness::{
    client::Client,
    sample::{self, Sample, with},
    stack::Stack,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::of_each_entity;

of_each_entity!(each_address_says_what_it_takes);

async fn each_address_says_what_it_takes<E: Sample>() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    methods::<E>(&client).await?;
    sample::prepare::<E>(&client).await?;
    let created = sample::create::<E>(&client, 1).await?;
    let depth = stack.outbox_depth().await?;
    bodies::<E>(&client).await?;
    assert_eq!(client.get(&E::path(1)).await?.body, created.body);
    assert_eq!(stack.outbox_depth().await?, depth, "nothing was written");
    api.stop().await?;
    stack.discard().await
}

async fn methods<E: Sample>(client: &Client) -> anyhow::Result<()> {
    for (path, allow) in [
        (E::PATH.to_owned(), "GET, HEAD, OPTIONS, POST"),
        (E::path(1), "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        (format!("{}/history", E::path(1)), "GET, HEAD, OPTIONS"),
        (format!("{}/batch", E::PATH), "OPTIONS, POST"),
    ] {
        let asked = client.ask(Method::OPTIONS, &path, &[], &Value::Null).await?;
        assert_eq!((asked.status.as_u16(), asked.header("allow"), &asked.body), (204, allow, &Value::Null), "{path}");
        let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        for method in methods.into_iter().filter(|method| !allow.contains(method.as_str())) {
            let refused = client.ask(method.clone(), &path, &[], &json!({})).await?;
            client.check_problem(&refused, 405, "method-not-allowed").await?;
            assert_eq!(refused.header("allow"), allow, "{method} {path}");
        }
    }
    for nowhere in [format!("{}/nothing", E::path(1)), format!("{}s", E::PATH)] {
        client.check_problem(&client.get(&nowhere).await?, 404, "route-not-found").await?;
        let asked = client.ask(Method::OPTIONS, &nowhere, &[], &Value::Null).await?;
        client.check_problem(&asked, 404, "route-not-found").await?;
    }
    Ok(())
}

async fn bodies<E: Sample>(client: &Client) -> anyhow::Result<()> {
    let (path, batch) = (E::path(1), format!("{}/batch", E::PATH));
    for (method, path, good) in [
        (Method::POST, E::PATH, E::creation(2)),
        (Method::POST, &batch, json!({ "items": [E::creation(2)] })),
        (Method::PUT, &path, E::replacement(1)),
        (Method::PATCH, &path, E::change()),
    ] {
        broken_bodies(client, &method, path, &good).await?;
    }
    Ok(())
}

async fn broken_bodies(client: &Client, method: &Method, path: &str, good: &Value) -> anyhow::Result<()> {
    let json = "application/json";
    let large =
        with(good.clone(), "surprise", json!("x".repeat(if path.ends_with("/batch") { 1 << 20 } else { 1 << 18 })))
            .to_string();
    let mut cases = vec![
        (json, r#"{"id":"#.to_owned(), 400, "invalid-json"),
        (json, String::new(), 400, "invalid-json"),
        (json, large, 413, "body-too-large"),
        ("text/plain", good.to_string(), 415, "unsupported-media-type"),
        ("", good.to_string(), 415, "unsupported-media-type"),
        (json, "[]".to_owned(), 422, "validation-failed"),
        (json, "null".to_owned(), 422, "validation-failed"),
        (json, with(good.clone(), "surprise", json!(1)).to_string(), 422, "validation-failed"),
    ];
    let other = if method == Method::PATCH { "application/json-patch+json" } else { "application/merge-patch+json" };
    cases.push((other, good.to_string(), 415, "unsupported-media-type"));
    for (content_type, body, status, code) in cases {
        let mut request = client.request(method.clone(), path).body(body);
        if !content_type.is_empty() {
            request = request.header("Content-Type", content_type);
        }
        let refused = client.send(request).await?;
        client.check_problem(&refused, status, code).await?;
        assert_eq!(refused.body["request_id"], refused.header("x-request-id"));
        assert_eq!(refused.body["instance"], path);
        // Where the body is not read to its end, nothing more is heard on this connection.
        assert_eq!(refused.header("connection") == "close", status == 413);
    }
    let unknown = client.ask(method.clone(), path, &[], &with(good.clone(), "more/less~", json!(1))).await?;
    assert_eq!(unknown.violations(), [("/more~1less~0", "unknown-field")]);
    Ok(())
}
