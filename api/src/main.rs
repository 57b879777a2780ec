//! `sluice-api`: see `--help`.

mod commands;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    shared::process::run("sluice-api", commands::Arguments::parse().execute())
}
