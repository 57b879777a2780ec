//! What an operator types: the worker's binary, run to its end.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use shared::config::Config;

use crate::{process::command, wait};

/// What a command ended with.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub output: String,
    pub error: String,
}

impl Ended {
    /// The JSON of each line.
    pub fn json(&self) -> anyhow::Result<Vec<Value>> {
        self.output.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

/// Runs `sluice-worker` with these arguments.
pub async fn worker(config: &Config, arguments: &[&str]) -> anyhow::Result<Ended> {
    let running = command("sluice-worker", config)?.env("USER", "ops").args(arguments).output();
    let ended = tokio::time::timeout(2 * wait::DEADLINE, running).await.context("the command does not end")??;
    Ok(Ended {
        code: ended.status.code().context("the command was killed")?,
        output: String::from_utf8(ended.stdout)?,
        error: String::from_utf8(ended.stderr)?,
    })
}

/// As [`worker`], where it must succeed.
pub async fn done(config: &Config, arguments: &[&str]) -> anyhow::Result<Ended> {
    let ended = worker(config, arguments).await?;
    ensure!(ended.code == 0, "{arguments:?}: {ended:?}");
    Ok(ended)
}

/// As [`worker`], where it must be refused; answers with the one line that says why.
pub async fn refused(config: &Config, arguments: &[&str]) -> anyhow::Result<String> {
    let ended = worker(config, arguments).await?;
    ensure!(ended.code == 1 && ended.error.lines().count() == 1, "{arguments:?}: {ended:?}");
    Ok(ended.error)
}

/// `outbox status --json`, with the exit code.
pub async fn status(config: &Config) -> anyhow::Result<(i32, Value)> {
    let ended = worker(config, &["outbox", "status", "--json"]).await?;
    let status = ended.json()?.pop().with_context(|| format!("{ended:?}"))?;
    Ok((ended.code, status))
}

/// Waits until the status is so.
pub async fn status_is(config: &Config, what: &str, is_so: impl Fn(i32, &Value) -> bool) -> anyhow::Result<Value> {
    wait::until(what, async || {
        let (code, shown) = status(config).await?;
        if is_so(code, &shown) {
            return Ok(Some(shown));
        }
        wait::pause(Duration::from_millis(100)).await;
        Ok(None)
    })
    .await
}
