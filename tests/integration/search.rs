//! Full-text search of products, and users by how their name or address begins.

use harness::{client::Client, stack::Stack, wait};
use reqwest::Method;
use serde_json::{Value, json};
use worker::app::Role;

use crate::{create, user};

fn product(id: &str, name: &str, description: &str, category: &str, price: &str) -> Value {
    json!({ "id": id, "sku": id, "name": name, "description": description, "category": category, "price": price,
            "currency": "USD", "stock": 1 })
}

fn catalogue() -> Vec<Value> {
    vec![
        product("runner", "Red running shoe", "Light, for long distances.", "shoes", "89.90"),
        product("trail", "Blue trail shoe", "A red stripe. Made for running uphill.", "shoes", "120.00"),
        product("boot", "Winter boot", "Warm. Not a shoe for running.", "boots", "150.00"),
        product("book", "Running: a history", "Paper, no shoe.", "books", "15.00"),
        product("hat", "Straw hat", "Against the sun", "hats", "9.99"),
        product("cafe", "Café crème 100%", "Ein schönes Getränk — süß", "drinks", "3.50"),
    ]
}

async fn search(client: &Client, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
    let request = client.request(Method::GET, &path(parameters)?);
    let answer = client.send(request).await?;
    assert_eq!(answer.status, 200, "{parameters:?}: {answer:?}");
    Ok(answer.body)
}

fn path(parameters: &[(&str, &str)]) -> anyhow::Result<String> {
    let url = reqwest::Url::parse_with_params("http://localhost/api/v1/products/search", parameters)?;
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

fn ids(found: &Value) -> Vec<&str> {
    found["items"].as_array().into_iter().flatten().filter_map(|hit| hit["product"]["id"].as_str()).collect()
}

fn sorted(found: &Value) -> Vec<&str> {
    let mut ids = ids(found);
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn products_are_found_by_words_phrases_and_exclusions() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    create(&client, "products", catalogue()).await?;
    stack.settled().await?;
    client.patch("/api/v1/products/boot", &json!({ "status": "archived" })).await?;
    stack.settled().await?;
    wait::until("there is a text index", async || {
        Ok((client.get("/api/v1/products/search?q=hat").await?.status == 200).then_some(()))
    })
    .await?;

    let found = search(&client, &[("q", "shoe")]).await?;
    assert_eq!(sorted(&found), ["book", "boot", "runner", "trail"]);
    let scores: Vec<f64> =
        found["items"].as_array().into_iter().flatten().filter_map(|it| it["score"].as_f64()).collect();
    assert!(scores.is_sorted_by(|one, other| one >= other) && scores[0] > 0.0, "{scores:?}");
    // What has it in its name comes before what has it in its description only.
    assert!(ids(&found)[..2].contains(&"runner") && ids(&found)[..2].contains(&"trail"), "{found}");
    assert_eq!(found["categories"][0], json!({ "category": "shoes", "count": 2 }));

    for (text, expected) in [
        ("SHOES", vec!["book", "boot", "runner", "trail"]),
        ("hat drinks", vec!["cafe", "hat"]),
        ("\"running shoe\"", vec!["runner"]),
        ("\"for running\"", vec!["boot", "trail"]),
        ("shoe -trail", vec!["book", "boot", "runner"]),
        ("shoe -\"for running\"", vec!["book", "runner"]),
        ("shoe -running", vec![]),
        ("café", vec!["cafe"]),
        ("-shoe", vec![]),
        ("nothing", vec![]),
    ] {
        assert_eq!(sorted(&search(&client, &[("q", text)]).await?), expected, "{text}");
    }
    filters_narrow(&client).await?;
    odd_input_is_no_error(&client).await?;
    client.delete("/api/v1/products/hat").await?;
    stack.settled().await?;
    assert!(ids(&search(&client, &[("q", "hat")]).await?).is_empty(), "what is deleted is found");
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

async fn filters_narrow(client: &Client) -> anyhow::Result<()> {
    for (parameters, expected) in [
        (vec![("category", "shoes")], vec!["runner", "trail"]),
        (vec![("status", "archived")], vec!["boot"]),
        (vec![("min_price", "89.90"), ("max_price", "120")], vec!["runner", "trail"]),
        (vec![("min_price", "89.91")], vec!["boot", "trail"]),
        (vec![("max_price", "15.00"), ("category", "shoes")], vec![]),
    ] {
        let asked = [vec![("q", "shoe")], parameters].concat();
        assert_eq!(sorted(&search(client, &asked).await?), expected, "{asked:?}");
    }
    // The counts are of all categories, whatever category was asked for.
    let found = search(client, &[("q", "shoe"), ("category", "boots")]).await?;
    assert_eq!(found["categories"].as_array().map(Vec::len), Some(3), "{found}");
    let mut paged = Vec::new();
    for offset in ["0", "1", "2", "3"] {
        let page = search(client, &[("q", "shoe"), ("limit", "1"), ("offset", offset)]).await?;
        assert_eq!(page["has_more"], offset != "3");
        paged.extend(ids(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(paged, ids(&search(client, &[("q", "shoe")]).await?));
    Ok(())
}

async fn odd_input_is_no_error(client: &Client) -> anyhow::Result<()> {
    let words = "ab ".repeat(166);
    let exclusions = "-a ".repeat(166);
    let quotes = "\"".repeat(500);
    for text in [
        "\"",
        "-",
        "or",
        "OR",
        "and",
        "not",
        "\"\"",
        "-\"",
        "- -",
        "a-b",
        "*",
        "(",
        "[a-",
        "\\",
        "$where",
        "{\"$gt\":1}",
        "é",
        "e\u{301}",
        "日本語",
        "😀",
        "İ",
        "ß",
        "\u{200d}",
        "%",
        "a&b|c!",
        ":*",
        "'",
        "<->",
        "shoe or",
        "the",
        "the a",
        &words,
        &exclusions,
        &quotes,
        "shoe -",
        "\"shoe",
        "x\u{1}y",
        "\u{feff}",
        "\"a\" \"b\" \"c\"",
    ] {
        let answer = client.get(&path(&[("q", text)])?).await?;
        assert_eq!(answer.status, 200, "{text:?}: {answer:?}");
    }
    let long = "x".repeat(501);
    for parameters in [
        vec![("q", "")],
        vec![("q", long.as_str())],
        vec![("q", "x"), ("min_price", "-1")],
        vec![("q", "x"), ("limit", "101")],
    ] {
        let answer = client.get(&path(&parameters)?).await?;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "invalid-parameter"), "{parameters:?}: {answer:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_found_by_the_beginning_of_name_or_address() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let users = [
        ("a", "Ann Lee", "zoe@example.com"),
        ("b", "ANNA", "ANN@example.com"),
        ("c", "Zoe", "anne@example.com"),
        ("d", "100% wool", "x_y@example.com"),
        ("e", "1000", "xay@example.com"),
        ("f", "Änne", "f@example.com"),
        ("g", "\\back", "g@example.com"),
    ];
    let users = users.map(|(id, name, email)| {
        let mut user = user(id);
        (user["name"], user["email"]) = (name.into(), email.into());
        user
    });
    create(&client, "users", users.into()).await?;
    for (text, expected) in [
        // By name first, then by address, nobody twice.
        ("ann", vec!["a", "b", "c"]),
        ("ANN ", vec!["a"]),
        ("zoe", vec!["c", "a"]),
        ("100%", vec!["d"]),
        ("1", vec!["d", "e"]),
        ("x_", vec!["d"]),
        ("%", vec![]),
        ("_", vec![]),
        ("\\", vec!["g"]),
        ("än", vec!["f"]),
        ("nn", vec![]),
        ("' OR 1=1 -- ", vec![]),
        ("😀", vec![]),
    ] {
        let url = reqwest::Url::parse_with_params("http://localhost/api/v1/users/search", [("q", text)])?;
        let found = client.get(&format!("{}?{}", url.path(), url.query().unwrap_or_default())).await?;
        assert_eq!(found.status, 200, "{found:?}");
        let ids: Vec<_> = found.body["items"].as_array().into_iter().flatten().map(|user| user["id"].clone()).collect();
        assert_eq!(ids, expected, "{text}");
    }
    let one = client.get("/api/v1/users/search?q=ann&limit=1").await?;
    assert_eq!(one.body["items"].as_array().map(Vec::len), Some(1));
    api.stop().await?;
    stack.discard().await
}
