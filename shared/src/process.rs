//! The frame of a binary's `main`: its runtime, its exit code, its one line of an error.

use std::{
    io::Write,
    process::{ExitCode, Termination},
    time::Duration,
};

use tokio::runtime::Builder;

use crate::telemetry::one_line;

/// What still blocks a thread when everything else has ended may take so long. It holds nothing that must be kept.
const BLOCKED_LIMIT: Duration = Duration::from_secs(2);

/// Runs a command to its end. What it answers with is the exit code; a failure's is 1.
pub fn run<T, E>(name: &str, command: impl Future<Output = Result<T, E>>) -> ExitCode
where
    T: Termination,
    E: AsRef<dyn std::error::Error + Send + Sync + 'static>,
{
    let ended = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(command);
            runtime.shutdown_timeout(BLOCKED_LIMIT);
            ended.map_err(|error| one_line(error.as_ref()))
        }
        Err(error) => Err(error.to_string()),
    };
    match ended {
        Ok(ended) => ended.report(),
        Err(error) => {
            // Nobody is left to be told of a failure to tell.
            let _ = writeln!(std::io::stderr(), "{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
