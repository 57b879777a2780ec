//! Many different writes of the same few things at once: none fails, and everything adds up afterwards.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;
use harness::{
    client::{Answer, Client},
    ledger,
    stack::Stack,
    wait,
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use reqwest::Method;
use serde_json::json;
use sqlx::Connection;

use crate::shop::{
    ORDERS, PAYMENTS, PRODUCTS, create, create_users, order, patient_stack, payment_of, product, stock_of,
};

const PIECES: u32 = 1000;
const PRODUCT_COUNT: usize = 6;
const OPEN_ORDERS: usize = 40;
const WRITES: usize = 100;

/// A request, and what it may be refused with: the first hand wins, the others hear why not.
struct Write {
    method: Method,
    path: String,
    body: serde_json::Value,
    may_be: &'static [&'static str],
    /// How many pieces it puts to which product.
    moved: Option<(String, i64)>,
}

fn items(random: &mut StdRng) -> Vec<(String, u32)> {
    let mut all: Vec<_> = (0..PRODUCT_COUNT).map(|number| (format!("p{number}"), random.random_range(1..=3))).collect();
    all.shuffle(random);
    all.truncate(random.random_range(1..=4));
    all
}

fn order_of(id: &str, items: &[(String, u32)]) -> serde_json::Value {
    order(id, "ann", &items.iter().map(|(product, quantity)| (product.as_str(), *quantity)).collect::<Vec<_>>())
}

fn write(number: usize, random: &mut StdRng) -> Write {
    let open = random.random_range(0..OPEN_ORDERS);
    let (order_path, payment_path) = (format!("{ORDERS}/o{open}"), format!("{PAYMENTS}/o{open}"));
    let write = |method, path, body, may_be| Write { method, path, body, may_be, moved: None };
    match random.random_range(0..9) {
        0..=2 => write(Method::POST, ORDERS.to_owned(), order_of(&format!("n{number}"), &items(random)), &[]),
        3 => {
            let orders: Vec<_> = (0..3).map(|index| order_of(&format!("n{number}-{index}"), &items(random))).collect();
            write(Method::POST, format!("{ORDERS}/batch"), json!({ "items": orders }), &[])
        }
        4 => write(Method::PATCH, order_path, json!({ "status": "cancelled" }), &["not-found", "illegal-transition"]),
        5 => write(Method::DELETE, order_path, json!({}), &["not-found", "in-use", "not-deletable"]),
        6 => {
            let (product, delta) = (format!("p{}", random.random_range(0..PRODUCT_COUNT)), random.random_range(-5..=5));
            let moved = write(Method::POST, format!("{PRODUCTS}/{product}/stock"), json!({ "delta": delta }), &[]);
            Write { moved: Some((product, delta)), ..moved }
        }
        7 => {
            let body = payment_of(&format!("n{number}"), "ann", &format!("o{open}"));
            write(Method::POST, PAYMENTS.to_owned(), body, &["order-closed", "validation-failed"])
        }
        _ => {
            let step = json!({ "status": "processing" });
            write(Method::PATCH, payment_path, step, &["order-closed", "not-found"])
        }
    }
}

async fn send(client: &Client, write: &Write) -> anyhow::Result<Answer> {
    client.send(client.request(write.method.clone(), &write.path).json(&write.body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_mixed_writes_at_once_all_end_well() -> anyhow::Result<()> {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stack = patient_stack().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    for number in 0..PRODUCT_COUNT {
        create(&client, PRODUCTS, &product(&format!("p{number}"), PIECES)).await?;
    }
    for number in 0..OPEN_ORDERS {
        create(&client, ORDERS, &order_of(&format!("o{number}"), &items(&mut random))).await?;
        if number % 2 == 0 {
            create(&client, PAYMENTS, &payment_of(&format!("o{number}"), "ann", &format!("o{number}"))).await?;
        }
    }
    let writes: Vec<Write> = (0..WRITES).map(|number| write(number, &mut random)).collect();
    let answers = try_join_all(writes.iter().map(|write| send(&client, write))).await?;

    let mut expected: BTreeMap<String, i64> =
        (0..PRODUCT_COUNT).map(|number| (format!("p{number}"), i64::from(PIECES))).collect();
    let mut done = 0;
    for (write, answer) in writes.iter().zip(&answers) {
        let (method, path) = (&write.method, &write.path);
        assert!(answer.status.is_success() || write.may_be.contains(&answer.code()), "{method} {path}: {answer:?}");
        done += usize::from(answer.status.is_success());
        if let Some((product, delta)) = &write.moved {
            *expected.entry(product.clone()).or_default() += delta;
        }
    }
    println!("{done} of {WRITES} were done");
    assert_eq!(ledger::pieces(&stack).await?, expected);
    ledger::check_events(ledger::outbox(&stack).await?.iter())?;
    api.stop().await?;
    stack.discard().await
}

/// Whoever waits for a row that another transaction holds for a while is answered when that has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_held_for_a_while_is_waited_for() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    create(&client, PRODUCTS, &product("lamp", 10)).await?;
    let mut holder = stack.mysql().await?;
    let mut held = holder.begin().await?;
    sqlx::query("SELECT id FROM products FOR UPDATE").fetch_all(&mut *held).await?;
    let releasing = async {
        // Longer than a read may take (database.read_timeout_ms), less than a transaction.
        wait::pause(std::time::Duration::from_secs(3)).await;
        Ok(held.rollback().await?)
    };
    let body = order("o", "ann", &[("lamp", 1)]);
    let (placed, ()) = tokio::try_join!(client.post(ORDERS, &body), releasing)?;
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_eq!(stock_of(&client, "lamp").await?, Some(9));
    api.stop().await?;
    stack.discard().await
}
