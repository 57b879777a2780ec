//! What can be measured, and how much of it.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{bare::Bare, drain, flat, idle, machine::Machine, report::Results, steady};

/// Measures the relay of Sluice.
#[derive(Parser)]
#[command(name = "sluice-bench", version)]
pub(crate) struct Arguments {
    /// Where the results are written as JSON; as tables they go to the standard output.
    #[arg(long, global = true, value_name = "FILE", default_value = "var/bench/results.json")]
    json: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Drains, latencies and what an idle worker asks for.
    Relay(Relay),
    /// Whether the cost of an event depends on the backlog, or on an old read view.
    Flat(Flat),
}

#[derive(Args)]
struct Relay {
    /// Which runs; all where it is missing.
    #[arg(long, value_delimiter = ',', value_name = "RUN,…")]
    only: Vec<Run>,
    /// Of a backlog.
    #[arg(long, default_value_t = 300_000)]
    events: usize,
    /// How many worker processes, one run for each number.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    workers: Vec<usize>,
    /// How often a drain is repeated.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Events a second, one run for each.
    #[arg(long, value_delimiter = ',', default_value = "200,500,1000,2000")]
    rates: Vec<u32>,
    /// Of each run at a steady rate.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// How many connections write at a steady rate.
    #[arg(long, default_value_t = 16)]
    writers: u32,
    /// How long an idle worker is watched.
    #[arg(long, default_value_t = 30)]
    idle_seconds: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Run {
    /// The relay's steps alone, in loops.
    Bare,
    Drain,
    Steady,
    Idle,
}

#[derive(Args)]
struct Flat {
    /// Of the backlogs.
    #[arg(long, value_delimiter = ',', default_value = "30000,300000,1000000")]
    sizes: Vec<usize>,
    /// How often each is drained; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// As `--roles` of the worker takes them; empty means all.
const ROLES: [&str; 2] = ["relay", ""];

impl Arguments {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let mut results = Results { machine: Machine::find().await?, ..Results::default() };
        let measured = match &self.command {
            Command::Relay(relay) => relay.measure(&mut results).await,
            Command::Flat(flat) => flat::run(&flat.sizes, flat.rounds, &mut results.flat).await,
        };
        // Also what was found before a failure.
        if let Some(directory) = self.json.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let json = serde_json::to_vec_pretty(&results)?;
        std::fs::write(&self.json, json).with_context(|| format!("{} cannot be written", self.json.display()))?;
        write!(std::io::stdout(), "{results}").context("standard output")?;
        measured?;
        results.check()
    }
}

impl Relay {
    async fn measure(&self, results: &mut Results) -> anyhow::Result<()> {
        if self.does(Run::Bare) {
            progress("what the machine can do");
            results.bare = Some(Bare::measure(self.events).await?);
        }
        if self.does(Run::Drain) {
            self.drain(results).await?;
        }
        if self.does(Run::Steady) {
            self.keep_steady(results).await?;
        }
        if self.does(Run::Idle) {
            progress("an idle worker");
            results.idle = Some(idle::run(Duration::from_secs(self.idle_seconds)).await?);
        }
        Ok(())
    }

    fn does(&self, run: Run) -> bool {
        self.only.is_empty() || self.only.contains(&run)
    }

    async fn drain(&self, results: &mut Results) -> anyhow::Result<()> {
        for round in 1..=self.rounds {
            for roles in ROLES {
                for workers in &self.workers {
                    progress(&format!("drain {round}: {workers} worker(s), roles {roles:?}"));
                    let plan = drain::Plan { events: self.events, workers: *workers, roles, old_view: false };
                    results.drains.push(drain::run(plan).await?);
                }
            }
        }
        Ok(())
    }

    async fn keep_steady(&self, results: &mut Results) -> anyhow::Result<()> {
        let (seconds, writers) = (self.seconds, self.writers);
        for roles in ROLES {
            for workers in &self.workers {
                for rate in &self.rates {
                    progress(&format!("{rate} events/s: {workers} worker(s), roles {roles:?}"));
                    let plan = steady::Plan { rate: *rate, seconds, writers, workers: *workers, roles };
                    results.steady.push(steady::run(plan).await?);
                }
            }
        }
        Ok(())
    }
}

/// What is done now, for whoever waits.
pub(crate) fn progress(what: &str) {
    // Nobody is left to be told of a failure to tell.
    let _ = writeln!(std::io::stderr(), "{what} ...");
}
