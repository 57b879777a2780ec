//! What is published is committed, and what is committed is true.

use std::fs;

use harness::{client::Client, process::root, stack::Stack};
use serde_json::Value;
use shared::config::Config;

#[tokio::test(flavor = "multi_thread")]
async fn the_openapi_document_is_the_committed_one() -> anyhow::Result<()> {
    let document = api::app::openapi(&Config::load(None)?).await?;
    let committed: Value = serde_json::from_str(&fs::read_to_string(root().join("docs/openapi.json"))?)?;
    assert_eq!(document, committed, "run `make openapi` and look at the difference");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_are_served() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let served = client.get("/openapi.json").await?;
    assert_eq!(served.body["paths"]["/api/v1/users"]["get"]["operationId"], "listUsers");
    assert_eq!(served.body["paths"]["/api/v1/users/{id}"]["patch"]["operationId"], "changeUser");
    assert_eq!(served.body["components"]["schemas"]["NewUser"]["additionalProperties"], false);
    let Client { base, .. } = &client;
    let page = reqwest::get(format!("{base}/docs")).await?.text().await?;
    assert!(page.contains("listUsers"), "the page has another document");
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "the page needs the network");
    api.stop().await?;
    stack.finish().await
}

/// Compose names the same stores, keys and ports as the configuration.
#[test]
fn compose_fits_the_configuration() -> anyhow::Result<()> {
    let compose = fs::read_to_string(root().join("docker-compose.yml"))?;
    let environment = compose.lines().filter_map(|line| line.trim().split_once(": "));
    let environment = environment
        .filter(|(key, _)| key.starts_with("SLUICE__"))
        .map(|(key, value)| {
            // `${NAME:-default}` as compose reads it where the environment is empty.
            let value = value.trim_matches('"');
            let default = value.split_once(":-").map_or(value, |(_, rest)| rest.trim_end_matches('}'));
            (key.to_owned(), default.to_owned())
        })
        .collect();
    let config = Config::from_sources(None, &environment)?;
    assert_eq!((config.database.host.as_str(), config.database.port), ("mysql", 3306));
    assert_eq!(config.database.name, Config::from_sources(None, &std::collections::HashMap::new())?.database.name);
    assert_eq!(config.kafka.brokers, "kafka:19092");
    assert_eq!(config.server.host, "0.0.0.0", "within a container loopback is nobody's");
    let published = |line: &&str| line.trim().starts_with("ports: ");
    let ports: Vec<&str> = compose.lines().filter(published).collect();
    for port in [3306, 6379, 9092, 27017, config.server.port] {
        assert!(ports.iter().any(|line| line.contains(&format!(":-{port}}}:"))), "{port} is not published");
    }
    assert!(ports.iter().all(|line| line.contains("[\"127.0.0.1:")), "a port is published beyond this host");
    Ok(())
}
