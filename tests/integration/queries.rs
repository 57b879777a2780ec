//! `POST /repositories/query`: limits, order, paging, and which store answered.

use anyhow::Context;
use harness::{client::Client, process::free_port, stack::Stack};
use serde_json::{Value, json};
use worker::app::Role;

use crate::{create, pointers, query, user};

fn nested(depth: usize) -> Value {
    let leaf = json!({ "field": "name", "op": "eq", "value": "x" });
    (1..depth).fold(leaf, |inner, _| json!({ "not": inner }))
}

fn any_of(terms: usize) -> Value {
    json!({ "any": vec![json!({ "field": "name", "op": "eq", "value": "x" }); terms] })
}

fn one_of(values: usize) -> Value {
    json!({ "field": "name", "op": "in", "value": vec!["x"; values] })
}

async fn refused_at(client: &Client, entity: &str, condition: &Value) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for repository in ["mysql", "mongodb"] {
        let asked = json!({ "repository": repository, "entity": entity, "where": condition });
        let refused = query(client, &asked).await?;
        assert_eq!((refused.status.as_u16(), refused.code()), (422, "validation-failed"), "{condition}: {refused:?}");
        found = pointers(&refused).into_iter().map(str::to_owned).collect();
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_has_limits_and_each_violation_a_place() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    for fits in [nested(8), any_of(64), one_of(100), json!({ "all": [] }), json!({ "any": [] })] {
        let answer = query(&client, &json!({ "repository": "mysql", "entity": "user", "where": fits })).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let many = format!("/where{}", "/not".repeat(8));
    assert_eq!(refused_at(&client, "user", &nested(9)).await?, [many]);
    assert_eq!(refused_at(&client, "user", &any_of(65)).await?, ["/where"]);
    assert_eq!(refused_at(&client, "user", &one_of(101)).await?, ["/where/value"]);

    let wrong = json!({ "all": [
        { "field": "age", "op": "eq", "value": 1 },
        { "field": "name", "op": "like", "value": "x" },
        { "field": "version", "op": "eq", "value": "1" },
        { "field": "version", "op": "gt", "value": 1.5 },
        { "field": "created_at", "op": "lt", "value": "yesterday" },
        { "field": "status", "op": "eq", "value": "asleep" },
        { "field": "name", "op": "eq", "value": null },
        { "field": "name", "op": "in", "value": "x" },
        { "field": "name", "op": "in", "value": ["x", 1] },
        { "field": "name", "op": "is_null", "value": "no" },
        { "field": "version", "op": "prefix", "value": "1" },
        { "field": "name", "op": "contains", "value": "" },
        { "any": { "field": "name" } },
        { "not": [] },
        { "field": "name", "op": "eq", "value": "x", "and/or": 1 },
        { "field": "name" },
        "name = 'x'",
        { "all": [], "any": [] },
        { "field": "name", "op": "prefix", "value": "\u{0}" },
    ] });
    let expected: Vec<String> = [
        "0/field",
        "1/op",
        "2/value",
        "3/value",
        "4/value",
        "5/value",
        "6/value",
        "7/value",
        "8/value",
        "9/value",
        "10/op",
        "11/value",
        "12/any",
        "13/not",
        "14/and~1or",
        "15/op",
        "15/value",
        "16",
        "17/all",
        "17/any",
        "17/field",
        "17/op",
        "17/value",
        "18/value",
    ]
    .map(|at| format!("/where/all/{at}"))
    .into();
    assert_eq!(refused_at(&client, "user", &wrong).await?, expected);
    let amounts = json!({ "any": [
        { "field": "price", "op": "eq", "value": 1.5 }, { "field": "price", "op": "eq", "value": "1e3" },
        { "field": "price", "op": "eq", "value": "99999999999999999999999999999999" },
    ] });
    let expected = [0, 1, 2].map(|at| format!("/where/any/{at}/value"));
    assert_eq!(refused_at(&client, "product", &amounts).await?, expected);
    nonsense_is_refused_in_short(&client).await?;
    api.stop().await?;
    stack.finish().await
}

/// A body that is full of violations gets an answer of a bounded length.
async fn nonsense_is_refused_in_short(client: &Client) -> anyhow::Result<()> {
    let row = |item: Value| json!({ "all": vec![item; 65] });
    for nonsense in [
        row(row(json!(1))),
        row(row(json!({}))),
        row(row(json!({ "all": [] }))),
        json!({ "any": vec![row(nested(9)); 20] }),
    ] {
        let refused = refused_at(client, "user", &nonsense).await?;
        assert!(refused.len() <= 200, "{} violations", refused.len());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_request_itself_has_limits() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    for (asked, expected) in [
        (json!({ "limit": 0 }), vec!["/limit"]),
        (json!({ "limit": 101, "offset": 10_001 }), vec!["/limit", "/offset"]),
        (json!({ "sort": "status" }), vec!["/sort"]),
        (json!({ "sort": "-none", "offset": 1, "after": "x" }), vec!["/after", "/sort"]),
        (
            json!({ "group_by": [{ "field": "status" }], "where": { "field": "x", "op": "eq", "value": 1 } }),
            vec!["/group_by", "/where/field"],
        ),
        (json!({ "unknown": 1 }), vec!["/unknown"]),
        (json!({ "repository": "cached" }), vec!["/repository"]),
        (json!({ "entity": "invoice" }), vec!["/entity"]),
    ] {
        let mut full = json!({ "repository": "mysql", "entity": "user" });
        for (name, value) in asked.as_object().context("an object")? {
            full[name] = value.clone();
        }
        let refused = query(&client, &full).await?;
        assert_eq!(refused.status, 422, "{full}: {refused:?}");
        assert_eq!(pointers(&refused), expected, "{full}");
    }
    let refused = query(&client, &json!({ "repository": "mysql", "entity": "user", "after": "nonsense" })).await?;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "invalid-cursor"));
    api.stop().await?;
    stack.finish().await
}

/// Names that are equal, that differ in case only, and that begin with others.
const NAMES: [&str; 6] = ["Ann", "ann", "Ann ", "Änn", "Ann", "𝄞"];

async fn page_through(client: &Client, asked: &Value, cursor: bool) -> anyhow::Result<Vec<Value>> {
    let (mut asked, mut found) = (asked.clone(), Vec::new());
    loop {
        let page = query(client, &asked).await?;
        assert_eq!(page.status, 200, "{asked}: {page:?}");
        found.extend(page.body["items"].as_array().cloned().context("no items")?);
        assert_eq!(page.body["has_more"], !page.body["next"].is_null());
        match page.body["next"].as_str() {
            None => return Ok(found),
            Some(next) if cursor => asked["after"] = next.into(),
            Some(_) => asked["offset"] = found.len().into(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_stores_sort_count_and_page_alike() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    let users = (0..30).map(|number| {
        let mut user = user(&format!("u{number}"));
        user["name"] = NAMES[number % NAMES.len()].into();
        user
    });
    let users = create(&client, "users", users.collect()).await?;
    stack.settled().await?;
    let condition = json!({ "field": "id", "op": "ne", "value": "u7" });
    for (sort, key) in [("name", "name"), ("-name", "name"), ("created_at", "created_at"), ("-id", "id")] {
        let mut expected: Vec<Value> = users.iter().filter(|user| user["id"] != "u7").cloned().collect();
        let text = |user: &Value, name: &str| user[name].as_str().unwrap_or_default().to_owned();
        expected.sort_by_key(|user| (text(user, key), text(user, "id")));
        if sort.starts_with('-') {
            expected.reverse();
        }
        for repository in ["mysql", "mongodb"] {
            let asked =
                json!({ "repository": repository, "entity": "user", "where": condition, "sort": sort, "limit": 4 });
            assert_eq!(page_through(&client, &asked, true).await?, expected, "{asked} by cursor");
            assert_eq!(page_through(&client, &asked, false).await?, expected, "{asked} by offset");
        }
        if key != "name" {
            continue;
        }
        // The same by the list's own route.
        let mut listed = Vec::new();
        let mut path = format!("/api/v1/users?sort={sort}&limit=4");
        loop {
            let page = client.get(&path).await?;
            listed.extend(page.body["items"].as_array().cloned().context("no items")?);
            match page.body["next"].as_str() {
                Some(next) => path = format!("/api/v1/users?sort={sort}&limit=4&after={next}"),
                None => break,
            }
        }
        listed.retain(|user| user["id"] != "u7");
        assert_eq!(listed, expected, "the list by {sort}");
    }
    stores_are_named(&client, &condition).await?;
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

async fn stores_are_named(client: &Client, condition: &Value) -> anyhow::Result<()> {
    let asked = |repository: &str| json!({ "repository": repository, "entity": "user", "where": condition, "count": true, "limit": 1 });
    let mysql = query(client, &asked("mysql")).await?;
    let mongodb = query(client, &asked("mongodb")).await?;
    for (answer, repository) in [(&mysql, "mysql"), (&mongodb, "mongodb")] {
        assert_eq!((&answer.body["repository"], &answer.body["entity"]), (&json!(repository), &json!("user")));
        assert_eq!((&answer.body["total"], &answer.body["has_more"]), (&json!(29), &json!(true)), "{answer:?}");
        assert_eq!(answer.body["lag_ms"], 0, "{answer:?}");
    }
    // A cursor is of its list alone.
    let mut other = json!({ "repository": "mysql", "entity": "user", "limit": 1 });
    other["after"] = mysql.body["next"].clone();
    assert_eq!(query(client, &other).await?.code(), "invalid-cursor");
    Ok(())
}

/// MongoDB away: what is asked of it is 503, all else goes on.
#[tokio::test(flavor = "multi_thread")]
async fn without_mongodb_only_its_queries_fail() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    let there = stack.config.mongodb.clone();
    stack.config.mongodb.uri = format!("mongodb://127.0.0.1:{}", free_port()?).into();
    stack.config.mongodb.timeout_ms = 300;
    let (api, client) = stack.start_api().await?;
    create(&client, "users", vec![user("ann")]).await?;
    let find = json!({ "repository": "mongodb", "entity": "user" });
    let mut sum = find.clone();
    sum["aggregate"] = json!([{ "function": "count" }]);
    for asked in [find, sum] {
        let refused = query(&client, &asked).await?;
        assert_eq!((refused.status.as_u16(), refused.code()), (503, "read-model-unavailable"), "{refused:?}");
    }
    let refused = client.get("/api/v1/products/search?q=shoe").await?;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "read-model-unavailable"), "{refused:?}");
    let answer = query(&client, &json!({ "repository": "mysql", "entity": "user" })).await?;
    assert_eq!(answer.body["items"][0]["id"], "ann");
    let report = client.get("/api/v1/repositories/mongodb").await?;
    assert_eq!((report.status.as_u16(), &report.body["healthy"]), (200, &json!(false)), "{report:?}");
    api.stop().await?;
    stack.config.mongodb = there;
    stack.discard().await
}
