//! The right to drain, kept by renewing the lease on a connection of its own.
//!
//! Authority counts from the instant before the renewing statement was sent, so it ends before the lease does,
//! whatever the statement took; and by `CLOCK_BOOTTIME`, which goes on while the machine is suspended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use shared::{config, database, lifecycle::Lifecycle, outbox::Lease, telemetry::one_line};
use sqlx::MySqlConnection;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Of the lease's duration, so long before its end the authority ends: for what is between a check and its effect.
const MARGIN_DIVISOR: u32 = 5;
/// The lease is renewed so many times in its duration.
const RENEWALS: u32 = 4;

/// How often a wait for its end looks.
const LOOK: Duration = Duration::from_millis(100);

/// Dropping it gives the lease back, also where the relay's code panicked.
pub(super) struct Authority(Arc<State>);

struct State {
    lease: Lease,
    settings: config::Database,
    /// In milliseconds of `CLOCK_BOOTTIME`; 0 where there is none.
    until_ms: AtomicU64,
    gained: Notify,
    /// The relay will act no more; the lease can be given back.
    finished: CancellationToken,
    released: CancellationToken,
}

impl Authority {
    /// Begins to keep the lease, in a task of its own.
    pub(super) fn keep(lease: Lease, settings: config::Database, lifecycle: &Lifecycle) -> Self {
        let state = Arc::new(State {
            lease,
            settings,
            until_ms: AtomicU64::new(0),
            gained: Notify::new(),
            finished: CancellationToken::new(),
            released: CancellationToken::new(),
        });
        let keeper = state.clone();
        lifecycle.spawn(async move {
            let mut connection = None;
            let renewing = async {
                loop {
                    keeper.renew(&mut connection).await;
                }
            };
            // Cut off wherever it is: the lease is given back on another connection.
            keeper.finished.run_until_cancelled(renewing).await;
            keeper.give_back().await;
            keeper.released.cancel();
        });
        Self(state)
    }

    pub(super) fn holds(&self) -> bool {
        self.0.holds()
    }

    /// Ends when this worker may drain.
    pub(super) async fn gained(&self) {
        loop {
            let gained = self.0.gained.notified();
            if self.holds() {
                return;
            }
            gained.await;
        }
    }

    /// Ends when this worker may not drain any more.
    pub(super) async fn lost(&self) {
        while self.holds() {
            // In short steps: the runtime's clock stands still while the machine is suspended.
            #[expect(clippy::disallowed_methods, reason = "its caller also waits for the stop")]
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Says that nothing will be done with the authority any more, and waits until the lease is given back.
    pub(super) async fn released(&self) {
        self.0.finished.cancel();
        self.0.released.cancelled().await;
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.0.finished.cancel();
    }
}

impl State {
    fn holds(&self) -> bool {
        boottime_ms() < self.until_ms.load(Ordering::Acquire)
    }

    /// Renews once, or tries to gain the lease, and waits until the next time.
    async fn renew(&self, connection: &mut Option<MySqlConnection>) {
        let interval = self.lease.duration / RENEWALS;
        let before_ms = boottime_ms();
        match tokio::time::timeout(interval, self.acquire(connection)).await {
            Ok(Ok(true)) => {
                if !self.holds() {
                    tracing::info!(worker = self.lease.worker, "the outbox lease is held by this worker");
                }
                let authority = self.lease.duration / MARGIN_DIVISOR * (MARGIN_DIVISOR - 1);
                let authority_ms = u64::try_from(authority.as_millis()).unwrap_or(u64::MAX);
                self.until_ms.store(before_ms.saturating_add(authority_ms), Ordering::Release);
                self.gained.notify_waiters();
            }
            // Another has it, perhaps because the database's clock was set.
            Ok(Ok(false)) => self.until_ms.store(0, Ordering::Release),
            Ok(Err(error)) => {
                tracing::warn!(error = one_line(&error), "the outbox lease could not be renewed");
                *connection = None;
            }
            // The connection is in the middle of an answer and of no more use.
            Err(_) => *connection = None,
        }
        #[expect(clippy::disallowed_methods, reason = "the caller ends it when the relay has finished")]
        tokio::time::sleep(interval).await;
    }

    async fn acquire(&self, connection: &mut Option<MySqlConnection>) -> sqlx::Result<bool> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(database::connection(&self.settings).await?),
        };
        self.lease.acquire(connection).await
    }

    async fn give_back(&self) {
        self.until_ms.store(0, Ordering::Release);
        let release = async {
            let mut connection = database::connection(&self.settings).await?;
            self.lease.release(&mut connection).await
        };
        if !matches!(tokio::time::timeout(self.lease.duration, release).await, Ok(Ok(()))) {
            tracing::warn!("the outbox lease was not given back; it runs out by itself");
        }
    }
}

fn boottime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000 + now.tv_nsec.cast_unsigned() / 1_000_000
}
