//! The idempotent producer: records in the order given, reports by callback.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext,
    config::FromClientConfigAndContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::{DeliveryResult, Header, OwnedHeaders},
    producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer},
};
use shared::{
    config::Kafka,
    event::{self, TraceContext},
    kafka::{self, TopicError},
    outbox::Pending,
    telemetry::one_line,
};
use thiserror::Error;
use tokio::sync::Notify;

use super::flight::Token;

/// Larger than any row: what the broker takes is for the broker to say, after compression.
pub(super) const MESSAGE_MAX_BYTES: &str = "33554432";
/// What a batch is built up to, unless the topic takes less.
pub(super) const BATCH_BYTES: usize = 1_000_000;

/// How long closing may take; the client's threads end by themselves afterwards.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
pub(super) enum ProducerError {
    #[error("the producer could not be made")]
    Create(#[source] KafkaError),
    #[error(transparent)]
    Topic(#[from] TopicError),
}

#[derive(Debug, Error)]
pub(super) enum EnqueueError {
    /// The queue is full: room is made by deliveries.
    #[error("the producer's queue is full")]
    Full,
    /// The record's own fault: nothing else of its kind is affected.
    #[error("{0}")]
    Poison(Poison),
    #[error("the producer does not take records")]
    Producer(#[source] KafkaError),
}

impl EnqueueError {
    pub(super) fn of(error: KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Self::Full,
            _ => Poison::of(&error).map_or(Self::Producer(error), Self::Poison),
        }
    }
}

/// Why a record can never be published as it is. A closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Poison {
    #[error("the checksum of the payload is wrong")]
    Checksum,
    #[error("the headers cannot be read")]
    Headers,
    #[error("the record is larger than the topic takes (MSG_SIZE_TOO_LARGE)")]
    TooLarge,
    #[error("the broker calls the record invalid (INVALID_RECORD)")]
    Invalid,
    #[error("the broker refuses the record's timestamp (INVALID_TIMESTAMP)")]
    Timestamp,
}

impl Poison {
    /// Whether the failure is the record's own; of a batch, perhaps only of another record in it.
    pub(super) fn of(error: &KafkaError) -> Option<Self> {
        match error.rdkafka_error_code()? {
            RDKafkaErrorCode::MessageSizeTooLarge => Some(Self::TooLarge),
            RDKafkaErrorCode::InvalidRecord => Some(Self::Invalid),
            RDKafkaErrorCode::InvalidTimestamp => Some(Self::Timestamp),
            _ => None,
        }
    }
}

/// What became of a record.
pub(super) struct Report {
    pub(super) token: Token,
    pub(super) failure: Option<KafkaError>,
}

/// What the client's threads say. At most one report for each record in the producer's queue.
#[derive(Default)]
pub(super) struct Reports {
    delivered: Mutex<Vec<Report>>,
    client_error: Mutex<Option<String>>,
    arrived: Notify,
}

impl Reports {
    pub(super) fn take(&self) -> Vec<Report> {
        std::mem::take(&mut *self.delivered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the client said last of its connections; it tries again by itself.
    pub(super) fn take_client_error(&self) -> Option<String> {
        self.client_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

#[derive(Clone)]
pub(super) struct Context(pub(super) Arc<Reports>);

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "the Kafka client");
        *self.0.client_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
        self.0.arrived.notify_one();
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Token;

    fn delivery(&self, delivered: &DeliveryResult<'_>, token: Token) {
        let failure = delivered.as_ref().err().map(|(error, _)| error.clone());
        let mut reports = self.0.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        reports.push(Report { token, failure });
        if reports.len() == 1 {
            self.0.arrived.notify_one();
        }
    }
}

pub(super) struct Producer {
    client: ThreadedProducer<Context>,
    reports: Arc<Reports>,
    topic: String,
    partitions: u16,
}

impl Producer {
    /// Over so many partitions, which the topic must have. Asks the brokers first: a producer that is dropped here
    /// would hold up the runtime's thread.
    pub(super) async fn connect(settings: &Kafka, partitions: u16) -> Result<Self, ProducerError> {
        check_partitions(settings, partitions).await?;
        let most = kafka::max_message_bytes(settings).await.unwrap_or(BATCH_BYTES);
        let reports = Arc::new(Reports::default());
        let mut config = kafka::producer(settings);
        config
            .set("message.max.bytes", MESSAGE_MAX_BYTES)
            // So that no innocent record is refused for the batch that it is in.
            .set("batch.size", most.min(BATCH_BYTES).to_string());
        let client = ThreadedProducer::from_config_and_context(&config, Context(reports.clone()))
            .map_err(ProducerError::Create)?;
        Ok(Self { client, reports, topic: settings.topic.clone(), partitions })
    }

    pub(super) fn reports(&self) -> &Arc<Reports> {
        &self.reports
    }

    /// Hands the record over; [`Report`] says what became of it. Never waits.
    pub(super) fn enqueue(&self, row: &Pending, token: Token) -> Result<(), EnqueueError> {
        send(&self.client, &self.topic, self.partitions, row, token)
    }

    /// Forgets what is still queued and drops the producer: what it had not sent it will not send any more.
    pub(super) async fn discard(self) {
        close(self.client).await;
    }
}

/// Hands the row's record over to a client. What is broken in itself is poison before it gets there.
pub(super) fn send(
    client: &ThreadedProducer<Context>,
    topic: &str,
    partitions: u16,
    row: &Pending,
    token: Token,
) -> Result<(), EnqueueError> {
    let headers = check(row).map_err(EnqueueError::Poison)?;
    let key = row.record_key();
    let record = BaseRecord::with_opaque_to(topic, token)
        .key(&key)
        .payload(&row.payload)
        .headers(headers)
        .partition(row.lane.partition(partitions));
    client.send(record).map_err(|(error, _)| EnqueueError::of(error))
}

/// Forgets what a client still holds and closes it, which waits for its threads and must not hold up the runtime's.
pub(super) async fn close(client: ThreadedProducer<Context>) {
    let closed = tokio::task::spawn_blocking(move || {
        client.purge(PurgeConfig::default().queue().inflight());
        drop(client);
    });
    match tokio::time::timeout(CLOSE_LIMIT, closed).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = one_line(&error), "closing the producer failed"),
        Err(_) => tracing::warn!("closing the producer takes long"),
    }
}

/// The record's headers, unless the row is broken.
pub(super) fn check(row: &Pending) -> Result<OwnedHeaders, Poison> {
    if row.is_intact() { headers(row) } else { Err(Poison::Checksum) }
}

/// Whether the topic has all of them.
pub(super) async fn check_partitions(settings: &Kafka, pinned: u16) -> Result<(), TopicError> {
    let found = kafka::find_topic(settings).await?;
    if found >= pinned { Ok(()) } else { Err(TopicError::Fewer { topic: settings.topic.clone(), found, pinned }) }
}

fn headers(row: &Pending) -> Result<OwnedHeaders, Poison> {
    let trace: TraceContext = serde_json::from_slice(&row.headers).map_err(|_| Poison::Headers)?;
    let mut headers = OwnedHeaders::new().insert(Header { key: "content-type", value: Some(event::CONTENT_TYPE) });
    for (name, value) in [("traceparent", &trace.traceparent), ("tracestate", &trace.tracestate)] {
        if let Some(value) = value {
            headers = headers.insert(Header { key: name, value: Some(value) });
        }
    }
    Ok(headers)
}
