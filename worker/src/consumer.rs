//! A consumer group of the worker: batches of records, an effect, then the commit of their offsets.
//!
//! At least once: an effect may see a record again, also behind newer ones, and is guarded by version.

use std::{collections::HashMap, sync::Arc, time::Duration};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _, StreamConsumer},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};
use shared::{
    config::{Consumer as Settings, Kafka},
    event::{Event, TraceContext},
    kafka,
    lifecycle::Lifecycle,
    telemetry::one_line,
};
use thiserror::Error;
use tokio::time::Instant;

const LEAST_PAUSE: Duration = Duration::from_millis(100);
const MOST_PAUSE: Duration = Duration::from_secs(2);
/// While nothing comes, offsets that could not be committed are tried again so often.
const COMMIT_RETRY: Duration = Duration::from_secs(1);

/// More than so much payload is not gathered: one command of MongoDB holds 16 MiB.
const MOST_BATCH_BYTES: usize = 4 << 20;

/// A record of the topic.
pub(crate) struct Record {
    pub(crate) event: Event,
    pub(crate) trace: TraceContext,
    /// When it was published, in milliseconds since 1970.
    pub(crate) published_ms: i64,
}

/// Why a group cannot go on.
#[derive(Debug, Error)]
pub(crate) enum GroupError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("the topic is gone")]
    Gone,
    /// It stays for a newer binary: passing over it would leave a hole for good.
    #[error("the event at partition {partition}, offset {offset} is of a form that this binary does not know")]
    UnknownEvent { partition: i32, offset: i64, source: serde_json::Error },
}

#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    bytes: usize,
    /// Of each partition that was read from, also of records that were skipped.
    next_offsets: HashMap<i32, i64>,
}

/// What a group does with the records. It may be done again and must then change nothing.
pub(crate) trait Effect: Send + Sync + 'static {
    const NAME: &'static str;
    type Error: std::error::Error + Send;

    fn apply(&mut self, records: &[Record]) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

pub(crate) struct Group<E> {
    effect: E,
    kafka: Kafka,
    consumer: Arc<StreamConsumer>,
    /// The next offset of each partition whose records are applied.
    uncommitted: HashMap<i32, i64>,
    settings: Settings,
    lifecycle: Lifecycle,
}

impl<E: Effect> Group<E> {
    pub(crate) fn new(effect: E, settings: Settings, kafka: &Kafka, lifecycle: Lifecycle) -> KafkaResult<Self> {
        let (kafka, consumer) = (kafka.clone(), Arc::new(consumer(kafka, E::NAME)?));
        Ok(Self { effect, kafka, consumer, uncommitted: HashMap::new(), settings, lifecycle })
    }

    /// Consumes until the process stops; whatever fails is tried again.
    pub(crate) async fn run(mut self) -> Result<(), GroupError> {
        let consumed = loop {
            match self.consume().await {
                Err(GroupError::Gone) => self.begin_anew().await?,
                consumed => break consumed,
            }
        };
        // Leaving the group asks the broker, which must not hold up the runtime's threads.
        let closed = tokio::task::spawn_blocking(move || drop(self)).await;
        consumed.and(closed.map_err(|_| KafkaError::Canceled.into()))
    }

    /// With a client that knows nothing of a topic of this name.
    async fn begin_anew(&mut self) -> Result<(), GroupError> {
        tracing::warn!(group = E::NAME, topic = self.kafka.topic, "the topic is gone; a new one is waited for");
        self.uncommitted.clear();
        let last = std::mem::replace(&mut self.consumer, Arc::new(consumer(&self.kafka, E::NAME)?));
        // Closing asks the broker, which must not hold up the runtime's threads.
        let closed = tokio::task::spawn_blocking(move || drop(last)).await;
        closed.map_err(|_| KafkaError::Canceled.into())
    }

    async fn consume(&mut self) -> Result<(), GroupError> {
        self.consumer.subscribe(&[&self.kafka.topic])?;
        let lifecycle = self.lifecycle.clone();
        let mut gone_since = None;
        loop {
            let received = tokio::time::timeout(COMMIT_RETRY, self.consumer.recv());
            match lifecycle.unless_stopped(received).await {
                None => return Ok(()),
                Some(Err(_)) => {
                    gone_since = None;
                    self.commit().await;
                }
                Some(Ok(Err(error))) if kafka::is_gone(&error) => {
                    if gone_since.get_or_insert_with(Instant::now).elapsed() > kafka::GONE_LIMIT {
                        return Err(GroupError::Gone);
                    }
                    lifecycle.pause(LEAST_PAUSE).await;
                }
                Some(Ok(first)) => {
                    gone_since = None;
                    // From here to the commit nothing is given up in the middle: an offset that is passed is of a
                    // record that is applied.
                    let mut batch = Batch::default();
                    self.take(first, &mut batch).await?;
                    self.fill(&mut batch).await?;
                    if !self.apply(&batch.records).await {
                        return Ok(());
                    }
                    self.uncommitted.extend(batch.next_offsets);
                    self.commit().await;
                }
            }
        }
    }

    /// Takes what else comes within the batch's size and time.
    async fn fill(&self, batch: &mut Batch) -> Result<(), GroupError> {
        let deadline = Instant::now() + Duration::from_millis(self.settings.batch_wait_ms);
        while batch.records.len() < self.settings.batch_records && batch.bytes < MOST_BATCH_BYTES {
            match tokio::time::timeout_at(deadline, self.consumer.recv()).await {
                Ok(received) => self.take(received, batch).await?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    async fn take(&self, received: KafkaResult<BorrowedMessage<'_>>, batch: &mut Batch) -> Result<(), GroupError> {
        let message = match received {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(group = E::NAME, error = one_line(&error), "Kafka could not be read");
                self.lifecycle.pause(LEAST_PAUSE).await;
                return Ok(());
            }
        };
        let (partition, offset) = (message.partition(), message.offset());
        let payload = message.payload().unwrap_or_default();
        match serde_json::from_slice(payload) {
            Ok(event) => batch.records.push(Record {
                event,
                trace: kafka::trace_of(&message),
                published_ms: message.timestamp().to_millis().unwrap_or_default(),
            }),
            Err(source) if is_event(payload) => {
                return Err(GroupError::UnknownEvent { partition, offset, source });
            }
            // Not written by a relay: nothing here can be done with it, now or later.
            Err(error) => {
                let error = one_line(&error);
                tracing::error!(group = E::NAME, partition, offset, error, "a record that is no event was skipped");
            }
        }
        batch.bytes += payload.len();
        batch.next_offsets.insert(partition, offset + 1);
        Ok(())
    }

    /// Applies the effect, again and again until it succeeds. False when stopped before that.
    async fn apply(&mut self, records: &[Record]) -> bool {
        let mut pause = LEAST_PAUSE;
        while !records.is_empty() {
            match self.effect.apply(records).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(
                        group = E::NAME,
                        records = records.len(),
                        error = one_line(&error),
                        "records could not be applied and are tried again"
                    );
                }
            }
            self.lifecycle.pause(pause).await;
            if self.lifecycle.is_stopping() {
                return false;
            }
            pause = (pause * 2).min(MOST_PAUSE);
        }
        true
    }

    /// Commits what is applied. What the broker does not take, as during a rebalance, is tried again later.
    async fn commit(&mut self) {
        if self.uncommitted.is_empty() {
            return;
        }
        let (consumer, topic, offsets) = (self.consumer.clone(), self.kafka.topic.clone(), self.uncommitted.clone());
        // It asks the broker, which must not hold up the runtime's threads.
        let committed = tokio::task::spawn_blocking(move || commit(&consumer, &topic, &offsets)).await;
        match committed.unwrap_or(Err(KafkaError::Canceled)) {
            Ok(()) => self.uncommitted.clear(),
            Err(error) => tracing::info!(group = E::NAME, error = one_line(&error), "offsets are not committed yet"),
        }
    }
}

fn consumer(kafka: &Kafka, name: &str) -> KafkaResult<StreamConsumer> {
    kafka::consumer(kafka, &format!("{}-{name}", kafka.group_prefix))
        .set("auto.offset.reset", "earliest")
        .set("session.timeout.ms", "6000")
        .set("partition.assignment.strategy", "cooperative-sticky")
        .create()
}

/// Only of partitions that are still this member's: the next owner of another may be further already.
fn commit(consumer: &StreamConsumer, topic: &str, offsets: &HashMap<i32, i64>) -> KafkaResult<()> {
    let assigned = consumer.assignment()?;
    let mut list = TopicPartitionList::new();
    for (partition, next) in offsets {
        if assigned.find_partition(topic, *partition).is_some() {
            list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
        }
    }
    if list.count() == 0 { Ok(()) } else { consumer.commit(&list, CommitMode::Sync) }
}

/// Whether it says of itself that it is one of ours, in whatever form.
fn is_event(payload: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(payload)
        .is_ok_and(|value| value["specversion"].is_string() && value["source"] == Event::SOURCE.as_ref())
}
