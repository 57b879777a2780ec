//! Random amounts on their whole way: HTTP, MySQL, Kafka, MongoDB. Every digit arrives.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use harness::{
    client::{Answer, Client},
    dump,
    stack::Stack,
};
use mongodb::bson::{Bson, Document};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use worker::app::Role;

use crate::shop::{ORDERS, PAYMENTS, PRODUCTS, create, create_users, order};

const CURRENCIES: [(&str, usize); 6] = [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("CLF", 4)];
const AMOUNTS: usize = 150;
const ORDERED: usize = 20;

/// An amount, in the form in which it is sent and in the one in which it must come out.
#[derive(Clone, Debug)]
struct Sent {
    json: String,
    currency: &'static str,
    canonical: String,
}

fn sent(random: &mut StdRng) -> Sent {
    let (currency, decimals) = CURRENCIES[random.random_range(0..CURRENCIES.len())];
    let mut digits = |count: usize| -> String { (0..count).map(|_| random.random_range('0'..='9')).collect() };
    let mut integer = digits(18);
    let fraction = digits(decimals);
    integer.truncate(random.random_range(0..=18));
    // So that it is more than nothing, and has no leading zero.
    integer.insert(0, random.random_range('1'..='9'));
    let integer = if random.random_ratio(1, 4) { "0".to_owned() } else { integer };
    let mut canonical = if decimals == 0 { integer } else { format!("{integer}.{fraction}") };
    if canonical.bytes().all(|byte| b"0.".contains(&byte)) {
        canonical.replace_range(..1, "1");
    }
    let form = match random.random_range(0..3) {
        0 if decimals > 0 => canonical.trim_end_matches('0').trim_end_matches('.').to_owned(),
        // A nought that says nothing, where the database has room for it.
        1 if (1..4).contains(&decimals) => format!("{canonical}0"),
        _ => canonical.clone(),
    };
    let significant = form.bytes().filter(u8::is_ascii_digit).count();
    let json = if significant <= 15 && random.random() { form } else { format!("\"{form}\"") };
    Sent { json, currency, canonical }
}

async fn post(client: &Client, path: &str, body: String) -> anyhow::Result<Answer> {
    client.send(client.request(Method::POST, path).header("Content-Type", "application/json").body(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_digit_arrives_everywhere() -> anyhow::Result<()> {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    create_users(&client, &["ann"]).await?;
    let amounts: Vec<Sent> = (0..AMOUNTS).map(|_| sent(&mut random)).collect();

    let created = stream::iter(amounts.iter().enumerate()).map(async |(index, sent)| {
        let Sent { json, currency, canonical } = sent;
        let product = format!(
            r#"{{"id":"a{index}","sku":"{index}","name":"n","category":"c","price":{json},"currency":"{currency}","stock":1000}}"#
        );
        let payment =
            format!(r#"{{"id":"a{index}","user_id":"ann","amount":{json},"currency":"{currency}","gateway":"g"}}"#);
        for (path, body, field) in [(PRODUCTS, product, "price"), (PAYMENTS, payment, "amount")] {
            let answer = post(&client, path, body).await?;
            assert_eq!((answer.status.as_u16(), &answer.body[field]), (201, &json!(canonical)), "{sent:?}: {answer:?}");
        }
        anyhow::Ok(())
    });
    created.buffer_unordered(8).try_collect::<Vec<()>>().await?;
    let totals = place_orders(&client, &amounts, &mut random).await?;

    check_rows(&stack, &amounts).await?;
    stack.settled().await?;
    let expected = expected(&amounts, &totals);
    check_topic(&stack, &expected).await?;
    for (collection, field) in [("products", "price"), ("payments", "amount"), ("orders", "total_amount")] {
        let documents = dump::documents(&stack, collection).await?;
        for (id, document) in &documents {
            check_document(document, field, &expected[&(collection.to_owned(), id.clone())])?;
            for item in document.get_array("items").into_iter().flatten().filter_map(Bson::as_document) {
                let index: usize = item.get_str("product_id")?.trim_start_matches('a').parse()?;
                check_document(item, "unit_price", &amounts[index].canonical)?;
            }
        }
    }
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// Orders of random products of one currency; answers their totals, as integers compute them.
async fn place_orders(client: &Client, amounts: &[Sent], random: &mut StdRng) -> anyhow::Result<Vec<String>> {
    let mut totals = Vec::new();
    while totals.len() < ORDERED {
        let (currency, decimals) = CURRENCIES[random.random_range(0..CURRENCIES.len())];
        let priced = amounts.iter().enumerate().filter(|(_, sent)| sent.currency == currency);
        let mut items = Vec::new();
        for (index, sent) in priced {
            if random.random_ratio(1, 8) {
                items.push((format!("a{index}"), random.random_range(1..=9_u32), sent));
            }
        }
        let minor = |sent: &Sent| sent.canonical.replace('.', "").parse::<u128>();
        let mut total = 0;
        for (_, quantity, sent) in &items {
            total += minor(sent)? * u128::from(*quantity);
        }
        if items.is_empty() || total >= 10_u128.pow(19 + u32::try_from(decimals)?) {
            continue;
        }
        let digits = format!("{total:0width$}", width = decimals + 1);
        let (integer, fraction) = digits.split_at(digits.len() - decimals);
        let expected = if decimals == 0 { integer.to_owned() } else { format!("{integer}.{fraction}") };
        let named: Vec<(&str, u32)> = items.iter().map(|(id, quantity, _)| (id.as_str(), *quantity)).collect();
        let placed = create(client, ORDERS, &order(&format!("t{}", totals.len()), "ann", &named)).await?;
        assert_eq!(placed.body["total_amount"], expected, "{items:?}");
        totals.push(expected);
    }
    Ok(totals)
}

/// By collection and id.
fn expected(amounts: &[Sent], totals: &[String]) -> HashMap<(String, String), String> {
    let of_amounts = amounts.iter().enumerate().flat_map(|(index, sent)| {
        ["products", "payments"].map(|kind| ((kind.to_owned(), format!("a{index}")), sent.canonical.clone()))
    });
    let of_totals = totals.iter().enumerate();
    of_amounts
        .chain(of_totals.map(|(index, total)| (("orders".to_owned(), format!("t{index}")), total.clone())))
        .collect()
}

/// MySQL keeps four decimals of every currency.
async fn check_rows(stack: &Stack, amounts: &[Sent]) -> anyhow::Result<()> {
    let mut connection = stack.mysql().await?;
    for select in ["SELECT id, CAST(price AS CHAR) FROM products", "SELECT id, CAST(amount AS CHAR) FROM payments"] {
        let rows: Vec<(String, String)> = sqlx::query_as(select).fetch_all(&mut connection).await?;
        let rows: BTreeMap<_, _> = rows.into_iter().collect();
        for (index, sent) in amounts.iter().enumerate() {
            let (integer, fraction) = sent.canonical.split_once('.').unwrap_or((&sent.canonical, ""));
            assert_eq!(rows.get(&format!("a{index}")), Some(&format!("{integer}.{fraction:0<4}")), "{sent:?}");
        }
    }
    Ok(())
}

async fn check_topic(stack: &Stack, expected: &HashMap<(String, String), String>) -> anyhow::Result<()> {
    let mut told = 0;
    for record in dump::topic(&stack.config.kafka).await? {
        let data: Value = serde_json::from_str(record.event.data.get())?;
        let amount = ["price", "amount", "total_amount"].into_iter().find_map(|field| data[field].as_str());
        let Some(amount) = amount else { continue };
        let key = (record.event.kind.plural().to_owned(), record.event.entity_id.to_string());
        assert_eq!(expected.get(&key).map(String::as_str), Some(amount), "{}", record.value);
        told += 1;
    }
    assert!(told >= expected.len(), "{told} of {} were told", expected.len());
    Ok(())
}

/// Text as REST shows it, and beside it a decimal of the same digits.
fn check_document(document: &Document, field: &str, expected: &str) -> anyhow::Result<()> {
    assert_eq!(document.get_str(field)?, expected, "{document}");
    let decimal = document.get(format!("{field}_decimal")).context("no decimal")?;
    assert!(matches!(decimal, Bson::Decimal128(it) if it.to_string() == expected), "{document}");
    Ok(())
}
