//! What the suites that are the same for every entity need to know of each.

use std::ops::Range;

use anyhow::ensure;
use serde_json::{Value, json};
use shared::{
    change::Managed,
    entity::{Order, Payment, Product, User},
};

use crate::client::{Answer, Client};

/// An entity of which there are samples, numbered.
pub trait Sample: Managed {
    /// The status of a new one, and one that it can be taken to, from where it can still be deleted.
    const STATUSES: [&'static str; 2];
    /// A field that lists are sorted by, that never changes, and that several samples share where it can be shared.
    const IMMUTABLE: &'static str;

    /// A list of its own, of those that fulfil one condition: the address below the path, and the same as a filter.
    const SCOPE: Option<(&'static str, &'static str)>;

    /// What must exist before the first sample: where it is created, and what is sent.
    fn needed() -> Vec<(&'static str, Value)>;

    /// What creates a sample; with its id, and without a status.
    fn creation(number: usize) -> Value;

    /// What replaces a sample with something else, as far as it can be replaced; without an id.
    fn replacement(number: usize) -> Value;

    /// Numbers sort as they count.
    #[must_use]
    fn sample_id(number: usize) -> String {
        format!("{}-{number:04}", Self::KIND)
    }

    #[must_use]
    fn path(number: usize) -> String {
        format!("{}/{}", Self::PATH, Self::sample_id(number))
    }

    /// What takes any sample to the other status (PATCH).
    #[must_use]
    fn change() -> Value {
        json!({ "status": Self::STATUSES[1] })
    }
}

/// Creates what samples of the entity need.
pub async fn prepare<E: Sample>(client: &Client) -> anyhow::Result<()> {
    for (path, body) in E::needed() {
        let created = client.post(path, &body).await?;
        ensure!(created.status == 201, "{created:?}");
    }
    Ok(())
}

/// Creates one.
pub async fn create<E: Sample>(client: &Client, number: usize) -> anyhow::Result<Answer> {
    let created = client.post(E::PATH, &E::creation(number)).await?;
    ensure!(created.status == 201, "{created:?}");
    Ok(created)
}

/// Creates several with one request.
pub async fn create_many<E: Sample>(client: &Client, numbers: Range<usize>) -> anyhow::Result<Answer> {
    let items: Vec<Value> = numbers.map(E::creation).collect();
    let created = client.post(&format!("{}/batch", E::PATH), &json!({ "items": items })).await?;
    ensure!(created.status == 201, "{created:?}");
    Ok(created)
}

/// Whether what was sent is what is shown; the server may add to it.
#[must_use]
pub fn shows(shown: &Value, sent: &Value) -> bool {
    match (shown, sent) {
        // A reason is of the change, not of the entity.
        (Value::Object(shown), Value::Object(sent)) => sent.iter().all(|(name, value)| {
            name == "reason" || shown.get(name).is_some_and(|shown_value| shows(shown_value, value))
        }),
        (Value::Array(shown), Value::Array(sent)) => {
            shown.len() == sent.len() && shown.iter().zip(sent).all(|(shown, sent)| shows(shown, sent))
        }
        _ => shown == sent,
    }
}

/// The sent body with one member set.
#[must_use]
pub fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

/// The sent body without its id.
#[must_use]
pub fn nameless(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        members.remove("id");
    }
    body
}

const OF_OWNER: Option<(&str, &str)> = Some(("user/owner", "user_id=owner"));

fn owners() -> Vec<(&'static str, Value)> {
    let user = |id: &str| json!({ "id": id, "email": format!("{id}@example.com"), "name": "Owner" });
    vec![(User::PATH, user("owner")), (User::PATH, user("other"))]
}

/// Every fourth is another's.
fn owner_of(number: usize) -> &'static str {
    if number % 4 == 3 { "other" } else { "owner" }
}

impl Sample for User {
    const STATUSES: [&'static str; 2] = ["active", "suspended"];
    const IMMUTABLE: &'static str = "id";
    const SCOPE: Option<(&'static str, &'static str)> = None;

    fn needed() -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn creation(number: usize) -> Value {
        let name = ["Ada", "Grace", "Adele"][number % 3];
        json!({ "id": Self::sample_id(number), "email": format!("{name}{}@example.com", number % 5), "name": name })
    }

    fn replacement(number: usize) -> Value {
        json!({ "email": format!("replaced{number}@example.com"), "name": "Replaced" })
    }
}

impl Sample for Product {
    const STATUSES: [&'static str; 2] = ["active", "archived"];
    const IMMUTABLE: &'static str = "id";
    const SCOPE: Option<(&'static str, &'static str)> = Some(("category/shoes", "category=shoes"));

    fn needed() -> Vec<(&'static str, Value)> {
        Vec::new()
    }

    fn creation(number: usize) -> Value {
        let (name, category) = (["Shoe", "Boot", "Shoelace"][number % 3], ["shoes", "boots"][number % 2]);
        json!({
            "id": Self::sample_id(number),
            "sku": format!("SKU-{number:04}"),
            "name": name,
            "description": "Light, for long distances.",
            "category": category,
            "price": format!("{}.50", 9 + number % 4),
            "currency": "USD",
            "stock": 10,
            "attributes": { "sizes": [41, 42], "colour": { "name": "red" } },
        })
    }

    fn replacement(number: usize) -> Value {
        json!({
            "sku": format!("REPLACED-{number:04}"),
            "name": "Replaced",
            "category": "replaced",
            "price": "1200",
            "currency": "JPY",
            "attributes": { "replaced": true },
        })
    }
}

impl Sample for Order {
    const STATUSES: [&'static str; 2] = ["pending", "confirmed"];
    const IMMUTABLE: &'static str = "total_amount";
    const SCOPE: Option<(&'static str, &'static str)> = OF_OWNER;

    fn needed() -> Vec<(&'static str, Value)> {
        let ordered = json!({
            "id": "ordered",
            "sku": "ORDERED",
            "name": "Ordered",
            "category": "shoes",
            "price": "10.25",
            "currency": "EUR",
            "stock": 1_000_000,
        });
        [owners(), vec![(Product::PATH, ordered)]].concat()
    }

    fn creation(number: usize) -> Value {
        let items = json!([{ "product_id": "ordered", "quantity": 1 + number % 3 }]);
        json!({ "id": Self::sample_id(number), "user_id": owner_of(number), "items": items })
    }

    /// Nothing but its status can change.
    fn replacement(number: usize) -> Value {
        with(nameless(Self::creation(number)), "reason", json!("replaced"))
    }
}

impl Sample for Payment {
    const STATUSES: [&'static str; 2] = ["pending", "cancelled"];
    const IMMUTABLE: &'static str = "amount";
    const SCOPE: Option<(&'static str, &'static str)> = OF_OWNER;

    fn needed() -> Vec<(&'static str, Value)> {
        let paid = with(Order::creation(0), "id", json!("paid"));
        [Order::needed(), vec![(Order::PATH, paid)]].concat()
    }

    /// Some are of the order, some of none.
    fn creation(number: usize) -> Value {
        let mut body = json!({
            "id": Self::sample_id(number),
            "user_id": owner_of(number),
            "amount": format!("{}.05", 100 + number % 3),
            "currency": "USD",
            "gateway": "stripe",
        });
        if number.is_multiple_of(2) {
            body["order_id"] = json!("paid");
        }
        body
    }

    fn replacement(number: usize) -> Value {
        with(nameless(Self::creation(number)), "gateway_reference", json!(format!("ref-{number}")))
    }
}
