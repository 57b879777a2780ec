//! Sums over groups: both stores answer the same, and what cannot be summed is refused.

use anyhow::{Context, ensure};
use harness::{
    client::{Answer, Client},
    seed::seed,
    stack::Stack,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use shared::aggregation::MOST_GROUPS;
use worker::app::Role;

use crate::{create, query, user};

const USERS: usize = 15;
const PAYMENTS: usize = 120;
const AGGREGATIONS: usize = 150;
const CURRENCIES: [&str; 3] = ["USD", "JPY", "KWD"];
const GATEWAYS: [&str; 3] = ["a", "B", "b"];

/// Payments over a few months: what lies in the past is written so into the rows before it is announced.
async fn populate(stack: &Stack, client: &Client, random: &mut StdRng) -> anyhow::Result<()> {
    create(client, "users", (0..USERS).map(|number| user(&format!("u{number}"))).collect()).await?;
    let payments = (0..PAYMENTS).map(|number| {
        let currency = CURRENCIES.choose(random).copied().unwrap_or_default();
        let amount = match currency {
            "USD" => format!("{}.{:02}", random.random_range(0..50), random.random_range(1..100)),
            "JPY" => random.random_range(1..9_999_999_999_999_999_999_u64).to_string(),
            _ => format!("{}.{:03}", random.random_range(0..9), random.random_range(1..1_000)),
        };
        let mut payment = json!({ "id": format!("p{number}"), "user_id": format!("u{}", number % USERS),
            "amount": amount, "currency": currency, "gateway": GATEWAYS.choose(random) });
        if random.random() {
            payment["gateway_reference"] = format!("r{}", random.random_range(0..3)).into();
        }
        payment
    });
    let payments: Vec<Value> = payments.collect();
    for chunk in payments.chunks(100) {
        create(client, "payments", chunk.to_vec()).await?;
    }
    let mut mysql = stack.mysql().await?;
    for number in 0..PAYMENTS {
        let statement = "UPDATE payments SET created_at = created_at - INTERVAL ? MINUTE WHERE id = ?";
        let minutes = random.random_range(0..200_000);
        sqlx::query(statement).bind(minutes).bind(format!("p{number}")).execute(&mut mysql).await?;
        // This announces it with its new past.
        let step = ["processing", "cancelled"].choose(random);
        let changed = client.patch(&format!("/api/v1/payments/p{number}"), &json!({ "status": step })).await?;
        ensure!(changed.status == 200, "{changed:?}");
    }
    Ok(())
}

/// One that is allowed.
fn aggregation(random: &mut StdRng) -> Value {
    let fields = ["currency", "status", "gateway", "gateway_reference", "user_id", "version", "order_id"];
    let periods = ["day", "week", "month"];
    let mut groups = Vec::new();
    for _ in 0..random.random_range(0..=2) {
        let group = match random.random_range(0..3) {
            0 => json!({ "field": "created_at", "by": periods.choose(random) }),
            _ => json!({ "field": fields.choose(random) }),
        };
        if !groups.iter().any(|other: &Value| other["field"] == group["field"]) {
            groups.push(group);
        }
    }
    let mut condition = json!({ "field": "amount", "op": "gte", "value": random.random_range(0..30).to_string() });
    if !groups.iter().any(|group| group["field"] == "currency") {
        let currency = CURRENCIES.choose(random);
        condition = json!({ "all": [condition, { "field": "currency", "op": "eq", "value": currency }] });
    }
    let measures = [
        json!({ "function": "count" }),
        json!({ "function": "sum", "field": "amount" }),
        json!({ "function": "avg", "field": "amount" }),
        json!({ "function": "min", "field": "amount" }),
        json!({ "function": "max", "field": "amount" }),
        json!({ "function": "sum", "field": "version" }),
        json!({ "function": "avg", "field": "version" }),
        json!({ "function": "max", "field": "version" }),
        json!({ "function": "min", "field": "created_at" }),
        json!({ "function": "max", "field": "updated_at" }),
    ];
    let count = random.random_range(1..=4);
    let measures: Vec<_> = measures.sample(random, count).cloned().collect();
    let mut asked = json!({ "entity": "payment", "where": condition, "aggregate": measures });
    if !groups.is_empty() {
        asked["group_by"] = groups.into();
    }
    asked
}

async fn both(client: &Client, asked: &Value) -> anyhow::Result<(Answer, Answer)> {
    let of = |repository: &str| {
        let mut asked = asked.clone();
        asked["repository"] = repository.into();
        async move { query(client, &asked).await }
    };
    Ok((of("mysql").await?, of("mongodb").await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_stores_answer_the_same_sums() -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed("aggregations"));
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    populate(&stack, &client, &mut random).await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    stack.settled().await?;

    let mut rows = 0;
    for _ in 0..AGGREGATIONS {
        let asked = aggregation(&mut random);
        let (mysql, mongodb) = both(&client, &asked).await?;
        assert_eq!((mysql.status.as_u16(), mongodb.status.as_u16()), (200, 200), "{asked}: {mysql:?} {mongodb:?}");
        assert_eq!(mysql.body["groups"], mongodb.body["groups"], "{asked}");
        rows += mysql.body["groups"].as_array().map_or(0, Vec::len);
    }
    println!("{AGGREGATIONS} aggregations with {rows} groups");
    ensure!(rows > AGGREGATIONS, "hardly any group");
    sums_are_true(&stack, &client).await?;

    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// Counted by hand, from what the list shows.
async fn sums_are_true(stack: &Stack, client: &Client) -> anyhow::Result<()> {
    let mut mysql = stack.mysql().await?;
    let rows: Vec<(String, rust_decimal::Decimal)> =
        sqlx::query_as("SELECT status, amount FROM payments WHERE currency = 'USD'").fetch_all(&mut mysql).await?;
    let asked = json!({ "entity": "payment", "group_by": [{ "field": "status" }],
        "where": { "field": "currency", "op": "eq", "value": "USD" },
        "aggregate": [{ "function": "count" }, { "function": "sum", "field": "amount" },
                      { "function": "avg", "field": "amount" }] });
    let (answer, _) = both(client, &asked).await?;
    for group in answer.body["groups"].as_array().context("no groups")? {
        let of = rows.iter().filter(|(status, _)| group["key"]["status"] == status.as_str());
        let amounts: Vec<_> = of.map(|(_, amount)| *amount).collect();
        let sum: rust_decimal::Decimal = amounts.iter().sum();
        let average = (sum / rust_decimal::Decimal::from(amounts.len())).round_dp(8).normalize().to_string();
        assert_eq!(group["values"]["count"], amounts.len(), "{group}");
        assert_eq!(group["values"]["sum_amount"], format!("{sum:.2}"), "{group}");
        assert_eq!(group["values"]["avg_amount"], average, "{group}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_summed_is_refused_with_its_place() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let sum = json!([{ "function": "sum", "field": "amount" }]);
    let field = |field: &str| json!([{ "field": field }]);
    for (asked, pointers) in [
        // Amounts of several currencies, however they are asked for.
        (json!({ "aggregate": sum }), vec!["/aggregate/0"]),
        (json!({ "aggregate": sum, "group_by": field("status") }), vec!["/aggregate/0"]),
        (
            json!({ "aggregate": sum, "where": { "any": [{ "field": "currency", "op": "eq", "value": "USD" }] } }),
            vec!["/aggregate/0"],
        ),
        (
            json!({ "aggregate": sum, "where": { "field": "currency", "op": "in", "value": ["USD", "EUR"] } }),
            vec!["/aggregate/0"],
        ),
        (json!({ "aggregate": [{ "function": "count", "field": "amount" }] }), vec!["/aggregate/0"]),
        (json!({ "aggregate": [{ "function": "sum" }] }), vec!["/aggregate/0/field"]),
        (json!({ "aggregate": [{ "function": "max", "field": "gateway" }] }), vec!["/aggregate/0"]),
        (json!({ "aggregate": [{ "function": "avg", "field": "created_at" }] }), vec!["/aggregate/0"]),
        (json!({ "aggregate": [{ "function": "count" }], "group_by": field("amount") }), vec!["/group_by/0"]),
        (json!({ "aggregate": [{ "function": "count" }], "group_by": field("created_at") }), vec!["/group_by/0"]),
        (
            json!({ "aggregate": [{ "function": "count" }], "group_by": [{ "field": "status", "by": "day" }] }),
            vec!["/group_by/0"],
        ),
        (
            json!({ "aggregate": [{ "function": "count" }, { "function": "sum", "field": "none" }],
                    "group_by": field("nothing"), "limit": 3, "sort": "amount", "count": true,
                    "where": { "field": "amount", "op": "like", "value": "1" } }),
            vec!["/sort", "/limit", "/count", "/group_by/0/field", "/aggregate/1/field", "/where/op"],
        ),
        (json!({ "group_by": field("status") }), vec!["/group_by"]),
    ] {
        for repository in ["mysql", "mongodb"] {
            let mut asked = asked.clone();
            asked["repository"] = repository.into();
            asked["entity"] = "payment".into();
            let refused = query(&client, &asked).await?;
            assert_eq!((refused.status.as_u16(), refused.code()), (422, "validation-failed"), "{asked}: {refused:?}");
            assert_eq!(crate::pointers(&refused), pointers, "{asked}");
        }
    }
    api.stop().await?;
    stack.finish().await
}

/// More groups than are answered, on both stores; and a sum over many rows that takes longer than it may.
#[tokio::test(flavor = "multi_thread")]
async fn groups_and_time_have_an_end() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    for chunk in 0..=MOST_GROUPS as usize / 100 {
        let users = (0..100).map(|number| user(&format!("u{}", chunk * 100 + number)));
        create(&client, "users", users.collect()).await?;
    }
    let worker = stack.start_worker(&Role::ALL).await?;
    stack.settled().await?;
    worker.stop().await?;
    let asked = json!({ "entity": "user", "aggregate": [{ "function": "count" }], "group_by": [{ "field": "id" }],
                        "repository": "mongodb" });
    let (mysql, mongodb) = both(&client, &asked).await?;
    assert_eq!((mongodb.status.as_u16(), &mongodb.body["has_more"]), (200, &json!(true)), "{mongodb:?}");
    assert_eq!(mongodb.body["groups"].as_array().map(Vec::len), Some(MOST_GROUPS as usize));
    assert_eq!((&mysql.body["has_more"], &mysql.body["groups"]), (&json!(true), &mongodb.body["groups"]));
    api.stop().await?;

    let mut connection = stack.mysql().await?;
    let more = "INSERT INTO users (id, email, name, status, version, created_at, updated_at) \
                WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 60000) \
                SELECT CONCAT('x', number), CONCAT(number, '@example.com'), CONCAT('Name ', number), 'active', 1, \
                NOW(3), NOW(3) FROM numbers";
    sqlx::query("SET SESSION cte_max_recursion_depth = 60000").execute(&mut connection).await?;
    sqlx::query(more).execute(&mut connection).await?;
    // Only now: so short a limit is too short for anything else on a loaded machine.
    let mut impatient = Stack { config: stack.config.clone() };
    impatient.config.database.read_timeout_ms = 1;
    let (api, client) = impatient.start_api().await?;
    let slow = json!({ "field": "name", "op": "contains", "value": "nowhere" });
    let asked =
        json!({ "entity": "user", "where": slow, "aggregate": [{ "function": "count" }], "repository": "mysql" });
    let refused = query(&client, &asked).await?;
    assert_eq!((refused.status.as_u16(), refused.code()), (422, "query-too-expensive"), "{refused:?}");
    let asked = json!({ "entity": "user", "where": slow, "repository": "mysql", "count": true });
    assert_eq!(query(&client, &asked).await?.code(), "query-too-expensive");
    // Who asks for one by its id is never told that it was too much.
    assert_ne!(client.get("/api/v1/users/x60000").await?.code(), "query-too-expensive");

    api.stop().await?;
    stack.finish().await
}
