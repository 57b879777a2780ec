//! What happens to Kafka's nodes while a fleet publishes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use shared::kafka;

use super::Fleet;
use crate::wait;

/// As `scripts/servers` calls them; the node with the number 1 is the first.
pub const NODES: [&str; 3] = ["kafka-1", "kafka-2", "kafka-3"];

/// Who leads a partition, and how many have all of it.
struct Partition {
    leader: i32,
    in_sync: usize,
}

impl Fleet {
    async fn partitions(&self) -> anyhow::Result<Vec<Partition>> {
        let settings = self.stack.config.kafka.clone();
        tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = kafka::consumer(&settings, "look").create()?;
            let metadata = consumer.fetch_metadata(Some(&settings.topic), kafka::TIMEOUT)?;
            let topic = metadata.topics().first().context("no topic")?;
            let partitions = topic.partitions().iter();
            Ok(partitions.map(|it| Partition { leader: it.leader(), in_sync: it.isr().len() }).collect())
        })
        .await?
    }

    /// The node that leads the most partitions.
    pub async fn leader(&self) -> anyhow::Result<&'static str> {
        let mut led: BTreeMap<i32, usize> = BTreeMap::new();
        for partition in self.partitions().await? {
            *led.entry(partition.leader).or_default() += 1;
        }
        let (leader, _) = led.into_iter().max_by_key(|(_, partitions)| *partitions).context("no leader")?;
        let place = usize::try_from(leader - 1).context("no leader")?;
        NODES.get(place).copied().context("no such node")
    }

    /// Waits until each partition has a leader, and all nodes have all of it.
    pub async fn in_sync(&self) -> anyhow::Result<()> {
        wait::until("all nodes have everything", async || {
            // A node that has just begun may not answer yet.
            let Ok(partitions) = self.partitions().await else { return Ok(None) };
            let whole = partitions.iter().all(|partition| partition.leader > 0 && partition.in_sync == NODES.len());
            Ok((whole && !partitions.is_empty()).then_some(()))
        })
        .await
    }

    /// Looks for a while, and until no more waits than is always on its way: how long the oldest event waited at the most.
    pub async fn longest_wait(&mut self) -> anyhow::Result<Duration> {
        const WHILE: Duration = Duration::from_secs(8);
        const ON_ITS_WAY: i64 = 200;
        let (start, mut longest) = (Instant::now(), 0);
        wait::until("the outbox is drained", async || {
            let (depth, oldest_us): (i64, i64) = sqlx::query_as(
                "SELECT COUNT(*), COALESCE(TIMESTAMPDIFF(MICROSECOND, MIN(created_at), UTC_TIMESTAMP(6)), 0) \
                 FROM outbox_events",
            )
            .fetch_one(&mut self.connection)
            .await?;
            longest = longest.max(oldest_us);
            Ok((start.elapsed() > WHILE && depth < ON_ITS_WAY).then_some(()))
        })
        .await?;
        Ok(Duration::from_micros(u64::try_from(longest)?))
    }
}
