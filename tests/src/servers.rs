//! Servers of a test's own, to be killed.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use shared::config::Config;
use uuid::Uuid;

use crate::process::root;

/// An instance of `scripts/servers`; thrown away when it is dropped.
pub struct Servers {
    instance: String,
    kafka: KafkaShape,
}

/// How a test's own Kafka is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct KafkaShape {
    /// Three nodes, each with all records, of which two must have one before it is acknowledged.
    pub replicated: bool,
    pub proxied: Option<Proxied>,
    /// It obeys access control lists; what has none is everyone's.
    pub authorizes: bool,
}

/// A second address of the one node, for who is to reach it through a proxy.
#[derive(Clone, Copy, Debug)]
pub struct Proxied {
    /// Where the node listens.
    pub port: u16,
    /// Where clients that came by it are told to find the node: the proxy's.
    pub advertised: u16,
}

impl Servers {
    /// Starts the named servers and writes their addresses over those of the configuration.
    pub async fn start(servers: &[&'static str], config: &mut Config) -> anyhow::Result<Self> {
        Self::start_with(KafkaShape::default(), servers, config).await
    }

    /// As [`start`](Self::start), with a Kafka that is not the usual one.
    pub async fn start_with(kafka: KafkaShape, servers: &[&'static str], config: &mut Config) -> anyhow::Result<Self> {
        let id = Uuid::now_v7().simple().to_string();
        let this = Self { instance: format!("t-{}", &id[id.len() - 12..]), kafka };
        this.up(servers).await?;
        let printed = this.run(&["env"]).await?;
        let environment = printed.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let environment = environment.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let addresses = Config::from_sources(None, &environment)?;
        for server in servers {
            match *server {
                "mysql" => {
                    config.database.host.clone_from(&addresses.database.host);
                    config.database.port = addresses.database.port;
                }
                "redis" => config.redis.url = addresses.redis.url.clone(),
                "kafka" => config.kafka.brokers.clone_from(&addresses.kafka.brokers),
                other => anyhow::bail!("no test has a {other} of its own"),
            }
        }
        Ok(this)
    }

    /// Starts what does not run.
    pub async fn up(&self, servers: &[&'static str]) -> anyhow::Result<()> {
        self.run(&[&["up"], servers].concat()).await.map(|_| ())
    }

    /// As `kill -9` does.
    pub async fn kill(&self, server: &'static str) -> anyhow::Result<()> {
        self.run(&["kill", server]).await.map(|_| ())
    }

    /// As SIGTERM does; its data is kept.
    pub async fn down(&self, server: &'static str) -> anyhow::Result<()> {
        self.run(&["down", server]).await.map(|_| ())
    }

    /// Runs one of `scripts/bin` against them.
    pub async fn client(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(root().join("scripts/bin").join(name));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("SLUICE_INSTANCE", &self.instance)
            .env("SLUICE_SERVERS", "native");
        output(command).await
    }

    async fn run(&self, arguments: &[&'static str]) -> anyhow::Result<String> {
        output(self.command(arguments)).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(root().join("scripts/servers"));
        command
            .args(["--instance", &self.instance])
            .args(arguments)
            .stdin(Stdio::null())
            .env("SLUICE_SERVERS", "native");
        if self.kafka.replicated {
            command.args(["--kafka-nodes", "3"]);
        }
        if let Some(Proxied { port, advertised }) = self.kafka.proxied {
            command.env("SLUICE_KAFKA_PROXIED", format!("{port}:{advertised}"));
        }
        if self.kafka.authorizes {
            command.env("SLUICE_KAFKA_AUTHORIZES", "1");
        }
        command
    }
}

async fn output(mut command: Command) -> anyhow::Result<String> {
    let name = command.get_program().to_owned();
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "{}: {}", name.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no text", name.display()))
}

impl Drop for Servers {
    fn drop(&mut self) {
        if let Err(error) = self.command(&["reset"]).stderr(Stdio::null()).status() {
            eprintln!("the servers of {} may still run: {error}", self.instance);
        }
    }
}
