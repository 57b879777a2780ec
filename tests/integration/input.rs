//! Bad input gets a precise answer and changes nothing. What is the same for every entity is in `conformance`.

use harness::{client::Answer, dump, stack::Stack};
use reqwest::Method;
use serde_json::{Value, json};

use crate::USERS;

/// The codes and pointers of what was wrong, sorted.
pub(crate) fn violations(answer: &Answer) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let errors = answer.body["errors"].as_array().into_iter().flatten();
    let mut found: Vec<_> = errors.map(|error| (text(&error["pointer"]), text(&error["code"]))).collect();
    found.sort();
    found
}

pub(crate) fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["type"], format!("/problems/{code}"));
    assert_eq!(answer.body["status"], status);
    assert!(answer.body["title"].is_string() && answer.body["instance"].is_string());
    assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_rule_is_told_and_nothing_is_written() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let good = json!({ "email": "ann@example.com", "name": "Ann" });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let cases = [
        (json!({}), vec![("/email", "required"), ("/name", "required")]),
        (with("emial", json!("x")), vec![("/emial", "unknown-field")]),
        (with("name", json!(7)), vec![("/name", "wrong-type")]),
        (with("name", json!("")), vec![("/name", "too-short")]),
        (with("name", json!("x".repeat(201))), vec![("/name", "too-long")]),
        (with("name", json!("a\u{0}b")), vec![("/name", "invalid-format")]),
        (with("email", json!("nobody")), vec![("/email", "invalid-format")]),
        (with("status", json!("gone")), vec![("/status", "not-allowed")]),
        (with("id", json!("a b")), vec![("/id", "invalid-format"), ("/id", "invalid-format")]),
        (with("id", json!("search")), vec![("/id", "invalid-format")]),
        (with("name", Value::Null), vec![("/name", "wrong-type")]),
        (json!([]), vec![("", "wrong-type")]),
        (
            json!({ "name": 1, "email": "x", "more/less~": 1 }),
            vec![("/email", "invalid-format"), ("/more~1less~0", "unknown-field"), ("/name", "wrong-type")],
        ),
    ];
    for (body, expected) in cases {
        let answer = client.post(USERS, &body).await?;
        client.check_problem(&answer, 422, "validation-failed").await?;
        assert_eq!(answer.violations(), expected, "{body}");
        assert!(!answer.body["errors"].to_string().contains("nobody"), "a value was repeated: {}", answer.body);
    }
    assert!(dump::rows(&stack).await?.is_empty());
    assert_eq!(stack.outbox_depth().await?, 0);

    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_nowhere_is_a_problem_too() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    for nowhere in ["/api/v1/nothing", "/nothing", "/problems/nothing"] {
        client.check_problem(&client.get(nowhere).await?, 404, "route-not-found").await?;
    }
    client.check_problem(&client.get("/ws").await?, 426, "upgrade-required").await?;
    client.check_problem(&client.post("/health", &json!({})).await?, 405, "method-not-allowed").await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_well_formed_request_id_is_kept() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    for (sent, kept) in [("order-7", true), ("has space", false), (&*"x".repeat(129), false)] {
        let answer = client.send(client.request(Method::GET, "/livez").header("X-Request-Id", sent)).await?;
        assert_eq!(answer.header("x-request-id") == sent, kept, "{sent}");
        assert!(!answer.header("x-request-id").is_empty());
    }
    api.stop().await?;
    stack.finish().await
}
