//! `make faults-transactional`: workers that publish 50,000 events in transactions are killed ten times.

#![expect(clippy::print_stdout, reason = "the result")]

use anyhow::ensure;
use harness::transactional::{Plan, kill_workers};

/// At least so many of the kills must fall between a commit in Kafka and its delete in MySQL.
const LEAST_BETWEEN: usize = 3;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let plan = Plan { seed: rand::random(), events: 50_000, kills: 10 };
    println!("{plan:?}");
    let report = kill_workers(plan).await?;
    println!("{} of {} kills fell between commit and delete; {:?}", report.between, plan.kills, report.elapsed);
    ensure!(report.between >= LEAST_BETWEEN, "too few kills prove something");
    println!("each event was seen once, each entity in order");
    Ok(())
}
