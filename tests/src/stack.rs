//! A stack of its own for a test: names, schema, topic, and the apps that run in the test's process.

use std::{sync::Once, time::Duration};

use anyhow::{Context, ensure};
use shared::{
    config::{Config, Telemetry},
    database, kafka,
    lifecycle::Lifecycle,
    telemetry,
};
use sqlx::{Connection, MySqlConnection};
use tokio::task::JoinHandle;
use uuid::Uuid;
use worker::app::Role;

use crate::{client::Client, wait};

/// The names of a stack, with schema and topic made. What runs on it is started by the test.
pub struct Stack {
    pub config: Config,
}

/// Traces, as in a process of its own; of the log what is a warning.
fn listen(config: &Config) {
    static TELEMETRY: Once = Once::new();
    TELEMETRY.call_once(|| {
        let settings =
            Telemetry { log_filter: "warn,rdkafka=off,librdkafka=off".to_owned(), ..config.telemetry.clone() };
        match telemetry::init(&settings, "test.log") {
            // It must outlive every test of the process.
            Ok(guard) => std::mem::forget(guard),
            Err(error) => eprintln!("no telemetry: {error}"),
        }
    });
}

/// An app in the test's process.
pub struct Running {
    lifecycle: Lifecycle,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// As SIGTERM does.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.lifecycle.stop();
        tokio::time::timeout(wait::DEADLINE, self.task).await.context("the app did not end")??
    }
}

#[expect(clippy::disallowed_methods, reason = "an app waits for its own lifecycle's tasks, so it cannot be one")]
fn spawn(app: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> JoinHandle<anyhow::Result<()>> {
    tokio::spawn(app)
}

impl Stack {
    /// On the servers that the environment names.
    pub async fn new() -> anyhow::Result<Self> {
        let mut config = Config::load(None)?;
        listen(&config);
        Self::rename(&mut config);
        Self::with_config(config).await
    }

    /// Names of its own, so that nothing is shared with another stack.
    pub fn rename(config: &mut Config) {
        let name = format!("test_{}", Uuid::now_v7().simple());
        config.database.name.clone_from(&name);
        config.database.max_connections = 10;
        config.kafka.topic.clone_from(&name);
        config.kafka.group_prefix.clone_from(&name);
        config.kafka.progress_topic = format!("{name}_progress");
        config.kafka.partitions = 4;
        config.redis.prefix.clone_from(&name);
        config.mongodb.database = name;
        config.server.port = 0;
        config.worker.port = 0;
        // A worker that was killed holds the lanes for so long.
        config.outbox.lease_ms = 2_000;
    }

    /// On the servers that the configuration names.
    pub async fn with_config(config: Config) -> anyhow::Result<Self> {
        database::migrate(&config.database, true).await?;
        kafka::create_topic(&config.kafka).await?;
        let stack = Self { config };
        wait::until("the topic is known", async || Ok(kafka::find_topic(&stack.config.kafka).await.ok())).await?;
        Ok(stack)
    }

    /// Starts an API in this process, ready.
    pub async fn start_api(&self) -> anyhow::Result<(Running, Client)> {
        let lifecycle = Lifecycle::new();
        let app = api::app::App::build(self.config.clone(), lifecycle.clone()).await?;
        let client = Client::new(format!("http://{}", app.address()))?;
        let task = spawn(app.run());
        wait::until("the API is ready", async || {
            Ok(client.get("/readyz").await.ok().filter(|answer| answer.status.is_success()))
        })
        .await?;
        Ok((Running { lifecycle, task }, client))
    }

    /// Starts a worker in this process. It drains as soon as it has the lease.
    pub async fn start_worker(&self, roles: &[Role]) -> anyhow::Result<Running> {
        let lifecycle = Lifecycle::new();
        let app = worker::app::App::build(self.config.clone(), roles, lifecycle.clone()).await?;
        let task = spawn(app.run());
        Ok(Running { lifecycle, task })
    }

    /// A connection of the test's own.
    pub async fn mysql(&self) -> anyhow::Result<MySqlConnection> {
        Ok(database::connection(&self.config.database).await?)
    }

    pub async fn mongodb(&self) -> anyhow::Result<mongodb::Database> {
        let uri = secrecy::ExposeSecret::expose_secret(&self.config.mongodb.uri);
        Ok(mongodb::Client::with_uri_str(uri).await?.database(&self.config.mongodb.database))
    }

    /// How many events wait in the outbox.
    pub async fn outbox_depth(&self) -> anyhow::Result<i64> {
        let mut connection = self.mysql().await?;
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM outbox_events").fetch_one(&mut connection).await?)
    }

    /// Waits until every event has left the outbox and both consumer groups have done with all of them.
    pub async fn settled(&self) -> anyhow::Result<()> {
        self.settled_within(wait::DEADLINE).await
    }

    /// As [`settled`](Self::settled), where so much waits that each step may take so long.
    pub async fn settled_within(&self, limit: Duration) -> anyhow::Result<()> {
        let is_empty = async || Ok((self.outbox_depth().await? == 0).then_some(()));
        wait::within(limit, "the outbox is empty", is_empty).await?;
        for group in ["invalidator", "projector"] {
            wait::within(limit, &format!("the {group} has caught up"), async || {
                Ok(kafka::has_caught_up(&self.config.kafka, group).await?.then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Throws the stack's data away. A test that leaves undelivered events fails here.
    pub async fn finish(self) -> anyhow::Result<()> {
        let left = self.outbox_depth().await?;
        ensure!(left == 0, "{left} events were left in the outbox");
        self.discard().await
    }

    /// Throws the stack's data away, whatever was left over.
    pub async fn discard(self) -> anyhow::Result<()> {
        let mut connection = self.mysql().await?;
        let name = &self.config.database.name;
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP DATABASE `{name}`"))).execute(&mut connection).await?;
        connection.close().await?;
        self.mongodb().await?.drop().await?;
        let admin: rdkafka::admin::AdminClient<_> = kafka::client(&self.config.kafka).create()?;
        let options = rdkafka::admin::AdminOptions::new().request_timeout(Some(Duration::from_secs(10)));
        admin.delete_topics(&[&self.config.kafka.topic, &self.config.kafka.progress_topic], &options).await?;
        Ok(())
    }
}
