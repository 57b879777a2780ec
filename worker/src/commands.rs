//! What an operator can ask the worker's binary to do.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use shared::{config::Config, database, kafka, lifecycle::Lifecycle, probe, telemetry};
use worker::app::{App, Role};

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
    /// Makes the Kafka topic where it is missing.
    Topics,
    /// Exits 0 if the worker on this host is ready.
    Health,
}

impl Arguments {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let config = Config::load(self.config.as_deref())?;
        match self.command {
            Command::Run { roles } => run(config, &roles).await,
            Command::Migrate { create_database } => {
                database::migrate(&config.database, create_database).await?;
                say(&format!("the schema of {} is up to date", config.database.name))
            }
            Command::Topics => {
                let made = kafka::create_topic(&config.kafka).await?;
                let partitions = kafka::find_topic(&config.kafka).await?;
                let state = if made { "was made" } else { "exists" };
                say(&format!("the topic {} {state}, with {partitions} partitions", config.kafka.topic))
            }
            Command::Health => {
                let ready = probe::is_ready(config.worker.port).context("the worker does not answer")?;
                ensure!(ready, "the worker is not ready");
                Ok(())
            }
        }
    }
}

async fn run(config: Config, roles: &[Role]) -> anyhow::Result<()> {
    let _telemetry = telemetry::init(&config.telemetry, "worker.log")?;
    let lifecycle = Lifecycle::new();
    lifecycle.stop_on_signals()?;
    let roles = if roles.is_empty() { &Role::ALL } else { roles };
    App::build(config, roles, lifecycle).await?.run().await
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output")
}
