//! The requirement's commands for looking at the service, and the table that says where each of its lines is done.

use std::{fs, path::Path, time::Duration};

use harness::{
    process::{Process, root},
    stack::Stack,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    cache::Cache,
    database,
    entity::{User, UserField},
    lifecycle::Lifecycle,
    query::{Position, Query, Sort},
    redis::Redis,
    repository::{CacheStats, Cached, Documents, MongoRepository, MySqlRepository, Repository},
    specification::{Specification, Test},
};
use worker::app::Role;

use crate::{USERS, user};

/// `Repository[T]`: `GetByID`, `Exists`, `GetAll`, `Count`, `FindBy`, `FindByMultiple`, of the users ann and bob.
async fn reads(repository: &impl Repository<User>) -> anyhow::Result<()> {
    let (ann, nobody) = ("ann".parse()?, "nobody".parse()?);
    assert_eq!(repository.get(&ann).await?.map(|user| user.email).as_deref(), Some("ann@example.com"));
    assert!(repository.get(&nobody).await?.is_none());
    assert!(repository.exists(&ann).await? && !repository.exists(&nobody).await?);

    let everything = Specification::everything();
    let named = |id: &'static str| Specification::is(UserField::Id, Test::Eq(id.into()));
    let active = Specification::is(UserField::Status, Test::Eq("active".into()));
    let found = async |specification: &Specification<User>, skipped| {
        let position = Position::Offset(skipped);
        let sort = Sort::parse("id").unwrap_or_default();
        let query = Query { specification: specification.clone(), sort, position, limit: 1 };
        let page = repository.find(&query).await?;
        let ids: Vec<String> = page.items.iter().map(|user| user.id.to_string()).collect();
        anyhow::Ok((ids.join(","), page.has_more, repository.count(specification).await?))
    };
    assert_eq!(found(&everything, 0).await?, ("ann".to_owned(), true, 2));
    assert_eq!(found(&everything, 1).await?, ("bob".to_owned(), false, 2));
    assert_eq!(found(&named("bob"), 0).await?, ("bob".to_owned(), false, 1));
    assert_eq!(found(&active, 0).await?, ("ann".to_owned(), false, 1));
    assert_eq!(found(&Specification::All(vec![active, named("bob")]), 0).await?, (String::new(), false, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_repository_answers_the_same() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    for id in ["ann", "bob"] {
        assert_eq!(client.post(USERS, &user(id)).await?.status, 201);
    }
    assert_eq!(client.patch("/api/v1/users/bob", &json!({ "status": "suspended" })).await?.status, 200);
    stack.settled().await?;

    let mysql = MySqlRepository::new(database::pool(&stack.config.database));
    let documents = Documents::new(&stack.config.mongodb, "test", Lifecycle::new()).await?;
    let redis = Redis::new(&stack.config.redis)?;
    let cache = Cache::new(redis, &stack.config.redis.prefix, &stack.config.cache);
    reads(&mysql).await?;
    reads(&MongoRepository::new(documents)).await?;
    reads(&Cached::new(cache, mysql, CacheStats::default())).await?;

    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_listed_origin_may_use_the_api_and_no_others() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    stack.config.http.cors_origins = "https://shop.example, https://admin.example".to_owned();
    let (api, client) = stack.start_api().await?;
    for (origin, allowed) in [("https://admin.example", "https://admin.example"), ("https://evil.example", "")] {
        let preflight = client.request(Method::OPTIONS, "/api/v1/users/ann").header("Origin", origin);
        let preflight = client.send(preflight.header("Access-Control-Request-Method", "PATCH")).await?;
        assert_eq!(preflight.header("access-control-allow-origin"), allowed, "{preflight:?}");
        let methods = preflight.header("access-control-allow-methods");
        assert_eq!(methods.contains("PATCH"), !allowed.is_empty(), "{preflight:?}");
        let read = client.send(client.request(Method::GET, "/api/v1/users").header("Origin", origin)).await?;
        assert_eq!((read.status.as_u16(), read.header("access-control-allow-origin")), (200, allowed), "{read:?}");
        assert_eq!(read.header("vary"), "origin", "a shared cache must tell origins apart");
    }
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_looked_at_answers() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    assert_eq!(client.get("/health").await?.body["status"], "up");
    let listed = client.get("/api/v1/repositories").await?;
    let types: Vec<&Value> = listed.body["items"].as_array().into_iter().flatten().map(|item| &item["type"]).collect();
    assert_eq!(types, ["mysql", "mongodb", "cached", "specification"]);
    for repository in ["mysql", "mongodb", "cached", "specification"] {
        let told = client.get(&format!("/api/v1/repositories/{repository}")).await?;
        assert_eq!((told.status.as_u16(), &told.body["healthy"]), (200, &Value::Bool(true)), "{told:?}");
        assert_eq!(told.body["entities"].as_array().map(Vec::len), Some(4), "{told:?}");
    }
    let stats = client.get("/api/v1/repositories/cache/stats").await?;
    assert_eq!((stats.status.as_u16(), &stats.body["healthy"]), (200, &Value::Bool(true)), "{stats:?}");
    assert_eq!(client.get("/api/v1/repositories/postgres").await?.code(), "not-found");
    api.stop().await?;
    stack.finish().await
}

/// `grep "Repository" logs/app.log` finds a read that failed and one that was slow, `grep "ERROR"` the former.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_repositories() -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    let directory = std::env::temp_dir().join(&stack.config.database.name);
    stack.config.telemetry.log_directory = directory.to_string_lossy().into_owned();
    let api = Process::api(&stack.config).await?;
    let client = harness::client::Client::new(format!("http://127.0.0.1:{}", api.port))?;
    let (mut mysql, mut watching) = (stack.mysql().await?, stack.mysql().await?);

    sqlx::raw_sql("ALTER TABLE products RENAME COLUMN sku TO away").execute(&mut mysql).await?;
    assert_eq!(client.get("/api/v1/products/shoes-1").await?.code(), "internal");
    sqlx::raw_sql("ALTER TABLE products RENAME COLUMN away TO sku").execute(&mut mysql).await?;

    sqlx::raw_sql("LOCK TABLES users WRITE").execute(&mut mysql).await?;
    let held = async {
        wait::until("the read waits", async || {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE db = DATABASE() AND state = 'Waiting for table metadata lock'",
            )
            .fetch_one(&mut watching)
            .await?;
            Ok((waiting > 0).then_some(()))
        })
        .await?;
        wait::pause(Duration::from_millis(1_100)).await;
        sqlx::raw_sql("UNLOCK TABLES").execute(&mut mysql).await?;
        anyhow::Ok(())
    };
    tokio::try_join!(client.get("/api/v1/users/user123"), held)?;

    let log = directory.join("app.log");
    for words in [
        ["ERROR", "Repository", "Unknown column 'sku'"],
        ["WARN", "Repository", "a slow answer repository=\"mysql\" kind=user operation=\"get\""],
    ] {
        wait::until(&format!("the log says {words:?}"), async || {
            let lines = fs::read_to_string(&log)?;
            Ok(lines.lines().any(|line| words.iter().all(|word| line.contains(word))).then_some(()))
        })
        .await?;
    }
    api.terminate().await?;
    fs::remove_dir_all(directory)?;
    stack.finish().await
}

/// What stands in backticks, in order.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The table of `docs/requirement.md` stays true: its paths, its tests and its routes exist.
#[test]
fn what_the_table_names_exists() -> anyhow::Result<()> {
    let table = fs::read_to_string(root().join("docs/requirement.md"))?;
    let document: Value = serde_json::from_str(&fs::read_to_string(root().join("docs/openapi.json"))?)?;
    let (mut paths, mut tests, mut routes) = (0, 0, 0);
    for name in quoted(&table) {
        if let Some((module, test)) = name.rsplit_once("::").filter(|_| !name.contains(' ')) {
            tests += 1;
            let module = root().join("tests/integration").join(module.replace("::", "/")).with_extension("rs");
            let source = fs::read_to_string(&module).unwrap_or_default();
            assert!(
                [format!("fn {test}("), format!("fn {test}<")].iter().any(|text| source.contains(text)),
                "there is no test {name}"
            );
        } else if let Some((method, path)) = name.split_once(" /api/") {
            routes += 1;
            let path = path.split('/').map(|part| match part.strip_prefix(':') {
                Some(parameter) => format!("{{{parameter}}}"),
                None => part.to_owned(),
            });
            let path = format!("/api/{}", path.collect::<Vec<_>>().join("/"));
            assert!(document["paths"][&path][method.to_lowercase()].is_object(), "there is no route {name}");
        } else if name.contains('/') && !name.contains([' ', ':', '$']) && !name.starts_with(['/', '"']) {
            paths += 1;
            assert!(root().join(Path::new(name)).exists(), "there is no {name}");
        }
    }
    assert!(paths > 100 && tests > 50 && routes > 28, "{paths} paths, {tests} tests, {routes} routes were found");
    Ok(())
}
