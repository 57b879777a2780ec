//! How far the documents are behind MySQL: the age of the oldest change that the projector has not committed, whether
//! it still waits in the outbox or is on the topic.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
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

/// The age of the oldest record behind the projector's offsets; 0 where there is none.
fn unprojected_ms(settings: &config::Kafka) -> Result<u64, TopicError> {
    let oldest = kafka::oldest_unread_ms(settings, "projector")?;
    Ok(oldest.map_or(0, |oldest| u64::try_from(Utc::now().timestamp_millis() - oldest).unwrap_or_default()))
}
