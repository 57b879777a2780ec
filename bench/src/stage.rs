//! What a run has to itself: a database, a topic, names. And what is done to it.

use anyhow::Context;
use harness::{load::Load, stack::Stack};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
};
use shared::{config::Config, kafka};
use sqlx::{Connection, Executor, MySqlConnection, mysql::MySqlConnectOptions};

pub(crate) const ENTITIES: usize = 10_000;

/// Names of its own on the servers that the environment names. The settings are the product's defaults.
///
/// The broker stamps the topic's records when it appends them: what is one response earlier than the acknowledgement,
/// by a clock that also the commits and the consumer are measured with.
pub(crate) async fn make() -> anyhow::Result<Stack> {
    let defaults = Config::load(None)?;
    let mut config = defaults.clone();
    Stack::rename(&mut config);
    config.kafka.partitions = defaults.kafka.partitions;
    config.outbox.lease_ms = defaults.outbox.lease_ms;
    let admin: AdminClient<DefaultClientContext> = kafka::client(&config.kafka).create()?;
    let topic = NewTopic {
        name: &config.kafka.topic,
        num_partitions: i32::from(config.kafka.partitions),
        replication: TopicReplication::Fixed(i32::from(config.kafka.replication_factor)),
        config: vec![("message.timestamp.type", "LogAppendTime")],
    };
    let options = AdminOptions::new().operation_timeout(Some(kafka::TIMEOUT));
    for made in admin.create_topics([&topic], &options).await? {
        made.map_err(|(topic, code)| anyhow::anyhow!("the topic {topic}: {code}"))?;
    }
    Stack::with_config(config).await
}

/// Commits a backlog of so many events. Answers with what has changed how often.
pub(crate) async fn fill(stack: &Stack, events: usize) -> anyhow::Result<Load> {
    let (mut load, mut connection) = (Load::new(0..ENTITIES), stack.mysql().await?);
    // It is not what is measured, and the binary log of millions of events would fill the disk.
    connection.execute("SET SESSION sql_log_bin = 0").await?;
    load.fill(&mut connection, events).await.context("the backlog could not be written")?;
    Ok(load)
}

/// A connection that goes on seeing the database as it is now, so that nothing deleted later is purged.
pub(crate) async fn old_view(stack: &Stack) -> anyhow::Result<MySqlConnection> {
    let options: MySqlConnectOptions = shared::database::options(&stack.config.database);
    let mut connection = MySqlConnection::connect_with(&options).await?;
    connection.execute("SET SESSION transaction_isolation = 'REPEATABLE-READ'").await?;
    connection.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT").await?;
    Ok(connection)
}
