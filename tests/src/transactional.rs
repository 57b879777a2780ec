//! Kills workers that publish in transactions: a consumer that reads committed records sees each event once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use anyhow::ensure;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use shared::config::{Config, Delivery};
use sqlx::Connection;
use uuid::Uuid;

use crate::{dump, load::Load, process::Process, stack::Stack, wait};

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub events: usize,
    pub kills: usize,
}

#[derive(Debug)]
pub struct Report {
    /// How many kills fell between the commit of a transaction in Kafka and the delete of its rows in MySQL: rows were
    /// there whose events a consumer could see.
    pub between: usize,
    pub elapsed: Duration,
}

/// # Errors
/// If an event is lost, seen twice or out of order.
pub async fn kill_workers(plan: Plan) -> anyhow::Result<Report> {
    let mut config = Config::load(None)?;
    Stack::rename(&mut config);
    config.kafka.delivery = Delivery::Transactional;
    let stack = Stack::with_config(config).await?;
    let mut load = Load::new(0..1_000);
    load.fill(&mut stack.mysql().await?, plan.events).await?;
    let (start, mut random, mut between) = (Instant::now(), StdRng::seed_from_u64(plan.seed), 0);
    for kill in 0..plan.kills {
        let left = plan.events * (plan.kills - kill) / (plan.kills + 1);
        between += usize::from(kill_one(&stack, left, kill % 2 == 0, &mut random).await? > 0);
    }
    let worker = stack.start_worker(&[worker::app::Role::Relay]).await?;
    wait::until("the outbox is empty", async || Ok((stack.outbox_depth().await? == 0).then_some(()))).await?;
    let elapsed = start.elapsed();
    worker.stop().await?;
    check(&stack, &load, plan.events).await?;
    stack.finish().await?;
    Ok(Report { between, elapsed })
}

/// Kills a worker when so many rows are left, or while it waits to delete. Answers with how many rows were committed to
/// Kafka and not deleted.
async fn kill_one(stack: &Stack, left: usize, hold: bool, random: &mut StdRng) -> anyhow::Result<usize> {
    let mut holder = stack.mysql().await?;
    let worker = Process::worker(&stack.config).await?;
    if !hold {
        let left = left.saturating_sub(random.random_range(0..500));
        wait::until("it has drained some", async || {
            Ok((usize::try_from(stack.outbox_depth().await?)? <= left).then_some(()))
        })
        .await?;
        worker.kill().await?;
        return committed(stack).await;
    }
    // What is locked can be read and published, and not deleted.
    let mut transaction = holder.begin().await?;
    sqlx::query("SELECT id FROM outbox_events FOR UPDATE").execute(&mut *transaction).await?;
    let count = wait::until("something is committed to Kafka", async || {
        Ok(Some(committed(stack).await?).filter(|count| *count > 0))
    })
    .await?;
    worker.kill().await?;
    transaction.rollback().await?;
    Ok(count)
}

/// How many rows of the outbox a consumer can see already.
async fn committed(stack: &Stack) -> anyhow::Result<usize> {
    let rows: Vec<Uuid> =
        sqlx::query_scalar("SELECT event_id FROM outbox_events").fetch_all(&mut stack.mysql().await?).await?;
    let seen: BTreeSet<Uuid> = dump::topic(&stack.config.kafka).await?.into_iter().map(|it| it.event.id).collect();
    Ok(rows.iter().filter(|id| seen.contains(id)).count())
}

async fn check(stack: &Stack, load: &Load, events: usize) -> anyhow::Result<()> {
    let mut seen: HashMap<Uuid, usize> = HashMap::new();
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for record in dump::topic(&stack.config.kafka).await? {
        *seen.entry(record.event.id).or_default() += 1;
        let last = versions.entry(record.event.entity_id.to_string()).or_default();
        let version = record.event.version.0;
        ensure!(version == *last + 1, "{} came with version {version} behind {last}", record.key);
        *last = version;
    }
    let twice = seen.values().filter(|count| **count > 1).count();
    ensure!(twice == 0, "{twice} events were seen twice");
    ensure!(seen.len() == events, "{} of {events} events were seen", seen.len());
    ensure!(versions == load.versions(), "entities are not at their last versions");
    Ok(())
}
