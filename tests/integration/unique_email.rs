//! Whether two users may share an address is decided by the configuration.

use futures_util::future::try_join_all;
use harness::{client::Answer, stack::Stack};
use serde_json::json;
use shared::config::Config;

use crate::{
    USERS,
    input::{assert_problem, violations},
    shop::{create, with},
    user,
};

fn assert_taken(answer: &Answer, pointer: &str) {
    assert_problem(answer, 409, "email-taken");
    assert_eq!(violations(answer), [(pointer.to_owned(), "taken".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_users_may_share_an_address() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let users = (0..20).map(|number| {
        let client = client.clone();
        let body = with(user(&format!("u{number}")), "email", json!("test@example.com"));
        async move { client.post(USERS, &body).await }
    });
    let created = try_join_all(users).await?;
    assert!(created.iter().all(|answer| answer.status == 201), "{created:?}");
    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_one_user_where_that_is_asked_for() -> anyhow::Result<()> {
    let mut config = Config::load(None)?;
    Stack::rename(&mut config);
    config.users.unique_email = true;
    let stack = Stack::with_config(config).await?;
    let (api, client) = stack.start_api().await?;
    let with_address = |id: &str, email: &str| with(user(id), "email", json!(email));

    // Of those that come at once, one.
    let users = ["Ann@Example.com", "ann@example.com", "ANN@EXAMPLE.COM", "aNN@example.com"];
    let users = users.into_iter().enumerate().map(|(number, email)| {
        let client = client.clone();
        let body = with_address(&format!("ann{number}"), email);
        async move { client.post(USERS, &body).await }
    });
    let answers = try_join_all(users).await?;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
    answers.iter().filter(|answer| answer.status != 201).for_each(|answer| assert_taken(answer, "/email"));

    create(&client, USERS, &with_address("bob", "bob@example.com")).await?;
    assert_taken(&client.patch("/api/v1/users/bob", &json!({ "email": "anN@example.com" })).await?, "/email");
    assert_taken(&client.put("/api/v1/users/bob", &with_address("bob", "anN@example.com")).await?, "/email");
    let batch = json!({ "items": [with_address("c", "c@example.com"), with_address("d", "C@example.com")] });
    assert_taken(&client.post(&format!("{USERS}/batch"), &batch).await?, "/items/1/email");
    assert_eq!(client.get("/api/v1/users/c").await?.status, 404, "all or none");
    // An accent is another letter; one's own address in another case is one's own.
    create(&client, USERS, &with_address("accent", "änn@example.com")).await?;
    assert_eq!(client.patch("/api/v1/users/bob", &json!({ "email": "BOB@example.com" })).await?.status, 200);
    // An address that is given up is free.
    client.patch("/api/v1/users/bob", &json!({ "email": "robert@example.com" })).await?;
    create(&client, USERS, &with_address("heir", "Bob@example.com")).await?;
    assert_eq!(client.delete("/api/v1/users/heir").await?.status, 204);
    create(&client, USERS, &with_address("heir2", "bob@example.com")).await?;
    api.stop().await?;
    stack.discard().await
}
