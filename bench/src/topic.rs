//! What came to the topic: when, in which order, how often.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde::Deserialize;
use shared::{config::Kafka, kafka};

const POLL: Duration = Duration::from_millis(50);

/// A record as a consumer sees it.
pub(crate) struct Arrival {
    pub(crate) entity: String,
    pub(crate) version: u64,
    /// By the broker's clock, cut to milliseconds.
    pub(crate) appended: SystemTime,
    pub(crate) seen: SystemTime,
}

#[derive(Deserialize)]
struct Change<'a> {
    entityid: &'a str,
    entityversion: u64,
}

/// Reads the topic from its beginning and shows what comes, or None where for a moment nothing does, until it is told
/// to end. Blocks.
pub(crate) fn follow(
    settings: &Kafka,
    mut show: impl FnMut(Option<Arrival>) -> anyhow::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let consumer: BaseConsumer = kafka::consumer(settings, "bench").set("fetch.wait.max.ms", "10").create()?;
    let mut positions = TopicPartitionList::new();
    for partition in 0..i32::from(settings.partitions) {
        positions.add_partition_offset(&settings.topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&positions)?;
    loop {
        let message = consumer.poll(POLL).transpose()?;
        let seen = SystemTime::now();
        let arrival = message.map(|message| {
            let change: Change<'_> = serde_json::from_slice(message.payload().unwrap_or_default())?;
            let appended_ms = message.timestamp().to_millis().context("a record without a time")?;
            anyhow::Ok(Arrival {
                entity: change.entityid.to_owned(),
                version: change.entityversion,
                appended: SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(appended_ms)?),
                seen,
            })
        });
        if show(arrival.transpose()?)?.is_break() {
            return Ok(());
        }
    }
}

/// How many records the topic has. Blocks.
pub(crate) fn len(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<usize> {
    let records: i64 = kafka::end_offsets(consumer, topic)?.values().sum();
    Ok(usize::try_from(records)?)
}

/// What is wrong with the records seen so far.
#[derive(Default)]
pub(crate) struct Judge {
    entities: BTreeMap<String, Seen>,
    pub(crate) duplicates: usize,
    /// First deliveries of a version that is not the next one of its entity.
    pub(crate) out_of_order: usize,
}

#[derive(Default)]
struct Seen {
    /// All versions up to this one.
    upto: u64,
    /// Versions beyond a hole.
    beyond: BTreeSet<u64>,
}

impl Judge {
    pub(crate) fn see(&mut self, arrival: &Arrival) {
        // Not by `entry`, which wants a name of its own for each record.
        if !self.entities.contains_key(&arrival.entity) {
            self.entities.insert(arrival.entity.clone(), Seen::default());
        }
        let Some(seen) = self.entities.get_mut(&arrival.entity) else { return };
        if arrival.version <= seen.upto || seen.beyond.contains(&arrival.version) {
            self.duplicates += 1;
        } else if arrival.version == seen.upto + 1 {
            seen.upto += 1;
            // What comes late was counted when the one beyond it came.
            while seen.beyond.remove(&(seen.upto + 1)) {
                seen.upto += 1;
            }
        } else {
            self.out_of_order += 1;
            seen.beyond.insert(arrival.version);
        }
    }

    /// How many of the changes did not come.
    pub(crate) fn missing(&self, changes: &BTreeMap<String, u64>) -> u64 {
        let came = |id| self.entities.get(id).map_or(0, |seen| seen.upto + seen.beyond.len() as u64);
        changes.iter().map(|(id, versions)| versions.saturating_sub(came(id))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(versions: &[u64]) -> Judge {
        let mut judge = Judge::default();
        for version in versions {
            let now = SystemTime::now();
            judge.see(&Arrival { entity: "u1".to_owned(), version: *version, appended: now, seen: now });
        }
        judge
    }

    #[test]
    fn duplicates_disorder_and_loss_are_told_apart() {
        let expected = BTreeMap::from([("u1".to_owned(), 4)]);
        for (versions, duplicates, out_of_order, missing) in [
            (&[1, 2, 3, 4][..], 0, 0, 0),
            (&[1, 2, 2, 3, 1, 4], 2, 0, 0),
            (&[1, 3, 2, 4], 0, 1, 0),
            (&[1, 3, 3, 4], 1, 2, 1),
            (&[], 0, 0, 4),
        ] {
            let judge = judged(versions);
            assert_eq!(
                (judge.duplicates, judge.out_of_order, judge.missing(&expected)),
                (duplicates, out_of_order, missing),
                "{versions:?}"
            );
        }
    }
}
