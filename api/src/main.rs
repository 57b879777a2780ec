//! `sluice-api`: see `--help`.

mod commands;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    match commands::Arguments::parse().execute().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice-api: {}", shared::telemetry::one_line(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
