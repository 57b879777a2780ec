//! Hears the bell that is rung after each commit, and knows whether it would: each second it rings a canary of its own.
//! Without Redis the relay polls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use shared::{
    bell::{self, Message},
    lane::Lanes,
    lifecycle::Lifecycle,
    redis::Redis,
    telemetry::one_line,
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::authority::boottime_ms;

const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const CANARY_INTERVAL: Duration = Duration::from_secs(1);
/// A canary that was not heard for so long means that the bell is not either.
const TRUSTED_FOR_MS: u64 = 2_500;

pub(super) struct Doorbell {
    redis: Redis,
    prefix: String,
    canary: Uuid,
    /// Rung for one of [`listen_for`](Self::listen_for)'s lanes, or perhaps: at each connection, for what was before.
    pub(super) rung: Notify,
    /// `outbox_lanes` is worth a look.
    pub(super) ownership: Notify,
    /// `outbox_parked` is worth a look.
    pub(super) requests: Notify,
    lanes: AtomicU64,
    heard_ms: AtomicU64,
}

impl Doorbell {
    /// Begins to listen, in tasks of its own.
    pub(super) fn start(redis: Redis, prefix: &str, lifecycle: &Lifecycle) -> Arc<Self> {
        let doorbell = Arc::new(Self {
            redis,
            prefix: prefix.to_owned(),
            canary: Uuid::now_v7(),
            rung: Notify::new(),
            ownership: Notify::new(),
            requests: Notify::new(),
            lanes: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
        });
        let (listener, stop) = (doorbell.clone(), lifecycle.clone());
        lifecycle.spawn(async move {
            while !stop.is_stopping() {
                if let Some(Err(error)) = stop.unless_stopped(listener.hear()).await {
                    tracing::debug!(error = one_line(&error), "the bell cannot be heard");
                }
                stop.pause(RECONNECT_PAUSE).await;
            }
        });
        let (singer, stop) = (doorbell.clone(), lifecycle.clone());
        lifecycle.spawn(async move {
            while !stop.is_stopping() {
                // A failure is told by its not being heard.
                let _ = bell::publish(&singer.redis, &singer.prefix, Message::Canary(singer.canary)).await;
                stop.pause(CANARY_INTERVAL).await;
            }
        });
        doorbell
    }

    /// Whether a ring would be heard.
    pub(super) fn works(&self) -> bool {
        boottime_ms() < self.heard_ms.load(Ordering::Acquire) + TRUSTED_FOR_MS
    }

    /// From now on rings for other lanes are not heard.
    pub(super) fn listen_for(&self, Lanes(bits): Lanes) {
        self.lanes.store(bits, Ordering::Release);
    }

    /// Tells the other workers, and oneself, to look at the lanes. Best effort.
    pub(super) async fn ring_ownership(&self) {
        let _ = bell::publish(&self.redis, &self.prefix, Message::Ownership).await;
    }

    /// Ends when the connection does.
    async fn hear(&self) -> redis::RedisResult<()> {
        let channel = bell::channel(&self.prefix);
        let subscribing = async {
            let mut subscription = self.redis.client().get_async_pubsub().await?;
            subscription.subscribe(&channel).await?;
            redis::RedisResult::Ok(subscription)
        };
        let mut subscription =
            tokio::time::timeout(CONNECT_LIMIT, subscribing).await.map_err(std::io::Error::from)??;
        self.rung.notify_one();
        self.ownership.notify_one();
        let mut rings = subscription.on_message();
        while let Some(ring) = rings.next().await {
            match Message::from(ring.get_payload::<String>()?.as_str()) {
                Message::Lanes(Lanes(bits)) if bits & self.lanes.load(Ordering::Acquire) != 0 => self.rung.notify_one(),
                Message::Canary(id) if id == self.canary => self.heard_ms.store(boottime_ms(), Ordering::Release),
                Message::Ownership => {
                    self.ownership.notify_one();
                    self.requests.notify_one();
                }
                Message::Lanes(_) | Message::Canary(_) => {}
            }
        }
        Ok(())
    }
}
