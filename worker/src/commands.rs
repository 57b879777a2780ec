//! What an operator can ask the worker's binary to do.

mod outbox;
mod output;
mod parked;
mod status;
mod topics;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use shared::{
    bell::{self, Message},
    config::Config,
    database,
    lifecycle::Lifecycle,
    probe,
    redis::Redis,
    telemetry,
};
use sqlx::MySqlConnection;
use worker::app::{App, Role};

use outbox::Outbox;
use output::say;

/// Drains the outbox of Sluice to Kafka and keeps MongoDB and Redis in step.
#[derive(Parser)]
#[command(name = "sluice-worker", version)]
pub(crate) struct Arguments {
    /// A YAML file that overrides the compiled-in configuration.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the roles until SIGTERM.
    Run {
        /// Which parts run in this process; all where it is missing.
        #[arg(long, value_delimiter = ',', value_name = "ROLE,…")]
        roles: Vec<Role>,
    },
    /// Brings the schema of MySQL up to date.
    Migrate {
        /// Makes the database first where it is missing.
        #[arg(long)]
        create_database: bool,
    },
    /// Makes the Kafka topic where it is missing, or gives it more partitions.
    Topics(topics::Topics),
    /// Shows and steers what waits to be published.
    #[command(subcommand)]
    Outbox(Outbox),
    /// Exits 0 if the worker on this host is ready.
    Health,
}

/// Who does it, as `operator_log` will say.
#[derive(Args)]
struct Actor {
    /// Who does it, for the log of what operators did; at most 128 characters.
    #[arg(long = "actor", env = "USER", hide_env_values = true, default_value = "unknown", value_name = "NAME")]
    name: String,
}

impl Actor {
    fn name(&self) -> anyhow::Result<&str> {
        ensure!((1..=128).contains(&self.name.chars().count()), "--actor: 1 to 128 characters");
        Ok(&self.name)
    }
}

impl Arguments {
    pub(crate) async fn execute(self) -> anyhow::Result<ExitCode> {
        let config = Config::load(self.config.as_deref())?;
        match self.command {
            Command::Run { roles } => run(config, &roles).await?,
            Command::Migrate { create_database } => {
                database::migrate(&config.database, create_database).await?;
                say(&format!("the schema of {} is up to date", config.database.name))?;
            }
            Command::Topics(topics) => topics.execute(&config).await?,
            Command::Outbox(outbox) => return outbox.execute(&config).await,
            Command::Health => {
                let ready = probe::is_ready(config.worker.port).context("the worker does not answer")?;
                ensure!(ready, "the worker is not ready");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn run(config: Config, roles: &[Role]) -> anyhow::Result<()> {
    let _telemetry = telemetry::init(&config.telemetry, "worker.log")?;
    let lifecycle = Lifecycle::new();
    lifecycle.stop_on_signals()?;
    let roles = if roles.is_empty() { &Role::ALL } else { roles };
    App::build(config, roles, lifecycle).await?.run().await
}

/// How long a command waits for one answer of MySQL.
const MYSQL_LIMIT: Duration = Duration::from_secs(10);

/// A command waits no longer for MySQL.
async fn limited<T, E>(asked: impl Future<Output = Result<T, E>>) -> anyhow::Result<T>
where
    anyhow::Error: From<E>,
{
    Ok(tokio::time::timeout(MYSQL_LIMIT, asked).await.context("MySQL does not answer")??)
}

async fn connect(config: &Config) -> anyhow::Result<MySqlConnection> {
    let connection = limited(async {
        let mut connection = database::connection(&config.database).await.map_err(database::PinnedError::Read)?;
        database::check_pinned(&mut connection).await?;
        Ok::<_, database::PinnedError>(connection)
    });
    connection.await.context("MySQL")
}

/// Lets the workers look now. Without the bell they look by themselves, a moment later.
async fn ring(config: &Config) {
    if let Ok(redis) = Redis::new(&config.redis) {
        // A ring that is lost costs seconds.
        let _ =
            bell::publish(&redis.with_timeout(Duration::from_secs(1)), &config.redis.prefix, Message::Ownership).await;
    }
}
