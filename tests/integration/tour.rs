//! The tour of the README: its commands print what it shows.

use harness::{process::root, stack::Stack};
use secrecy::ExposeSecret;
use worker::app::Role;

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_prints_what_the_readme_shows() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
    let ports = format!(
        "api={}\nkafka={}\nmongodb={}\ntopic={}\ndatabase={}\n",
        port(&client.base),
        port(&stack.config.kafka.brokers),
        port(stack.config.mongodb.uri.expose_secret()),
        stack.config.kafka.topic,
        stack.config.mongodb.database,
    );
    let file = std::env::temp_dir().join(format!("{}.ports", stack.config.database.name));
    tokio::fs::write(&file, ports).await?;
    let ran = tokio::process::Command::new(root().join("scripts/test-tour")).arg(&file).output().await?;
    tokio::fs::remove_file(&file).await?;
    assert!(ran.status.success(), "{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    worker.stop().await?;
    api.stop().await?;
    stack.discard().await
}
