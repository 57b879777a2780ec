//! Publishing: in the order given, with every acknowledgement awaited.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesOrdered};
use rdkafka::{
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer, PurgeConfig},
};
use shared::{
    config::Kafka,
    event::{self, TraceContext},
    kafka::{self, TopicError},
    lifecycle::Lifecycle,
    outbox::Pending,
    telemetry::one_line,
};
use thiserror::Error;
use tokio::time::Instant;

use super::Authority;

/// At a stop: how long what is in flight may take to be acknowledged. What is not will be published again.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// So often it is said that acknowledgements do not come.
const SLOW: Duration = Duration::from_secs(10);

#[derive(Debug, Error)]
pub(super) enum PublishError {
    #[error("the producer could not be made")]
    Create(#[source] KafkaError),
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error("the headers of event {event_id} cannot be read")]
    Headers { event_id: uuid::Uuid, source: serde_json::Error },
    #[error("the event {event_id} was not taken")]
    Refused { event_id: uuid::Uuid, source: KafkaError },
    #[error("the event {event_id} was not acknowledged")]
    Unacknowledged { event_id: uuid::Uuid, source: KafkaError },
    #[error("the outbox lease ran out")]
    LeaseLost,
    #[error("stopped before everything was acknowledged")]
    Stopped,
}

/// What a delivery ends with; the outer error where its producer was dropped.
type Delivered = <DeliveryFuture as Future>::Output;

/// What became of a batch. What is in neither may be on Kafka or not.
pub(super) struct Published {
    pub(super) acknowledged: Vec<Pending>,
    /// The producer must be dropped then: a record after the failed one may be on its way.
    pub(super) failure: Option<PublishError>,
}

pub(super) struct Publisher {
    producer: FutureProducer,
    topic: String,
    partitions: u16,
}

impl Publisher {
    pub(super) async fn new(settings: &Kafka) -> Result<Self, PublishError> {
        // Asked first: a producer that is dropped here would hold up the runtime's thread.
        let partitions = kafka::find_topic(settings).await?;
        let producer: FutureProducer = kafka::client(settings)
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            // A later record must not pass one that failed.
            .set("enable.gapless.guarantee", "true")
            // The lease decides when to give up, not a timer.
            .set("message.timeout.ms", "0")
            .set("linger.ms", "1")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.kbytes", "16384")
            .create()
            .map_err(PublishError::Create)?;
        Ok(Self { producer, topic: settings.topic.clone(), partitions })
    }

    /// Publishes the rows in their order and awaits what becomes of each.
    pub(super) async fn publish(&self, rows: Vec<Pending>, authority: &Authority, lifecycle: &Lifecycle) -> Published {
        let mut deliveries = FuturesOrdered::new();
        let mut failure = None;
        for row in rows {
            // A worker that slept past its lease must not publish beside the next one.
            let enqueued = if authority.holds() { self.enqueue(&row) } else { Err(PublishError::LeaseLost) };
            match enqueued {
                Ok(delivery) => deliveries.push_back(async move { (row, delivery.await) }),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let mut acknowledged = Vec::with_capacity(deliveries.len());
        let ended = tokio::select! {
            ended = Self::await_each(deliveries, &mut acknowledged) => ended,
            () = authority.lost() => Err(PublishError::LeaseLost),
            () = stop_grace_over(lifecycle) => Err(PublishError::Stopped),
        };
        Published { acknowledged, failure: failure.or(ended.err()) }
    }

    /// Awaits all, also after a failure: what else was acknowledged need not be published again.
    async fn await_each(
        mut deliveries: FuturesOrdered<impl Future<Output = (Pending, Delivered)>>,
        acknowledged: &mut Vec<Pending>,
    ) -> Result<(), PublishError> {
        let mut ended = Ok(());
        let mut slow = tokio::time::interval_at(Instant::now() + SLOW, SLOW);
        loop {
            let (row, delivered) = tokio::select! {
                delivery = deliveries.next() => match delivery {
                    Some(delivery) => delivery,
                    None => return ended,
                },
                _ = slow.tick() => {
                    tracing::warn!(events = deliveries.len(), "waiting for Kafka to acknowledge");
                    continue;
                }
            };
            let source = match delivered {
                Ok(Ok(_)) => {
                    acknowledged.push(row);
                    continue;
                }
                Ok(Err((source, _))) => source,
                // The producer was dropped beneath it, which nobody does.
                Err(_) => KafkaError::Canceled,
            };
            ended = ended.and(Err(PublishError::Unacknowledged { event_id: row.event_id, source }));
        }
    }

    fn enqueue(&self, row: &Pending) -> Result<DeliveryFuture, PublishError> {
        let key = row.record_key();
        let trace: TraceContext = serde_json::from_slice(&row.headers)
            .map_err(|source| PublishError::Headers { event_id: row.event_id, source })?;
        let mut headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(event::CONTENT_TYPE) });
        for (name, value) in [("traceparent", &trace.traceparent), ("tracestate", &trace.tracestate)] {
            if let Some(value) = value {
                headers = headers.insert(Header { key: name, value: Some(value) });
            }
        }
        let record = FutureRecord::to(&self.topic)
            .key(&key)
            .payload(&row.payload)
            .headers(headers)
            .partition(row.lane.partition(self.partitions));
        let enqueued = self.producer.send_result(record);
        enqueued.map_err(|(source, _)| PublishError::Refused { event_id: row.event_id, source })
    }

    /// Forgets what is still queued and drops the producer: what it had not sent it will not send any more.
    pub(super) async fn discard(self) {
        // Closing waits for the client's threads, which must not hold up the runtime's.
        let closed = tokio::task::spawn_blocking(move || {
            self.producer.purge(PurgeConfig::default().queue().inflight());
            drop(self.producer);
        });
        if let Err(error) = closed.await {
            tracing::warn!(error = one_line(&error), "closing the producer failed");
        }
    }
}

async fn stop_grace_over(lifecycle: &Lifecycle) {
    lifecycle.stopped().await;
    #[expect(clippy::disallowed_methods, reason = "it counts from the stop on")]
    tokio::time::sleep(STOP_GRACE).await;
}
