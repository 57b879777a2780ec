//! How both processes speak to Kafka.

mod unread;

use std::{collections::HashMap, time::Duration};

use rdkafka::{
    ClientConfig, ClientContext, Message,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::Headers,
};
use thiserror::Error;

pub use unread::oldest_unread_ms;

use crate::{
    config,
    event::TraceContext,
    lane::{LANE_GROUPS, LANES},
};

/// How long one question to the brokers may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// What every client begins with.
#[must_use]
pub fn client(settings: &config::Kafka) -> ClientConfig {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "sluice")
        .set("reconnect.backoff.ms", "100")
        .set("reconnect.backoff.max.ms", "1000")
        .set("topic.metadata.refresh.interval.ms", "30000");
    client
}

/// What the relay's producer begins with: records of a partition arrive in the order in which they were sent, once.
#[must_use]
pub fn producer(settings: &config::Kafka) -> ClientConfig {
    let mut producer = client(settings);
    producer
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("max.in.flight.requests.per.connection", "5")
        // A later record must not pass one that failed.
        .set("enable.gapless.guarantee", "true")
        // The lease decides when to give up, not a timer.
        .set("message.timeout.ms", "0")
        .set("linger.ms", "0")
        .set("compression.type", "lz4")
        .set("queue.buffering.max.kbytes", "16384");
    producer
}

/// What every consumer begins with: nothing is committed that was not done.
#[must_use]
pub fn consumer(settings: &config::Kafka, group: &str) -> ClientConfig {
    let mut consumer = client(settings);
    consumer
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("fetch.wait.max.ms", "100")
        // The default is 64 MiB for each partition.
        .set("queued.max.messages.kbytes", "2048")
        // The default lets a partition rest for a second whenever that queue is full, which a backlog keeps it.
        .set("fetch.queue.backoff.ms", "10");
    consumer
}

/// The trace context that a record's headers carry.
pub fn trace_of(message: &impl Message) -> TraceContext {
    let Some(headers) = message.headers() else { return TraceContext::default() };
    TraceContext::from_headers(
        headers.iter().filter_map(|header| Some((header.key, std::str::from_utf8(header.value?).ok()?))),
    )
}

#[derive(Debug, Error)]
pub enum TopicError {
    #[error("Kafka could not be asked")]
    Kafka(#[from] KafkaError),
    #[error("the topic {topic} could not be made: {code}")]
    Create { topic: String, code: RDKafkaErrorCode },
    #[error("the topic {topic} could not be given more partitions: {code}")]
    Expand { topic: String, code: RDKafkaErrorCode },
    #[error("the topic {topic} does not exist (run `sluice-worker topics`, or set kafka.create_topic)")]
    Missing { topic: String },
    #[error("the topic {topic} has {partitions} partitions, which do not divide the {LANES} lanes")]
    Partitions { topic: String, partitions: usize },
    #[error("the topic {topic} has {found} partitions, the outbox is pinned to {pinned}: was it made anew?")]
    Fewer { topic: String, found: u16, pinned: u16 },
}

/// Whether a consumer was told that its topic is not there. Where it was made anew, a client that knew the old one goes
/// on saying so.
#[must_use]
pub fn is_gone(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(error.rdkafka_error_code(), Some(UnknownPartition | UnknownTopic | UnknownTopicOrPartition))
}

/// A consumer whose topic was gone for so long is replaced by another.
pub const GONE_LIMIT: Duration = Duration::from_secs(5);

/// Makes the topics where they are missing. True if that of the events was made now.
pub async fn create_topic(settings: &config::Kafka) -> Result<bool, TopicError> {
    let retention = settings.retention_ms.to_string();
    let events = [("retention.ms", retention.as_str()), ("cleanup.policy", "delete")];
    let made = create(settings, &settings.topic, i32::from(settings.partitions), &events).await?;
    if settings.delivery == config::Delivery::Transactional {
        // Only the last record of a partition counts: what is before it goes soon.
        let progress = [("cleanup.policy", "compact"), ("segment.bytes", "16777216"), ("segment.ms", "600000")];
        create(settings, &settings.progress_topic, i32::from(LANE_GROUPS), &progress).await?;
    }
    Ok(made)
}

async fn create(
    settings: &config::Kafka,
    name: &str,
    partitions: i32,
    config: &[(&str, &str)],
) -> Result<bool, TopicError> {
    let admin: AdminClient<DefaultClientContext> = client(settings).create()?;
    let replication = TopicReplication::Fixed(i32::from(settings.replication_factor));
    let topic = NewTopic { name, num_partitions: partitions, replication, config: config.to_vec() };
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    for created in admin.create_topics([&topic], &options).await? {
        match created {
            Ok(_) => return Ok(true),
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(TopicError::Create { topic, code }),
        }
    }
    Ok(false)
}

/// Gives the topic more partitions.
pub async fn add_partitions(settings: &config::Kafka, partitions: u16) -> Result<(), TopicError> {
    let admin: AdminClient<DefaultClientContext> = client(settings).create()?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let wanted = NewPartitions::new(&settings.topic, usize::from(partitions));
    for added in admin.create_partitions([&wanted], &options).await? {
        added.map_err(|(topic, code)| TopicError::Expand { topic, code })?;
    }
    Ok(())
}

/// Whether a group has committed everything that is on the topic.
pub async fn has_caught_up(settings: &config::Kafka, group: &str) -> Result<bool, TopicError> {
    let (settings, group) = (settings.clone(), group.to_owned());
    let asked = tokio::task::spawn_blocking(move || oldest_unread_ms(&settings, &group)).await;
    Ok(asked.unwrap_or(Err(TopicError::Kafka(KafkaError::Canceled)))?.is_none())
}

/// How many partitions the topic has.
pub async fn find_topic(settings: &config::Kafka) -> Result<u16, TopicError> {
    let client: BaseConsumer = client(settings).create()?;
    let topic = settings.topic.clone();
    let found = tokio::task::spawn_blocking(move || partitions(client.client(), &topic)).await;
    found.unwrap_or(Err(TopicError::Kafka(KafkaError::Canceled)))
}

/// As [`find_topic`], with a client that is there. Asks the brokers: not on the runtime's threads.
pub fn partitions<C: ClientContext>(client: &rdkafka::client::Client<C>, topic: &str) -> Result<u16, TopicError> {
    let metadata = client.fetch_metadata(Some(topic), TIMEOUT)?;
    let found = metadata.topics().iter().find(|it| it.name() == topic);
    let partitions = found.map_or(0, |it| it.partitions().len());
    match u16::try_from(partitions) {
        Ok(0) => Err(TopicError::Missing { topic: topic.to_owned() }),
        Ok(count) if LANES.is_multiple_of(count) => Ok(count),
        _ => Err(TopicError::Partitions { topic: topic.to_owned(), partitions }),
    }
}

/// How large a batch of records the topic takes, after compression.
pub async fn max_message_bytes(settings: &config::Kafka) -> Result<usize, TopicError> {
    let admin: AdminClient<DefaultClientContext> = client(settings).create()?;
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT));
    let described = admin.describe_configs([&ResourceSpecifier::Topic(&settings.topic)], &options).await?;
    let found = described.into_iter().flatten().find_map(|resource| {
        let entry = resource.entries.into_iter().find(|entry| entry.name == "max.message.bytes")?;
        entry.value?.parse().ok()
    });
    found.ok_or(TopicError::Kafka(KafkaError::NoMessageReceived))
}

/// The end offset of every partition. Asks the brokers: not on the runtime's threads.
pub fn end_offsets(consumer: &BaseConsumer, topic: &str) -> Result<HashMap<i32, i64>, TopicError> {
    let partitions = partitions(consumer.client(), topic)?;
    let mut ends = HashMap::new();
    for partition in 0..i32::from(partitions) {
        let (_, end) = consumer.fetch_watermarks(topic, partition, TIMEOUT)?;
        ends.insert(partition, end);
    }
    Ok(ends)
}
