//! What a consumer group has not read yet.

use std::{collections::HashSet, time::Duration};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
};

use super::{TIMEOUT, TopicError, consumer, end_offsets};
use crate::config;

/// How long the first record of a partition, or its end, may take to come.
const LIMIT: Duration = Duration::from_secs(2);

/// When the oldest record was published that the group has not committed; None where it has committed all. Asks the
/// brokers: not on the runtime's threads.
///
/// A partition may end in what is no record, the marker of a transaction, which no group commits: so the records are
/// asked for, not only the offsets. It does not join the group.
pub fn oldest_unread_ms(settings: &config::Kafka, group: &str) -> Result<Option<i64>, TopicError> {
    let name = format!("{}-{group}", settings.group_prefix);
    let client: BaseConsumer = consumer(settings, &name).set("enable.partition.eof", "true").create()?;
    let ends = end_offsets(&client, &settings.topic)?;
    let mut asked = TopicPartitionList::new();
    for partition in ends.keys() {
        asked.add_partition(&settings.topic, *partition);
    }
    let mut positions = TopicPartitionList::new();
    let mut waiting = HashSet::new();
    for element in client.committed_offsets(asked, TIMEOUT)?.elements() {
        let (partition, committed) = (element.partition(), element.offset().to_raw().filter(|at| *at >= 0));
        let next = committed.map_or(Offset::Beginning, Offset::Offset);
        if ends.get(&partition).is_some_and(|end| committed.unwrap_or_default() < *end) {
            positions.add_partition_offset(&settings.topic, partition, next)?;
            waiting.insert(partition);
        }
    }
    client.assign(&positions)?;
    let mut oldest = None;
    while !waiting.is_empty() {
        match client.poll(LIMIT) {
            Some(Ok(record)) => {
                if waiting.remove(&record.partition()) {
                    let published = record.timestamp().to_millis().unwrap_or_default();
                    oldest = Some(oldest.map_or(published, |oldest: i64| oldest.min(published)));
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                waiting.remove(&partition);
            }
            Some(Err(error)) => return Err(error.into()),
            None => return Err(TopicError::Kafka(KafkaError::NoMessageReceived)),
        }
    }
    Ok(oldest)
}
