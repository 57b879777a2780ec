//! The life of a process: what runs in it is tracked, and hears when it must stop.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Shared by everything that runs in one process (in tests: in one app).
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    stopping: CancellationToken,
    tracker: TaskTracker,
}

impl Lifecycle {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.tracker.spawn(task)
    }

    #[must_use]
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Tells everything to stop taking work. May be called again.
    pub fn stop(&self) {
        self.stopping.cancel();
        self.tracker.close();
    }

    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Ends when [`stop`](Self::stop) was called.
    pub async fn stopped(&self) {
        self.stopping.cancelled().await;
    }

    /// Waits, but not past a stop.
    pub async fn pause(&self, duration: Duration) {
        let _ = tokio::time::timeout(duration, self.stopped()).await;
    }

    /// Runs a future until it ends or the process must stop; None where it was stopped.
    pub async fn unless_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        self.stopping.run_until_cancelled(future).await
    }

    /// Waits until everything has ended; false if something still runs after `grace`.
    pub async fn drained(&self, grace: Duration) -> bool {
        tokio::time::timeout(grace, self.tracker.wait()).await.is_ok()
    }

    /// Stops at the first SIGTERM or SIGINT and ends the process at the second.
    ///
    /// # Errors
    /// If the process may not listen for signals.
    pub fn stop_on_signals(&self) -> std::io::Result<()> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let lifecycle = self.clone();
        // Not on the tracker: it listens for as long as the process lives.
        #[expect(clippy::disallowed_methods, reason = "it outlives what the tracker waits for")]
        tokio::spawn(async move { lifecycle.listen(terminate, interrupt).await });
        Ok(())
    }

    async fn listen(&self, mut terminate: Signal, mut interrupt: Signal) {
        for round in 1.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if round > 1 {
                std::process::exit(1);
            }
            tracing::info!("stopping");
            self.stop();
        }
    }
}
