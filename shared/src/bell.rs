//! The bell: after a commit the relay is told which lanes have something.
//!
//! Best effort and without data: a lost ring costs the relay's poll interval, never an event.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::sync::Notify;

use crate::{lane::Lane, lifecycle::Lifecycle, redis::Redis};

/// The Redis channel, below the deployment's prefix.
#[must_use]
pub fn channel(prefix: &str) -> String {
    format!("{prefix}:bell")
}

#[derive(Clone, Default)]
pub struct Bell(Arc<Pending>);

#[derive(Default)]
struct Pending {
    /// A bit for each lane.
    lanes: AtomicU64,
    rung: Notify,
}

impl Bell {
    /// A bell whose rings are published by a task of its own: however many commits, one publication is under way.
    #[must_use]
    pub fn start(redis: Redis, prefix: &str, lifecycle: &Lifecycle) -> Self {
        let bell = Self::default();
        let (ringer, channel, stop) = (bell.clone(), channel(prefix), lifecycle.clone());
        lifecycle.spawn(async move {
            loop {
                let stopped = stop.unless_stopped(ringer.0.rung.notified()).await.is_none();
                let lanes = ringer.0.lanes.swap(0, Ordering::AcqRel);
                if lanes != 0 {
                    // A failure is Redis being away, which the relay's poll makes up for.
                    let _ = redis
                        .run(async |connection| {
                            redis::cmd("PUBLISH")
                                .arg(&channel)
                                .arg(format!("{lanes:016x}"))
                                .exec_async(connection)
                                .await
                        })
                        .await;
                }
                if stopped {
                    return;
                }
            }
        });
        bell
    }

    pub fn ring(&self, lanes: impl Iterator<Item = Lane>) {
        let bits = lanes.fold(0, |bits, lane| bits | lane.bit());
        self.0.lanes.fetch_or(bits, Ordering::AcqRel);
        self.0.rung.notify_one();
    }
}
