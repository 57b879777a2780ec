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

#[derive(Clone)]
pub(super) struct Authority(Arc<State>);

struct State {
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
        let authority = Self(Arc::new(State {
            until_ms: AtomicU64::new(0),
            gained: Notify::new(),
            finished: CancellationToken::new(),
            released: CancellationToken::new(),
        }));
        let keeper = authority.clone();
        lifecycle.spawn(async move {
            let mut connection = None;
            while keeper
                .0
                .finished
                .run_until_cancelled(keeper.renew(&lease, &settings, &mut connection))
                .await
                .is_some()
            {}
            keeper.0.until_ms.store(0, Ordering::Release);
            let released = async {
                match &mut connection {
                    Some(connection) => lease.release(connection).await,
                    None => Ok(()),
                }
            };
            if !matches!(tokio::time::timeout(lease.duration, released).await, Ok(Ok(()))) {
                tracing::warn!("the outbox lease was not given back; it runs out by itself");
            }
            keeper.0.released.cancel();
        });
        authority
    }

    pub(super) fn holds(&self) -> bool {
        boottime_ms() < self.0.until_ms.load(Ordering::Acquire)
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
        loop {
            let remaining = self.0.until_ms.load(Ordering::Acquire).saturating_sub(boottime_ms());
            if remaining == 0 {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "ended from outside: its caller also waits for the stop")]
            tokio::time::sleep(Duration::from_millis(remaining)).await;
        }
    }

    /// Says that nothing will be done with the authority any more, and waits until the lease is given back.
    pub(super) async fn released(&self) {
        self.0.finished.cancel();
        self.0.released.cancelled().await;
    }

    /// Renews once, or tries to gain the lease, and waits until the next time.
    async fn renew(&self, lease: &Lease, settings: &config::Database, connection: &mut Option<MySqlConnection>) {
        let interval = lease.duration / RENEWALS;
        let before_ms = boottime_ms();
        match tokio::time::timeout(interval, Self::acquire(lease, settings, connection)).await {
            Ok(Ok(true)) => {
                let duration = lease.duration - lease.duration / MARGIN_DIVISOR;
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                if !self.holds() {
                    tracing::info!(worker = lease.worker, "the outbox lease is held by this worker");
                }
                self.0.until_ms.store(before_ms.saturating_add(duration_ms), Ordering::Release);
                self.0.gained.notify_waiters();
            }
            Ok(Ok(false)) => tracing::debug!("the outbox lease is held by another worker"),
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

    async fn acquire(
        lease: &Lease,
        settings: &config::Database,
        connection: &mut Option<MySqlConnection>,
    ) -> sqlx::Result<bool> {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(database::connection(settings).await?),
        };
        lease.acquire(connection).await
    }
}

fn boottime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000 + now.tv_nsec.cast_unsigned() / 1_000_000
}
