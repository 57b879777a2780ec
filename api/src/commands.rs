//! What an operator can ask the API's binary to do.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, ensure};
use api::app::{self, App};
use clap::{Parser, Subcommand};
use shared::{config::Config, lifecycle::Lifecycle, probe, telemetry};

/// Serves the REST API and the WebSockets of Sluice.
#[derive(Parser)]
#[command(name = "sluice-api", version)]
pub(crate) struct Arguments {
    /// A YAML file that overrides the compiled-in configuration.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM.
    Serve,
    /// Prints the configuration in force, secrets hidden.
    Config,
    /// Prints the `OpenAPI` document.
    Openapi,
    /// Exits 0 if the API on this host is ready.
    Health,
}

impl Arguments {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let config = Config::load(self.config.as_deref())?;
        match self.command {
            Command::Serve => {
                let _telemetry = telemetry::init(&config.telemetry, "app.log")?;
                let lifecycle = Lifecycle::new();
                lifecycle.stop_on_signals()?;
                App::build(config, lifecycle).await?.run().await
            }
            Command::Config => say(&config.to_yaml()?),
            Command::Openapi => say(&serde_json::to_string_pretty(&app::openapi(&config).await?)?),
            Command::Health => {
                let ready = probe::is_ready(config.server.port).context("the API does not answer")?;
                ensure!(ready, "the API is not ready");
                Ok(())
            }
        }
    }
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).context("standard output")
}
