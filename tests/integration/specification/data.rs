//! Entities of all kinds that are hard to compare, made through the front door.

use anyhow::ensure;
use harness::client::Client;
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::create;

/// What `LIKE` and regular expressions know, what case and collation rules fold, what UTF-16 orders otherwise.
const PIECES: [&str; 44] = [
    "a",
    "A",
    "b",
    "B",
    "ab",
    "Ab",
    "0",
    "1",
    "é",
    "É",
    "e\u{301}",
    "ß",
    "ẞ",
    "ss",
    "İ",
    "ı",
    "i",
    "Ω",
    "\u{2126}",
    "\u{e000}",
    "\u{ffee}",
    "𝄞",
    "😀",
    "\u{10fffd}",
    "%",
    "_",
    "\\",
    "'",
    "\"",
    "[",
    "]",
    "(",
    ")",
    ".",
    "*",
    "+",
    "?",
    "^",
    "$",
    "{",
    "}",
    "|",
    " ",
    "\u{a0}",
];
const CURRENCIES: [(&str, u32); 4] = [("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)];
const CATEGORIES: [&str; 7] = ["shoes", "Shoes", "SHOES", "a_b", "a-b", "aXb", "shoe"];
const GATEWAYS: [&str; 6] = ["stripe", "Stripe", "pay.pal", "payXpal", "pay_pal", "pay-pal"];

const USERS: usize = 40;
const PRODUCTS: usize = 36;
/// Of each currency, at a price that can be multiplied.
const ORDERED_PRODUCTS: usize = 2;
const ORDERS: usize = 40;
const PAYMENTS: usize = 48;

fn pick<'a>(random: &mut StdRng, from: &[&'a str]) -> &'a str {
    from.choose(random).copied().unwrap_or_default()
}

fn text(random: &mut StdRng) -> String {
    let length = random.random_range(1..=5);
    (0..length).map(|_| pick(random, &PIECES)).collect()
}

/// Of the pieces that are visible ASCII.
fn visible(random: &mut StdRng) -> String {
    let text: String = (0..4).map(|_| text(random)).collect();
    text.chars().filter(char::is_ascii_graphic).take(6).collect()
}

fn email(random: &mut StdRng) -> String {
    let local = ["a", "A", "b", "%", "_", "'", "+", "?", "^", "$", "{", "}", "|", "*", "-", ".x", "0"];
    let local: String = (0..random.random_range(0..4)).map(|_| pick(random, &local)).collect();
    format!("u{local}@{}", pick(random, &["example.com", "Example.com", "a-b.example"]))
}

/// As text of an amount of so many decimals, more than nothing.
fn amount(random: &mut StdRng, decimals: u32) -> String {
    let units: u128 = match random.random_range(0..10) {
        0 => random.random_range(1..10_u128.pow(19 + decimals)),
        1 => 10_u128.pow(19 + decimals) - 1,
        2..=4 => random.random_range(1..=3),
        5 => 10_u128.pow(random.random_range(0..6)),
        _ => random.random_range(1..200_000),
    };
    rust_decimal::Decimal::from_i128_with_scale(units.cast_signed(), decimals).to_string()
}

/// Creates, changes and deletes entities of all kinds.
pub(super) async fn populate(client: &Client, random: &mut StdRng) -> anyhow::Result<()> {
    let users = (0..USERS).map(|number| {
        let id = format!("{}{}{number}", pick(random, &["u", "U", "_", "-"]), pick(random, &["_", "-", ""]));
        json!({ "id": id, "email": email(random), "name": text(random), "status": status(random, "suspended") })
    });
    let users = create(client, "users", users.collect()).await?;
    let products = (0..PRODUCTS).map(|number| product(random, number));
    create(client, "products", products.collect()).await?;
    let orders = orders(client, random, &users).await?;
    let payments = (0..PAYMENTS).map(|_| payment(random, &users, &orders));
    let payments = create(client, "payments", payments.collect()).await?;
    change_orders(client, random, &orders).await?;
    change_payments(client, random, &payments).await?;
    for user in users.iter().step_by(3) {
        answered(client.patch(&path("users", user), &json!({ "name": text(random) })).await?)?;
    }
    // Their documents become tombstones.
    let gone = create(client, "users", (0..5).map(|number| crate::user(&format!("gone{number}"))).collect()).await?;
    for user in &gone {
        answered(client.delete(&path("users", user)).await?)?;
    }
    Ok(())
}

fn status(random: &mut StdRng, other: &str) -> String {
    pick(random, &["active", "active", other]).to_owned()
}

fn product(random: &mut StdRng, number: usize) -> Value {
    let (currency, decimals) = CURRENCIES.choose(random).copied().unwrap_or_default();
    let mut product = json!({
        "sku": format!("{}{number}", visible(random)), "name": text(random),
        "category": pick(random, &CATEGORIES), "price": amount(random, decimals), "currency": currency,
        "stock": random.random_range(0..4) * 1_000, "status": status(random, "archived"),
        "attributes": { "language": "xx", "sizes": [1, 2.5, null, true, "\u{e9}"], "large": 9_007_199_254_740_991_u64 },
    });
    match random.random_range(0..3) {
        0 => {}
        1 => product["description"] = "".into(),
        _ => product["description"] = format!("{}\n\t{}", text(random), text(random)).into(),
    }
    product
}

async fn orders(client: &Client, random: &mut StdRng, users: &[Value]) -> anyhow::Result<Vec<Value>> {
    let mut products = Vec::new();
    for (currency, decimals) in CURRENCIES {
        let new = (0..ORDERED_PRODUCTS).map(|number| {
            let price = rust_decimal::Decimal::new(random.random_range(0..5_000), decimals).to_string();
            json!({ "id": format!("{currency}-{number}"), "sku": format!("{currency}-{number}"), "name": "Ordered",
                    "category": "ordered", "price": price, "currency": currency, "stock": 1_000_000 })
        });
        products.push(create(client, "products", new.collect()).await?);
    }
    let orders = (0..ORDERS).map(|_| {
        let of_currency: &[Value] = products.choose(random).map(Vec::as_slice).unwrap_or_default();
        let items = of_currency.iter().take(random.random_range(1..=ORDERED_PRODUCTS));
        let items = items.map(|it| json!({ "product_id": it["id"], "quantity": random.random_range(1..4) }));
        let items: Vec<_> = items.collect();
        json!({ "user_id": owner(random, users), "items": items })
    });
    create(client, "orders", orders.collect()).await
}

fn owner(random: &mut StdRng, users: &[Value]) -> Value {
    // A few have most.
    users.iter().take(12).collect::<Vec<_>>().choose(random).map(|user| user["id"].clone()).unwrap_or_default()
}

fn payment(random: &mut StdRng, users: &[Value], orders: &[Value]) -> Value {
    let (currency, decimals) = CURRENCIES.choose(random).copied().unwrap_or_default();
    let mut payment = json!({ "user_id": owner(random, users), "amount": amount(random, decimals),
                              "currency": currency, "gateway": pick(random, &GATEWAYS) });
    if random.random_bool(0.5)
        && let Some(order) = orders.choose(random)
    {
        payment["order_id"] = order["id"].clone();
        payment["user_id"] = order["user_id"].clone();
        payment["currency"] = order["currency"].clone();
        payment["amount"] = random.random_range(1..50).to_string().into();
    }
    if random.random_bool(0.5) {
        payment["gateway_reference"] = format!("r{}", visible(random)).into();
    }
    payment
}

async fn change_orders(client: &Client, random: &mut StdRng, orders: &[Value]) -> anyhow::Result<()> {
    for order in orders {
        let steps = ["confirmed", "processing", "shipped", "delivered", "returned"];
        for step in steps.into_iter().take(random.random_range(0..=5)) {
            answered(client.patch(&path("orders", order), &json!({ "status": step })).await?)?;
        }
    }
    Ok(())
}

async fn change_payments(client: &Client, random: &mut StdRng, payments: &[Value]) -> anyhow::Result<()> {
    for payment in payments {
        let steps = ["processing", "completed", "refunded"];
        for step in steps.into_iter().take(random.random_range(0..=3)) {
            answered(client.patch(&path("payments", payment), &json!({ "status": step })).await?)?;
        }
    }
    Ok(())
}

fn path(plural: &str, entity: &Value) -> String {
    format!("/api/v1/{plural}/{}", entity["id"].as_str().unwrap_or_default())
}

fn answered(answer: harness::client::Answer) -> anyhow::Result<Value> {
    ensure!(answer.status.is_success(), "{answer:?}");
    Ok(answer.body)
}
