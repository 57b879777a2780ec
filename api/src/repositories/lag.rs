//! How far the documents are behind MySQL: the age of the oldest change that the projector has not committed, whether
//! it still waits in the outbox or is on the topic.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use shared::{
    config,
    kafka::{self, TopicError},
    lifecycle::Lifecycle,
    outbox,
    telemetry::one_line,
};
use sqlx::MySqlPool;
use tokio::sync::Mutex;

/// For so long an answer is given again.
const FRESH: Duration = Duration::from_millis(500);
/// All questions to MySQL and Kafka together.
const LIMIT: Duration = Duration::from_secs(2);
/// Until a record that is there has come.
const RECORD_LIMIT: Duration = Duration::from_secs(1);

/// Cheap to clone; all clones share one answer.
#[derive(Clone)]
pub(super) struct Lag {
    pool: MySqlPool,
    kafka: config::Kafka,
    lifecycle: Lifecycle,
    known: Arc<Mutex<Option<Answer>>>,
}

#[derive(Clone, Copy)]
struct Answer {
    at: Instant,
    lag_ms: Option<u64>,
}

impl Lag {
    pub(super) fn new(pool: MySqlPool, kafka: &config::Kafka, lifecycle: Lifecycle) -> Self {
        Self { pool, kafka: kafka.clone(), lifecycle, known: Arc::default() }
    }

    /// None where it cannot be told. Asked once, however many want to know.
    pub(super) async fn milliseconds(&self) -> Option<u64> {
        let mut known = self.known.lock().await;
        if let Some(answer) = *known
            && answer.at.elapsed() < FRESH
        {
            return answer.lag_ms;
        }
        let lag_ms = tokio::time::timeout(LIMIT, self.ask()).await.ok().flatten();
        *known = Some(Answer { at: Instant::now(), lag_ms });
        lag_ms
    }

    async fn ask(&self) -> Option<u64> {
        // In the order of the way: what leaves the outbox meanwhile is on the topic when that is asked.
        let waiting = outbox::oldest_age_ms(&self.pool).await.ok()?;
        let kafka = self.kafka.clone();
        let asked = tokio::task::spawn_blocking(move || unprojected_ms(&kafka));
        let published = self.lifecycle.spawn(asked).await.ok()?.ok()?;
        match published {
            Ok(published) => Some(waiting.max(published)),
            Err(error) => {
                tracing::debug!(error = one_line(&error), "the projector's lag cannot be told");
                None
            }
        }
    }
}

/// The age of the oldest record behind the group's offsets; 0 where there is none.
fn unprojected_ms(settings: &config::Kafka) -> Result<u64, TopicError> {
    // It asks for the group's offsets and does not join it.
    let consumer: BaseConsumer = kafka::consumer(settings, &format!("{}-projector", settings.group_prefix)).create()?;
    let ends = kafka::end_offsets(&consumer, &settings.topic)?;
    let mut asked = TopicPartitionList::new();
    for partition in ends.keys() {
        asked.add_partition(&settings.topic, *partition);
    }
    let committed = consumer.committed_offsets(asked, kafka::TIMEOUT)?;
    let mut behind: HashMap<i32, i64> = HashMap::new();
    for element in committed.elements() {
        let next = element.offset().to_raw().filter(|next| *next >= 0).unwrap_or_default();
        if ends.get(&element.partition()).is_some_and(|end| next < *end) {
            behind.insert(element.partition(), next);
        }
    }
    let oldest = oldest_record_ms(&consumer, &settings.topic, &behind)?;
    Ok(oldest.map_or(0, |oldest| u64::try_from(Utc::now().timestamp_millis() - oldest).unwrap_or_default()))
}

fn oldest_record_ms(
    consumer: &BaseConsumer,
    topic: &str,
    behind: &HashMap<i32, i64>,
) -> Result<Option<i64>, TopicError> {
    if behind.is_empty() {
        return Ok(None);
    }
    let mut positions = TopicPartitionList::new();
    for (partition, offset) in behind {
        positions.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&positions)?;
    let mut firsts: HashMap<i32, i64> = HashMap::new();
    while firsts.len() < behind.len() {
        // A partition may end in what is no record.
        let Some(record) = consumer.poll(RECORD_LIMIT) else { break };
        let record = record?;
        firsts.entry(record.partition()).or_insert(record.timestamp().to_millis().unwrap_or_default());
    }
    Ok(firsts.into_values().min())
}
