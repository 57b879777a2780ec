//! `sluice-worker`: see `--help`.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    shared::process::run("sluice-worker", commands::Arguments::parse().execute())
}
