//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Long enough for a loaded machine of two cores; nothing waits that long where all is well.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// Asks again and again until there is an answer.
///
/// # Errors
/// If there is none by [`DEADLINE`].
pub async fn until<T>(what: &str, ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    within(DEADLINE, what, ask).await
}

/// As [`until`], for what takes its time.
///
/// # Errors
/// If there is no answer by then.
pub async fn within<T>(
    limit: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        pause(Duration::from_millis(20)).await;
    }
    bail!("still not true after {limit:?}: {what}")
}

/// Does so many rounds that prove something, each with a seed of its own. A round answers whether it did.
pub async fn rounds(count: usize, mut round: impl AsyncFnMut(u64) -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let mut proved = 0;
    while proved < count {
        if round(rand::random()).await? {
            proved += 1;
        }
    }
    Ok(())
}

/// For what takes a while by its nature, such as an outage of a given length. Not for luck.
#[expect(clippy::disallowed_methods, reason = "tests have no lifecycle of their own")]
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
