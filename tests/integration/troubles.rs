//! What keeps a worker from publishing without any event being at fault: nothing is parked, and the status says what.

use harness::{
    checker,
    client::Client,
    commands::{done, status_is},
    process::Process,
    servers::{KafkaShape, Servers},
    stack::Stack,
    topic,
};
use serde_json::{Value, json};
use shared::config::Config;

use crate::{USERS, user};

/// Waits until the status names the cause, and checks that nothing is parked for it.
async fn trouble(config: &Config, named: &str) -> anyhow::Result<()> {
    let says = |it: &Value| it["workers"][0]["trouble"].as_str().unwrap_or_default().contains(named);
    let shown = status_is(config, named, |code, it| code == 3 && says(it)).await?;
    println!("{}", shown["workers"]);
    assert_eq!(shown["parked"], json!({ "poison": 0, "blocked": 0, "replay": 0 }));
    assert!(shown["depth"].as_u64() > Some(0));
    Ok(())
}

async fn write(client: &Client, ids: &[&str]) -> anyhow::Result<()> {
    for id in ids {
        anyhow::ensure!(client.post(USERS, &user(id)).await?.status == 201);
        anyhow::ensure!(client.patch(&format!("{USERS}/{id}"), &json!({ "name": "Two" })).await?.status == 200);
    }
    Ok(())
}

/// Everything is delivered in order, and nobody is needed any more. Answers with how much came twice.
async fn recovers(stack: &Stack) -> anyhow::Result<usize> {
    stack.settled().await?;
    let shown = status_is(&stack.config, "nobody is needed any more", |code, _| code == 0).await?;
    assert_eq!(shown["workers"][0]["trouble"], Value::Null);
    Ok(checker::consistent(stack).await?.duplicates)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_written_is_waited_for() -> anyhow::Result<()> {
    let mut config = Config::load(None)?;
    let shape = KafkaShape { authorizes: true, ..KafkaShape::default() };
    let servers = Servers::start_with(shape, &["kafka"], &mut config).await?;
    Stack::rename(&mut config);
    let stack = Stack::with_config(config).await?;
    let (api, client) = stack.start_api().await?;
    let worker = Process::worker(&stack.config).await?;
    write(&client, &["ann"]).await?;
    stack.settled().await?;

    let name = stack.config.kafka.topic.as_str();
    let everyone = ["--add", "--allow-principal", "User:*", "--operation", "All", "--topic", name];
    servers.client("kafka-acls", &everyone).await?;
    let nobody = ["--deny-principal", "User:*", "--operation", "Write", "--topic", name];
    servers.client("kafka-acls", &[&["--add"], nobody.as_slice()].concat()).await?;
    write(&client, &["bob", "cid"]).await?;
    trouble(&stack.config, "uthorization").await?;
    servers.client("kafka-acls", &[&["--remove", "--force"], nobody.as_slice()].concat()).await?;
    assert_eq!(recovers(&stack).await?, 0);

    // The trouble ends as well where there is nothing left that could show it.
    servers.client("kafka-acls", &[&["--add"], nobody.as_slice()].concat()).await?;
    write(&client, &["dan"]).await?;
    trouble(&stack.config, "uthorization").await?;
    sqlx::query("DELETE FROM outbox_events").execute(&mut stack.mysql().await?).await?;
    status_is(&stack.config, "nobody is needed any more", |code, _| code == 0).await?;
    worker.terminate().await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_gone_is_waited_for() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = Process::worker(&stack.config).await?;
    status_is(&stack.config, "the worker has the lanes", |_, it| !it["lanes"][63]["owner"].is_null()).await?;
    topic::delete(&stack.config.kafka).await?;
    write(&client, &["ann", "bob"]).await?;
    trouble(&stack.config, "does not exist").await?;
    done(&stack.config, &["topics"]).await?;
    assert_eq!(recovers(&stack).await?, 0);
    worker.terminate().await?;
    api.stop().await?;
    stack.finish().await
}

/// The limit is lowered while the producer builds batches for the old one.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_takes_less_than_a_batch_parks_nobody() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = Process::worker(&stack.config).await?;
    write(&client, &["first"]).await?;
    stack.settled().await?;
    done(&stack.config, &["outbox", "pause", "all", "--reason", "to gather"]).await?;
    for batch in 0..4 {
        let items = (0..100).map(|number| user(&format!("b{batch}-{number}"))).collect();
        crate::create(&client, "users", items).await?;
    }
    topic::configure(&stack.config.kafka, &[("max.message.bytes", "2000")]).await?;
    done(&stack.config, &["outbox", "resume", "all"]).await?;
    stack.settled().await?;
    let mut connection = stack.mysql().await?;
    let parked: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM outbox_parked").fetch_one(&mut connection).await?;
    assert_eq!(parked, 0);
    // Of a batch that was on its way when another was refused it is not known whether it arrived.
    println!("{} duplicates", recovers(&stack).await?);
    worker.terminate().await?;
    api.stop().await?;
    stack.finish().await
}
