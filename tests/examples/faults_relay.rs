//! Three workers that share one outbox, under 500 changes a second, and all that can happen to a worker.
//!
//! `make faults-relay`. The changes go through the store in this process, and the documents are written here too: so the
//! load does not depend on what a REST API leaves of the processors. Ten seeds, or as many as the argument says; with a
//! second argument, `transactional`, nothing may come twice.

#![expect(clippy::print_stdout, reason = "the result")]

use std::time::Duration;

use harness::{
    fleet::{Fault, Script, run},
    seed::seed,
    steady::Pace,
};
use shared::config::Delivery;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seeds = std::env::args().nth(1).map_or(Ok(10), |count| count.parse::<u64>())?;
    let is_transactional = std::env::args().nth(2).is_some_and(|asked| asked == "transactional");
    let delivery = if is_transactional { Delivery::Transactional } else { Delivery::AtLeastOnce };
    let (first, lease) = (seed("faults_relay"), Duration::from_secs(3));
    println!("three workers with leases of {lease:?}, {delivery:?}, 500 changes/s of 300 users for 60 s");
    let mut reports = Vec::new();
    for seed in first..first + seeds {
        let pace = Pace { seed, changes_per_second: 500, users: 300 };
        let script = Script { pace, delivery, lease, duration: Duration::from_mins(1), calm: Duration::from_secs(3) };
        let report = run(script).await?;
        println!("{report}");
        reports.push(report);
    }
    let worst = |fault| reports.iter().filter_map(|report| report.take_over(fault)).max().unwrap_or_default();
    println!("longest take-over: SIGTERM {:?} (200 ms)", worst(Fault::Terminated).max(worst(Fault::RollingRestart)));
    println!("longest take-over: kill -9 {:?} (lease + 1 s)", worst(Fault::Killed));
    println!("longest take-over: SIGSTOP {:?} (lease + 1 s)", worst(Fault::Frozen));
    println!("longest take-over: MySQL cut {:?} (lease + 1 s)", worst(Fault::WithoutMysql));
    reports.iter().try_for_each(harness::fleet::Report::check)
}
