//! `sluice-bench`: what the relay does on this machine, beside what the machine can do at all.
//!
//! The worker runs as a process of its own, on the servers that the environment names. `make bench-relay` brings
//! servers, builds for release and runs it; `docs/benchmarks.md` explains what is measured.

mod bare;
mod commands;
mod drain;
mod flat;
mod idle;
mod latency;
mod machine;
mod report;
mod stage;
mod steady;
mod topic;
mod worker;

use std::process::ExitCode;

use clap::Parser;
use commands::Arguments;

fn main() -> ExitCode {
    shared::process::run("sluice-bench", async { Arguments::parse().execute().await })
}
