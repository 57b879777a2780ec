//! What a worker asks MySQL while there is nothing to do, by the server's own counter.

use std::time::{Duration, Instant};

use harness::{load::Load, wait};
use serde::Serialize;
use sqlx::{MySqlConnection, Row};

use crate::{stage, worker::Worker};

/// Until it has found that the bell works and waits as long as it will.
const SETTLE: Duration = Duration::from_secs(10);

#[derive(Clone, Serialize)]
pub(crate) struct Idle {
    pub(crate) seconds: f64,
    pub(crate) statements_per_second: f64,
    pub(crate) cpu_percent: f64,
    pub(crate) resident_mib: f64,
}

/// Of the relay alone. Nothing else may use the server meanwhile.
pub(crate) async fn run(duration: Duration) -> anyhow::Result<Idle> {
    let stack = stage::make().await?;
    let worker = Worker::start(&stack.config, "relay")?;
    let mut connection = stack.mysql().await?;
    Load::new(0..1).fill(&mut connection, 1).await?;
    wait::until("the worker drains", async || Ok((stack.outbox_depth().await? == 0).then_some(()))).await?;
    wait::pause(SETTLE).await;
    let (statements, cpu, start) = (statements(&mut connection).await?, worker.usage()?.cpu, Instant::now());
    wait::pause(duration).await;
    let seconds = start.elapsed().as_secs_f64();
    let (usage, more) = (worker.usage()?, self::statements(&mut connection).await?);
    worker.stop().await?;
    stack.discard().await?;
    Ok(Idle {
        seconds,
        // The second question for the counter is one of them.
        statements_per_second: (more - statements - 1.0) / seconds,
        cpu_percent: usage.cpu.saturating_sub(cpu).as_secs_f64() / seconds * 100.0,
        resident_mib: usage.peak_mib(),
    })
}

/// Statements that clients have sent to this server since its start.
async fn statements(connection: &mut MySqlConnection) -> anyhow::Result<f64> {
    let row = sqlx::query("SHOW GLOBAL STATUS LIKE 'Questions'").fetch_one(connection).await?;
    Ok(row.try_get::<String, _>(1)?.parse()?)
}
