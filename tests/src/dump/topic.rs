//! The records of the topic.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, bail};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};
use shared::{
    config::Kafka,
    event::{Event, TraceContext},
    kafka,
};

/// A record of the topic.
#[derive(Clone, Debug)]
pub struct Record {
    pub key: String,
    pub value: String,
    pub event: Event,
    pub trace: TraceContext,
    pub content_type: String,
    pub partition: i32,
    pub offset: i64,
    pub published_ms: i64,
}

/// Where in each partition; one that is not named is at its beginning.
pub type Offsets = BTreeMap<i32, i64>;

/// Everything on the topic, each partition in its order.
pub async fn topic(settings: &Kafka) -> anyhow::Result<Vec<Record>> {
    topic_since(settings, &Offsets::new()).await
}

/// As [`topic`], from there on.
pub async fn topic_since(settings: &Kafka, since: &Offsets) -> anyhow::Result<Vec<Record>> {
    let (settings, since) = (settings.clone(), since.clone());
    tokio::task::spawn_blocking(move || read_topic(&settings, &since)).await?
}

/// Where the next record of each partition will be.
pub async fn ends(settings: &Kafka) -> anyhow::Result<Offsets> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = kafka::consumer(&settings, "dump").create()?;
        Ok(kafka::end_offsets(&consumer, &settings.topic)?.into_iter().collect())
    })
    .await?
}

fn read_topic(settings: &Kafka, since: &Offsets) -> anyhow::Result<Vec<Record>> {
    let consumer: BaseConsumer = kafka::consumer(settings, "dump").set("enable.partition.eof", "true").create()?;
    let mut positions = TopicPartitionList::new();
    let mut remaining = BTreeSet::new();
    for partition in kafka::end_offsets(&consumer, &settings.topic)?.into_keys() {
        let start = since.get(&partition).map_or(Offset::Beginning, |offset| Offset::Offset(*offset));
        positions.add_partition_offset(&settings.topic, partition, start)?;
        remaining.insert(partition);
    }
    consumer.assign(&positions)?;
    let mut records = Vec::new();
    while !remaining.is_empty() {
        match consumer.poll(Duration::from_secs(20)) {
            Some(Ok(message)) => records.push(record(&message)?),
            // Not by an offset: a partition may end in what is no record, the marker of a transaction.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                remaining.remove(&partition);
            }
            Some(Err(error)) => return Err(error.into()),
            None => bail!("the topic could not be read"),
        }
    }
    Ok(records)
}

fn record(message: &impl Message) -> anyhow::Result<Record> {
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec());
    let value = text(message.payload())?;
    let headers = message.headers().context("a record without headers")?;
    let content_type = rdkafka::message::Headers::iter(headers).find(|header| header.key == "content-type");
    Ok(Record {
        key: text(message.key())?,
        event: serde_json::from_str(&value)?,
        value,
        trace: kafka::trace_of(message),
        content_type: text(content_type.and_then(|header| header.value))?,
        partition: message.partition(),
        offset: message.offset(),
        published_ms: message.timestamp().to_millis().unwrap_or_default(),
    })
}
