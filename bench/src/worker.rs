//! The worker as a process of its own, and what it takes of the machine.

use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use harness::{process, wait};
use shared::config::Config;
use tokio::process::{Child, Command};

/// Of a tick in `/proc/PID/stat`: Linux tells them in hundredths of a second on every machine.
const TICK: Duration = Duration::from_millis(10);

/// Killed when it is dropped.
pub(crate) struct Worker {
    child: Child,
    id: u32,
    pub(crate) started: SystemTime,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// In user mode and in the kernel.
    pub(crate) cpu: Duration,
    pub(crate) peak_bytes: u64,
}

impl Usage {
    #[expect(clippy::cast_precision_loss, reason = "a process has less than 2^52 bytes")]
    pub(crate) fn peak_mib(self) -> f64 {
        self.peak_bytes as f64 / f64::from(1 << 20)
    }
}

impl Worker {
    /// Starts `sluice-worker run`, and does not wait until it is ready. An empty list means all roles.
    pub(crate) fn start(config: &Config, roles: &str) -> anyhow::Result<Self> {
        let mut command = process::command("sluice-worker", config)?;
        command.arg("run").env("SLUICE__WORKER__PORT", process::free_port()?.to_string());
        if !roles.is_empty() {
            command.args(["--roles", roles]);
        }
        let started = SystemTime::now();
        let child = command.spawn()?;
        let id = child.id().context("the worker ended at its start")?;
        Ok(Self { child, id, started })
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let read = |name| std::fs::read_to_string(format!("/proc/{}/{name}", self.id));
        let (stat, status) = (read("stat")?, read("status")?);
        Ok(Usage { cpu: cpu(&stat).context("/proc/PID/stat")?, peak_bytes: peak(&status).context("/proc/PID/status")? })
    }

    /// Ends it as an orchestrator does.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let killed = Command::new("kill").args(["-s", "TERM", &self.id.to_string()]).status().await?;
        ensure!(killed.success(), "no signal could be sent");
        let status = tokio::time::timeout(wait::DEADLINE, self.child.wait()).await??;
        ensure!(status.success(), "the worker ended with {status}");
        Ok(())
    }
}

/// User and system time, the 14th and 15th field. The name in parentheses may hold blanks.
fn cpu(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u32 = fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}

/// `VmHWM:   123 kB`.
fn peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
