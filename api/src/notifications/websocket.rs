//! `GET /ws?user_id=…&client_id=…`: a user's events, one JSON object a frame, as they are on the topic.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use poem::{
    IntoResponse, Request, Response, handler,
    web::{
        Data,
        websocket::{CloseCode, Message, WebSocket, WebSocketConfig, WebSocketStream},
    },
};
use serde_json::json;
use shared::{config::Notifications, entity::Id, lifecycle::Lifecycle};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    hub::{Hub, Subscription},
    tail::Tail,
};
use crate::http::problem::{Code, Problem};

/// The process goes away: reconnect.
const GOING_AWAY: u16 = 1001;
/// Frames were missed, as the client reads too slowly or Kafka was away: reconnect, and read what is missing.
const MISSED: u16 = 4008;
/// A socket that does not answer so many pings is dead.
const MOST_UNANSWERED_PINGS: u8 = 2;
/// Of a message from a client; also the size of a socket's buffers, which by default are 128 KiB each.
const MOST_INBOUND_BYTES: usize = 4 * 1024;
/// How long a close frame may take to a client that does not read.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// What all sockets of the process share.
#[derive(Clone)]
pub(crate) struct Sockets {
    hub: Hub,
    tail: Tail,
    lifecycle: Lifecycle,
    queue_frames: usize,
    ping_interval: Duration,
    places: Arc<Semaphore>,
}

impl Sockets {
    pub(crate) fn new(hub: Hub, tail: Tail, lifecycle: Lifecycle, settings: &Notifications) -> Self {
        Self {
            hub,
            tail,
            lifecycle,
            queue_frames: settings.queue_frames,
            ping_interval: Duration::from_millis(settings.ping_interval_ms),
            places: Arc::new(Semaphore::new(settings.max_sockets)),
        }
    }

    /// Whether every change is heard of as it happens.
    fn condition(&self) -> &'static str {
        if self.tail.is_following() { "ok" } else { "degraded" }
    }
}

#[handler]
pub(crate) fn connect(
    request: &Request,
    socket: WebSocket,
    Data(sockets): Data<&Sockets>,
) -> Result<Response, Problem> {
    let query = request.params::<HashMap<String, String>>().unwrap_or_default();
    let user = parameter(&query, "user_id")?;
    parameter(&query, "client_id")?;
    let sockets = sockets.clone();
    let place = sockets.places.clone().try_acquire_owned().map_err(|_| Problem::new(Code::TooManySockets))?;
    // Subscribed before the answer: what happens from now on is told.
    let subscription = sockets.hub.subscribe(user, sockets.queue_frames);
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MOST_INBOUND_BYTES))
        .max_frame_size(Some(MOST_INBOUND_BYTES))
        .read_buffer_size(MOST_INBOUND_BYTES)
        .write_buffer_size(MOST_INBOUND_BYTES);
    Ok(socket.config(limits).on_upgrade(move |stream| sockets.serve(stream, subscription, place)).into_response())
}

fn parameter(query: &HashMap<String, String>, name: &str) -> Result<Id, Problem> {
    let text = query.get(name).map_or("", String::as_str);
    text.parse().map_err(|error: shared::entity::IdError| Problem::invalid_parameter(name, error.to_string()))
}

impl Sockets {
    /// Serves one socket to its end.
    async fn serve(self, stream: WebSocketStream, mut subscription: Subscription, place: OwnedSemaphorePermit) {
        // The server does not wait for upgraded connections; the lifecycle does.
        let _tracked = self.lifecycle.tracker().token();
        let _place = place;
        let (mut sink, source) = stream.split();
        let unanswered = AtomicU8::new(0);
        let missed = subscription.missed.clone();
        // Sending and reading go on beside each other: a client that does not read can still close.
        let close = tokio::select! {
            () = read(source, &unanswered) => None,
            close = self.send(&mut sink, &mut subscription, &unanswered) => close,
            () = missed.cancelled() => Some((MISSED, "frames were missed")),
            () = self.lifecycle.stopped() => Some((GOING_AWAY, "going away")),
        };
        if let Some((code, reason)) = close {
            let frame = Message::Close(Some((CloseCode::from(code), reason.to_owned())));
            // The client may be gone, which is as good.
            let _ = tokio::time::timeout(CLOSE_LIMIT, sink.send(frame)).await;
        }
    }

    /// Sends until the client is gone. Answers with the close frame that is still to be sent.
    async fn send(
        &self,
        sink: &mut SplitSink<WebSocketStream, Message>,
        subscription: &mut Subscription,
        unanswered: &AtomicU8,
    ) -> Option<(u16, &'static str)> {
        sink.send(Message::Text(json!({ "type": "ready" }).to_string())).await.ok()?;
        let mut pings = tokio::time::interval(self.ping_interval);
        pings.tick().await;
        loop {
            tokio::select! {
                frame = subscription.frames.recv() => sink.send(Message::Text(frame?.to_string())).await.ok()?,
                _ = pings.tick() => {
                    if unanswered.fetch_add(1, Ordering::Relaxed) >= MOST_UNANSWERED_PINGS {
                        return None;
                    }
                    let heartbeat = json!({ "type": "heartbeat", "notifications": self.condition() });
                    sink.send(Message::Text(heartbeat.to_string())).await.ok()?;
                    sink.send(Message::Ping(Vec::new())).await.ok()?;
                }
            }
        }
    }
}

/// Reads until the client closes or is gone. Nothing that a client sends means anything but that it lives.
async fn read(mut source: SplitStream<WebSocketStream>, unanswered: &AtomicU8) {
    while let Some(Ok(message)) = source.next().await {
        unanswered.store(0, Ordering::Relaxed);
        if matches!(message, Message::Close(_)) {
            return;
        }
    }
}
