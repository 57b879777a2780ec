//! The tail: reads all partitions of the topic, without a group, and hands each event to the hub.
//!
//! Every process has one and starts at the end: what was published before is in the REST answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, StreamConsumer},
    error::KafkaError,
};
use shared::{
    config::Kafka,
    event::Event,
    kafka::{self, TopicError},
    lifecycle::Lifecycle,
    telemetry::one_line,
};

use tokio::time::Instant;

use super::hub::Hub;

/// Between two looks for brokers that are away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks for partitions that were added.
const LOOK_PAUSE: Duration = Duration::from_secs(5);

const STARTING: u8 = 0;
const FOLLOWING: u8 = 1;
const AWAY: u8 = 2;

/// What is known of the tail. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Tail {
    condition: Arc<AtomicU8>,
}

impl Tail {
    /// Begins to follow the topic, in a task of its own.
    pub(crate) fn start(settings: Kafka, hub: Hub, lifecycle: &Lifecycle) -> Self {
        let tail = Self::default();
        let (follower, stop) = (tail.clone(), lifecycle.clone());
        lifecycle.spawn(async move {
            while !stop.is_stopping() {
                match stop.unless_stopped(follower.follow(&settings, &hub)).await {
                    None => return,
                    Some(error) => tracing::warn!(error = one_line(&error), "notifications are degraded"),
                }
                follower.set(AWAY);
                stop.pause(RETRY_PAUSE).await;
            }
        });
        tail
    }

    /// Before the tail has found its place and before it knows that Kafka is away.
    pub(crate) fn is_starting(&self) -> bool {
        self.condition.load(Ordering::Acquire) == STARTING
    }

    /// Whether changes reach the sockets as they happen.
    pub(crate) fn is_following(&self) -> bool {
        self.condition.load(Ordering::Acquire) == FOLLOWING
    }

    fn set(&self, condition: u8) {
        self.condition.store(condition, Ordering::Release);
    }

    /// Follows from the end on, through interruptions, until the place is lost.
    async fn follow(&self, settings: &Kafka, hub: &Hub) -> TopicError {
        let (consumer, mut partitions) = match Self::at_the_end(settings).await {
            Ok(found) => found,
            Err(error) => return error,
        };
        let mut next_look = Instant::now() + LOOK_PAUSE;
        let mut gone_since = None;
        if !self.is_starting() {
            // Kafka was away: what was published before the place was found went past the sockets opened meanwhile.
            hub.end_all();
        }
        self.set(FOLLOWING);
        loop {
            if Instant::now() >= next_look {
                next_look = Instant::now() + LOOK_PAUSE;
                if let Err(error) = follow_new(&consumer, settings, &mut partitions).await {
                    tracing::debug!(error = one_line(&error), "it is not known whether partitions were added");
                }
            }
            match tokio::time::timeout(RETRY_PAUSE, consumer.recv()).await {
                Ok(Ok(message)) => {
                    gone_since = None;
                    self.set(FOLLOWING);
                    publish(&message, hub);
                }
                Ok(Err(error)) => {
                    if kafka::is_gone(&error)
                        && gone_since.get_or_insert_with(Instant::now).elapsed() > kafka::GONE_LIMIT
                    {
                        return error.into();
                    }
                    // The client reconnects by itself and goes on where it was: nothing is missed.
                    tracing::debug!(error = one_line(&error), "the tail was interrupted");
                    self.set(AWAY);
                }
                // Silence is either nothing to tell or nobody there.
                Err(_) => {
                    gone_since = None;
                    if !self.is_following() && kafka::find_topic(settings).await.is_ok() {
                        self.set(FOLLOWING);
                    }
                }
            }
        }
    }

    /// A consumer that stands at the end of every partition: at offsets that were asked for, so that whatever is
    /// published from now on is seen. With the number of partitions.
    async fn at_the_end(settings: &Kafka) -> Result<(Arc<StreamConsumer>, u16), TopicError> {
        let mut client = kafka::consumer(settings, "unused");
        // Where the place is gone (the topic made anew, or retention passed): from what there is.
        client.set("auto.offset.reset", "earliest");
        let (asking, topic): (BaseConsumer, _) = (client.create()?, settings.topic.clone());
        let asked = tokio::task::spawn_blocking(move || kafka::end_offsets(&asking, &topic)).await;
        let ends = asked.unwrap_or(Err(TopicError::Kafka(KafkaError::Canceled)))?;
        let mut positions = TopicPartitionList::new();
        let partitions = u16::try_from(ends.len()).unwrap_or(u16::MAX);
        for (partition, end) in ends {
            positions.add_partition_offset(&settings.topic, partition, Offset::Offset(end))?;
        }
        let consumer: StreamConsumer = client.create()?;
        consumer.assign(&positions)?;
        Ok((Arc::new(consumer), partitions))
    }
}

/// Follows partitions that were added, each from its beginning: whatever is in them was published after that.
async fn follow_new(consumer: &Arc<StreamConsumer>, settings: &Kafka, partitions: &mut u16) -> Result<(), TopicError> {
    let (asking, topic) = (consumer.clone(), settings.topic.clone());
    let asked = tokio::task::spawn_blocking(move || kafka::partitions(asking.client(), &topic)).await;
    let found = asked.unwrap_or(Err(TopicError::Kafka(KafkaError::Canceled)))?;
    if found > *partitions {
        let mut added = TopicPartitionList::new();
        for partition in *partitions..found {
            added.add_partition_offset(&settings.topic, i32::from(partition), Offset::Beginning)?;
        }
        consumer.incremental_assign(&added)?;
        *partitions = found;
    }
    Ok(())
}

fn publish(message: &impl Message, hub: &Hub) {
    let payload = message.payload().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    match serde_json::from_str::<Event>(payload) {
        Ok(Event { recipient: Some(recipient), .. }) => hub.publish(&recipient, &Arc::from(payload)),
        Ok(_) => {}
        Err(error) => {
            let (partition, offset) = (message.partition(), message.offset());
            tracing::error!(partition, offset, error = one_line(&error), "a record that is no event was skipped");
        }
    }
}
