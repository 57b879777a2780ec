//! The bell: after a commit the relay is told which lanes have something.
//!
//! Best effort and without data: a lost ring costs the relay's poll interval, never an event.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    lane::{Lane, Lanes},
    lifecycle::Lifecycle,
    redis::{CommandError, Redis},
};

/// The Redis channel, below the deployment's prefix.
#[must_use]
pub fn channel(prefix: &str) -> String {
    format!("{prefix}:bell")
}

/// What is said on the channel. What a reader does not know it takes for [`Message::Ownership`]: it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Something was committed in these lanes.
    Lanes(Lanes),
    /// Lanes are free, paused or resumed, or an operator asked for something: `outbox_lanes` is worth a look.
    Ownership,
    /// A worker's question whether it hears what is said here.
    Canary(Uuid),
}

impl fmt::Display for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lanes(Lanes(bits)) => write!(formatter, "{bits:016x}"),
            Self::Ownership => formatter.write_str("ownership"),
            Self::Canary(id) => write!(formatter, "canary {}", id.simple()),
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        if let Ok(bits) = u64::from_str_radix(text, 16) {
            return Self::Lanes(Lanes(bits));
        }
        let canary = text.strip_prefix("canary ").and_then(|id| id.parse().ok());
        canary.map_or(Self::Ownership, Self::Canary)
    }
}

/// Says it to all workers that listen.
pub async fn publish(redis: &Redis, prefix: &str, message: Message) -> Result<(), CommandError> {
    let (channel, text) = (channel(prefix), message.to_string());
    redis.run(async |connection| redis::cmd("PUBLISH").arg(&channel).arg(&text).exec_async(connection).await).await
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
        let (ringer, prefix, stop) = (bell.clone(), prefix.to_owned(), lifecycle.clone());
        lifecycle.spawn(async move {
            loop {
                let stopped = stop.unless_stopped(ringer.0.rung.notified()).await.is_none();
                let lanes = ringer.0.lanes.swap(0, Ordering::AcqRel);
                if lanes != 0 {
                    // A failure is Redis being away, which the relay's poll makes up for.
                    let _ = publish(&redis, &prefix, Message::Lanes(Lanes(lanes))).await;
                }
                if stopped {
                    return;
                }
            }
        });
        bell
    }

    pub fn ring(&self, lanes: impl Iterator<Item = Lane>) {
        let Lanes(bits) = lanes.collect();
        self.0.lanes.fetch_or(bits, Ordering::AcqRel);
        self.0.rung.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_as_it_was_said() {
        for message in
            [Message::Lanes(Lanes(0x8000_0000_0000_0001)), Message::Ownership, Message::Canary(Uuid::now_v7())]
        {
            assert_eq!(Message::from(message.to_string().as_str()), message);
        }
        assert_eq!(Message::from("of a later version"), Message::Ownership);
    }
}
