//! Users over REST: what a client sees.

use harness::stack::Stack;
use reqwest::Method;
use serde_json::json;

use crate::{USERS, user};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_lives_through_all_its_states() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;

    let created = client.post(USERS, &user("ann")).await?;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(created.header("location"), "/api/v1/users/ann");
    assert_eq!(created.header("etag"), "\"1\"");
    assert_eq!(created.body["status"], "active");

    let read = client.get("/api/v1/users/ann").await?;
    assert_eq!(read.status, 200);
    assert_eq!(read.body, created.body);
    assert_eq!(read.header("etag"), "\"1\"");

    let again = client.post(USERS, &user("ann")).await?;
    assert_eq!((again.status.as_u16(), again.code()), (409, "already-exists"));

    let suspended = client.patch("/api/v1/users/ann", &json!({ "status": "suspended" })).await?;
    assert_eq!(suspended.body["status"], "suspended");
    assert_eq!(suspended.body["name"], "Test User", "what is not sent stays");
    let replaced = client.put("/api/v1/users/ann", &json!({ "email": "a@b.example", "name": "Ann" })).await?;
    assert_eq!((replaced.version(), &replaced.body["email"]), (3, &json!("a@b.example")));
    assert_eq!(replaced.body["status"], "suspended", "a status is not lost by leaving it out");
    assert_eq!(replaced.body["created_at"], created.body["created_at"]);

    assert_eq!(client.delete("/api/v1/users/ann").await?.status, 204);
    for gone in [
        client.get("/api/v1/users/ann").await?,
        client.delete("/api/v1/users/ann").await?,
        client.patch("/api/v1/users/ann", &json!({ "name": "x" })).await?,
    ] {
        assert_eq!((gone.status.as_u16(), gone.code()), (404, "not-found"));
    }
    // The deletion was version 4; a new life goes on from there, so that no consumer takes it for an old one.
    assert_eq!(client.post(USERS, &user("ann")).await?.version(), 5);

    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn if_match_guards_each_change() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    client.post(USERS, &user("bob")).await?;
    client.patch("/api/v1/users/bob", &json!({ "name": "Bob" })).await?;

    let change = json!({ "email": "bob@example.com", "name": "Robert" });
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let request = client.request(method.clone(), "/api/v1/users/bob").header("If-Match", "\"1\"").json(&change);
        let refused = client.send(request).await?;
        assert_eq!((refused.status.as_u16(), refused.code()), (412, "version-mismatch"), "{method}");
        assert_eq!(refused.body["current_version"], 2);
        let request = client.request(method, "/api/v1/users/bob").header("If-Match", "two").json(&change);
        assert_eq!(client.send(request).await?.code(), "invalid-parameter");
    }
    assert_eq!(client.get("/api/v1/users/bob").await?.body["name"], "Bob");
    let request = client.request(Method::PUT, "/api/v1/users/bob").header("If-Match", "\"2\"").json(&change);
    assert_eq!(client.send(request).await?.version(), 3);

    api.stop().await?;
    stack.discard().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_newest_first_and_comes_in_parts() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    for number in 0..25 {
        client.post(USERS, &user(&format!("u{number:02}"))).await?;
    }
    let first = client.get(USERS).await?;
    assert_eq!(first.body["items"].as_array().map(Vec::len), Some(20));
    assert_eq!((&first.body["has_more"], &first.body["items"][0]["id"]), (&json!(true), &json!("u24")));
    let second = client.get("/api/v1/users?limit=20&offset=20").await?;
    assert_eq!(second.body["has_more"], false);
    let ids: Vec<_> = second.body["items"].as_array().into_iter().flatten().map(|item| item["id"].clone()).collect();
    assert_eq!(ids, ["u04", "u03", "u02", "u01", "u00"].map(|id| json!(id)));

    api.stop().await?;
    stack.discard().await
}

/// Writers of one entity wait for each other; none is lost, and each answer carries a version of its own.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_one_user_each_get_a_version() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    client.post(USERS, &user("eve")).await?;
    let changes = (0..40).map(|number| {
        let client = client.clone();
        async move { client.patch("/api/v1/users/eve", &json!({ "name": format!("Eve {number}") })).await }
    });
    let mut versions = Vec::new();
    for answer in futures_util::future::try_join_all(changes).await? {
        assert_eq!(answer.status, 200, "{answer:?}");
        versions.push(answer.version());
    }
    versions.sort_unstable();
    assert_eq!(versions, (2..=41).collect::<Vec<u64>>());

    api.stop().await?;
    stack.discard().await
}
