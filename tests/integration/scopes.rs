//! Lists of one user's and of one category's: only theirs, in parts, filtered.

use harness::{client::Client, stack::Stack};
use serde_json::{Value, json};

use crate::{USERS, user};

async fn create(client: &Client, resource: &str, items: &Value) -> anyhow::Result<()> {
    let created = client.post(&format!("/api/v1/{resource}/batch"), &json!({ "items": items })).await?;
    assert_eq!(created.status, 201, "{created:?}");
    Ok(())
}

/// The ids of a list, all its parts.
async fn all_parts(client: &Client, path: &str) -> anyhow::Result<Vec<String>> {
    let (mut ids, mut after) = (Vec::new(), String::new());
    loop {
        let part = client.get(&format!("{path}?limit=2&sort=id{after}")).await?;
        assert_eq!(part.status, 200, "{part:?}");
        let items = part.body["items"].as_array().into_iter().flatten();
        ids.extend(items.filter_map(|item| item["id"].as_str()).map(str::to_owned));
        match part.body["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(ids),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_one_user_or_category_shows_only_theirs() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    for id in ["ann", "bob"] {
        assert_eq!(client.post(USERS, &user(id)).await?.status, 201);
    }
    let product = |id: &str, category: &str| json!({ "id": id, "sku": id, "name": id, "category": category, "price": "1.00", "currency": "USD", "stock": 9 });
    let order =
        |id: &str, user: &str| json!({ "id": id, "user_id": user, "items": [{ "product_id": "p1", "quantity": 1 }] });
    let payment = |id: &str, user: &str| json!({ "id": id, "user_id": user, "amount": "1.00", "currency": "USD", "gateway": "stripe" });
    let products = [product("p1", "a"), product("p2", "b"), product("p3", "a"), product("p4", "a")];
    create(&client, "products", &json!(products)).await?;
    create(&client, "orders", &json!([order("o1", "ann"), order("o2", "bob"), order("o3", "ann"), order("o4", "ann")]))
        .await?;
    let payments = [payment("q1", "ann"), payment("q2", "bob"), payment("q3", "ann"), payment("q4", "ann")];
    create(&client, "payments", &json!(payments)).await?;

    for (list, prefix, own, other) in
        [("products/category", "p", "a", "b"), ("orders/user", "o", "ann", "bob"), ("payments/user", "q", "ann", "bob")]
    {
        let path = |of: &str| format!("/api/v1/{list}/{of}");
        assert_eq!(all_parts(&client, &path(own)).await?, ["1", "3", "4"].map(|number| format!("{prefix}{number}")));
        assert_eq!(all_parts(&client, &path(other)).await?, [format!("{prefix}2")]);
        assert!(all_parts(&client, &path("nobody")).await?.is_empty(), "who has none has an empty list");
        let resource = list.split('/').next().unwrap_or_default();
        let changed = if resource == "products" { "archived" } else { "cancelled" };
        client.patch(&format!("/api/v1/{resource}/{prefix}3"), &json!({ "status": changed })).await?;
        let filtered = client.get(&format!("{}?status={changed}", path(own))).await?;
        assert_eq!(filtered.body["items"][0]["id"], format!("{prefix}3"));
        assert_eq!(filtered.body["items"].as_array().map(Vec::len), Some(1), "{filtered:?}");
        let first = client.get(&format!("{}?limit=2&sort=id", path(own))).await?;
        let next = first.body["next"].as_str().unwrap_or_default();
        let strange = client.get(&format!("{}?limit=2&sort=id&after={next}", path(other))).await?;
        assert_eq!(strange.code(), "invalid-cursor", "a cursor continues the list that it is of");
    }
    api.stop().await?;
    stack.discard().await
}
