//! Hears the bell that the API rings after each commit. Without Redis the relay polls.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use shared::{bell, lifecycle::Lifecycle, redis::Redis, telemetry::one_line};
use tokio::sync::Notify;

const RECONNECT_PAUSE: Duration = Duration::from_millis(500);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Begins to listen, in a task of its own. The answer is notified at each ring, and once at each connection, for
/// what was rung before.
pub(super) fn listen(redis: Redis, prefix: &str, lifecycle: &Lifecycle) -> Arc<Notify> {
    let rung = Arc::new(Notify::new());
    let (ringing, channel, stop) = (rung.clone(), bell::channel(prefix), lifecycle.clone());
    lifecycle.spawn(async move {
        while !stop.is_stopping() {
            if let Some(Err(error)) = stop.unless_stopped(hear(&redis, &channel, &ringing)).await {
                tracing::debug!(error = one_line(&error), "the bell cannot be heard");
            }
            stop.pause(RECONNECT_PAUSE).await;
        }
    });
    rung
}

/// Ends when the connection does.
async fn hear(redis: &Redis, channel: &str, rung: &Notify) -> redis::RedisResult<()> {
    let subscribing = async {
        let mut subscription = redis.client().get_async_pubsub().await?;
        subscription.subscribe(channel).await?;
        redis::RedisResult::Ok(subscription)
    };
    let mut subscription = tokio::time::timeout(CONNECT_LIMIT, subscribing).await.map_err(std::io::Error::from)??;
    rung.notify_one();
    let mut rings = subscription.on_message();
    while rings.next().await.is_some() {
        rung.notify_one();
    }
    Ok(())
}
