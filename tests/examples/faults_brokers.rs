//! What happens to Kafka while three workers publish: a leader is killed, all brokers are restarted in a row, and the
//! only broker is away for minutes.
//!
//! `make faults-brokers`, or one of it: the argument is `change` or `away`. As in `faults_relay` the changes go through the store in this process.

#![expect(clippy::print_stdout, reason = "the result")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::{
    fleet::{Fleet, NODES, Outcome},
    process::Memory,
    seed::seed,
    steady::Pace,
    wait,
};
use shared::config::Delivery;

const LEASE: Duration = Duration::from_secs(3);
const AWAY: Duration = Duration::from_mins(3);
/// Between what happens.
const CALM: Duration = Duration::from_secs(5);
/// What a worker may hold more after minutes without Kafka than soon after it went away.
const GROWTH_KIB: u64 = 8 * 1024;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let pace = Pace { seed: seed("faults_brokers"), changes_per_second: 300, users: 300 };
    println!("three workers with leases of {LEASE:?}, {} changes/s of {} users", pace.changes_per_second, pace.users);
    let asked = std::env::args().nth(1);
    if asked.as_deref() != Some("away") {
        brokers_change(pace).await?;
    }
    if asked.as_deref() != Some("change") {
        broker_away(pace).await?;
    }
    Ok(())
}

/// Three brokers, of which two must have a record.
async fn brokers_change(pace: Pace) -> anyhow::Result<()> {
    let fleet = Fleet::start_replicated(LEASE).await?;
    let (waits, outcome) = fleet
        .judge(pace, async |fleet| {
            wait::pause(CALM).await;
            let mut waits = vec![kill_leader(fleet).await?];
            for node in NODES {
                wait::pause(CALM).await;
                fleet.servers.down(node).await?;
                waits.push(fleet.longest_wait().await?);
                fleet.servers.up(&[node]).await?;
                fleet.in_sync().await?;
            }
            wait::pause(CALM).await;
            Ok(waits)
        })
        .await?;
    println!("three brokers: {outcome}");
    let (killed, stopped) = (waits[0], &waits[1..]);
    println!(
        "  an event waited at the most {killed:.1?} when the leader was killed, {stopped:.1?} as each was stopped"
    );
    outcome.verdict.check()
}

/// How long an event waited at the most.
async fn kill_leader(fleet: &mut Fleet) -> anyhow::Result<Duration> {
    fleet.in_sync().await?;
    let leader = fleet.leader().await?;
    fleet.servers.kill(leader).await?;
    let longest = fleet.longest_wait().await?;
    fleet.servers.up(&[leader]).await?;
    fleet.in_sync().await?;
    Ok(longest)
}

/// What the workers held while Kafka was away, and how long the backlog took afterwards.
struct Away {
    /// Of each worker soon after Kafka went away, and before it came back.
    memory: Vec<(Memory, Memory)>,
    backlog: i64,
    drained_in: Duration,
}

async fn broker_away(pace: Pace) -> anyhow::Result<()> {
    let fleet = Fleet::start(LEASE, Delivery::AtLeastOnce).await?;
    let (away, outcome) = fleet.judge(pace, async |fleet| without_kafka(fleet).await).await?;
    let Away { memory, backlog, drained_in } = &away;
    println!("the broker away for {AWAY:?}: {outcome}");
    println!("  {backlog} events waited and were drained {drained_in:.1?} after it was back");
    for (soon, late) in memory {
        let (soon, late, peak) = (soon.resident_kib / 1024, late.resident_kib / 1024, late.peak_kib / 1024);
        println!(
            "  a worker held {soon} MiB soon after it went, {late} MiB before it came back, {peak} MiB at the most"
        );
    }
    judge_away(&away, &outcome)
}

async fn without_kafka(fleet: &Fleet) -> anyhow::Result<Away> {
    wait::pause(CALM).await;
    let memory = |fleet: &Fleet| {
        fleet.members.iter().map(|member| member.process.memory()).collect::<anyhow::Result<Vec<Memory>>>()
    };
    fleet.servers.kill("kafka").await?;
    let at = Instant::now();
    wait::pause(AWAY / 6).await;
    let soon = memory(fleet)?;
    wait::pause(AWAY.saturating_sub(at.elapsed())).await;
    let late = memory(fleet)?;
    let backlog = fleet.stack.outbox_depth().await?;
    println!("  {backlog} events wait, {late:?}");
    fleet.servers.up(&["kafka"]).await?;
    let back = Instant::now();
    wait::within(AWAY, "the backlog is drained", async || {
        Ok((fleet.stack.outbox_depth().await? < i64::from(u8::MAX)).then_some(()))
    })
    .await?;
    println!("  drained after {:.1?}", back.elapsed());
    Ok(Away { memory: soon.into_iter().zip(late).collect(), backlog, drained_in: back.elapsed() })
}

fn judge_away(away: &Away, outcome: &Outcome) -> anyhow::Result<()> {
    outcome.verdict.check()?;
    for (soon, late) in &away.memory {
        let grown = late.resident_kib.saturating_sub(soon.resident_kib);
        ensure!(grown < GROWTH_KIB, "a worker grew by {grown} KiB while Kafka was away");
    }
    Ok(())
}
