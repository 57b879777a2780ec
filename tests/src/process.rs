//! The real binaries, for tests that kill them.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use shared::config::{Config, Delivery};
use tokio::process::{Child, Command};
use worker::app::Role;

use crate::wait;

/// A process of its own; killed when it is dropped.
pub struct Process {
    child: Child,
    pub port: u16,
}

impl Process {
    /// Starts `sluice-api serve`, ready.
    pub async fn api(config: &Config) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = command("sluice-api", config)?;
        command.arg("serve").env("SLUICE__SERVER__PORT", port.to_string());
        Self::start(command, port).await
    }

    /// Starts `sluice-worker run`, ready.
    pub async fn worker(config: &Config) -> anyhow::Result<Self> {
        Self::worker_of(config, &Role::ALL).await
    }

    /// As [`worker`](Self::worker), of these roles.
    pub async fn worker_of(config: &Config, roles: &[Role]) -> anyhow::Result<Self> {
        let port = free_port()?;
        let roles: Vec<String> = roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect();
        let mut command = command("sluice-worker", config)?;
        command.args(["run", "--roles", &roles.join(",")]).env("SLUICE__WORKER__PORT", port.to_string());
        Self::start(command, port).await
    }

    async fn start(mut command: Command, port: u16) -> anyhow::Result<Self> {
        let mut process = Self { child: command.spawn()?, port };
        wait::until("the process is ready", async || {
            ensure!(process.child.try_wait()?.is_none(), "the process ended at its start");
            let asked = tokio::task::spawn_blocking(move || shared::probe::is_ready(port)).await?;
            Ok(asked.ok().filter(|ready| *ready))
        })
        .await?;
        Ok(process)
    }

    /// As `kill -9` does.
    pub async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Sends SIGTERM and waits for the exit status.
    pub async fn terminate(mut self) -> anyhow::Result<std::process::ExitStatus> {
        self.signal("TERM").await?;
        Ok(tokio::time::timeout(wait::DEADLINE, self.child.wait()).await??)
    }

    /// Stops it where it is, until [`thaw`](Self::thaw).
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.signal("STOP").await
    }

    pub async fn thaw(&self) -> anyhow::Result<()> {
        self.signal("CONT").await
    }

    async fn signal(&self, name: &str) -> anyhow::Result<()> {
        let killed = Command::new("kill").args(["-s", name, &self.pid()?.to_string()]).status().await?;
        ensure!(killed.success(), "no signal could be sent");
        Ok(())
    }

    fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the process has ended already")
    }

    /// What it holds in memory, and the most that it ever held.
    pub fn memory(&self) -> anyhow::Result<Memory> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
            anyhow::Ok(line.trim_end_matches(" kB").trim().parse()?)
        };
        Ok(Memory { resident_kib: kib("VmRSS:")?, peak_kib: kib("VmHWM:")? })
    }
}

/// As Linux counts it.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident_kib: u64,
    pub peak_kib: u64,
}

/// A binary of this workspace with the stack's configuration in its environment.
pub fn command(binary: &str, config: &Config) -> anyhow::Result<Command> {
    let path = binaries()?.join(binary);
    ensure!(path.exists(), "{} is missing: cargo build --workspace --bins", path.display());
    let mut command = Command::new(path);
    command
        .env("SLUICE__DATABASE__HOST", &config.database.host)
        .env("SLUICE__DATABASE__PORT", config.database.port.to_string())
        .env("SLUICE__DATABASE__NAME", &config.database.name)
        .env("SLUICE__DATABASE__USERNAME", &config.database.username)
        .env("SLUICE__DATABASE__PASSWORD", config.database.password.expose_secret())
        .env("SLUICE__DATABASE__TRANSACTION_TIMEOUT_MS", config.database.transaction_timeout_ms.to_string())
        .env("SLUICE__HTTP__REQUEST_TIMEOUT_MS", config.http.request_timeout_ms.to_string())
        .env("SLUICE__REDIS__URL", config.redis.url.expose_secret())
        .env("SLUICE__REDIS__PREFIX", &config.redis.prefix)
        .env("SLUICE__KAFKA__BROKERS", &config.kafka.brokers)
        .env("SLUICE__KAFKA__TOPIC", &config.kafka.topic)
        .env("SLUICE__KAFKA__GROUP_PREFIX", &config.kafka.group_prefix)
        .env("SLUICE__KAFKA__PROGRESS_TOPIC", &config.kafka.progress_topic)
        .env("SLUICE__KAFKA__DELIVERY", delivery(config.kafka.delivery))
        .env("SLUICE__MONGODB__URI", config.mongodb.uri.expose_secret())
        .env("SLUICE__MONGODB__DATABASE", &config.mongodb.database)
        .env("SLUICE__OUTBOX__LEASE_MS", config.outbox.lease_ms.to_string())
        .env("SLUICE__TELEMETRY__LOG_DIRECTORY", &config.telemetry.log_directory)
        .env("SLUICE__TELEMETRY__LOG_FILTER", "warn,rdkafka=off,librdkafka=off")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(command)
}

fn delivery(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::AtLeastOnce => "at_least_once",
        Delivery::Transactional => "transactional",
    }
}

/// `target/<profile>`, where this process's own binary lies; a test lies below it in `deps`, an example in `examples`.
fn binaries() -> anyhow::Result<PathBuf> {
    let this = std::env::current_exe()?;
    let directory = this.parent().context("this binary lies nowhere")?;
    let is_below = directory.ends_with("deps") || directory.ends_with("examples");
    let profile = if is_below { directory.parent() } else { Some(directory) };
    Ok(profile.context("this binary lies nowhere")?.to_owned())
}

/// A port that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The repository's root.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
