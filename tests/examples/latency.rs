//! How long after its commit a change is on Kafka: 200 creates a second for 20 seconds, with the bell and without.
//!
//! `make bench-latency`. The commit is counted from the answer 201, which comes after it, the arrival from a
//! consumer, which sees a record after its acknowledgement: so what is told is at the most a little too long. Beside
//! it, what the machine can do at all: the time of the POST itself.

#![expect(clippy::print_stdout, reason = "the result")]

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use harness::{client::Client, stack::Stack, wait};
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
};
use serde_json::json;
use shared::{config::Kafka, event::Event, kafka};
use tokio_util::sync::CancellationToken;
use worker::app::Role;

const RATE: u32 = 200;
const SECONDS: u32 = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("{RATE} creates/s for {SECONDS} s, one API and one worker with all roles; milliseconds");
    println!("{:<16} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "p50", "p90", "p99", "max", "POST p50");
    measure("with the bell", true).await?;
    measure("without the bell", false).await
}

async fn measure(name: &str, bell: bool) -> anyhow::Result<()> {
    let mut stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let prefix = stack.config.redis.prefix.clone();
    if !bell {
        // The worker listens where nobody rings.
        stack.config.redis.prefix = format!("{prefix}-deaf");
    }
    let worker = stack.start_worker(&Role::ALL).await?;
    stack.config.redis.prefix = prefix;
    client.post("/api/v1/users", &json!({ "email": "first@example.com", "name": "First" })).await?;
    stack.settled().await?;

    let arrivals = follow(&stack.config.kafka, CancellationToken::new()).await?;
    let answers = create(&client).await?;
    stack.settled().await?;
    let arrived = arrivals.finish().await?;
    let mut delays = Vec::new();
    let mut posts = Vec::new();
    for (id, posted, answered) in answers {
        let arrived = arrived.get(&id).with_context(|| format!("{id} did not arrive"))?;
        delays.push(arrived.saturating_duration_since(answered));
        posts.push(answered - posted);
    }
    delays.sort_unstable();
    posts.sort_unstable();
    println!(
        "{name:<16} {:>8.1} {:>8.1} {:>8.1} {:>8.1} {:>8.1}",
        at(&delays, 50),
        at(&delays, 90),
        at(&delays, 99),
        at(&delays, 100),
        at(&posts, 50)
    );
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// The percentile in milliseconds.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len() - 1)).map_or(0.0, Duration::as_secs_f64) * 1_000.0
}

/// Posts at the rate, whatever the answers take. Answers with id, when it was sent and when it was answered.
async fn create(client: &Client) -> anyhow::Result<Vec<(String, Instant, Instant)>> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..RATE * SECONDS {
        ticks.tick().await;
        let client = client.clone();
        posts.spawn(async move {
            let posted = Instant::now();
            let body = json!({ "email": "test@example.com", "name": "Test User" });
            let answer = client.post("/api/v1/users", &body).await?;
            ensure!(answer.status == 201, "{answer:?}");
            Ok((answer.body["id"].as_str().unwrap_or_default().to_owned(), posted, Instant::now()))
        });
    }
    posts.join_all().await.into_iter().collect()
}

struct Arrivals {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<HashMap<String, Instant>>>,
}

impl Arrivals {
    async fn finish(self) -> anyhow::Result<HashMap<String, Instant>> {
        wait::pause(Duration::from_millis(500)).await;
        self.stop.cancel();
        self.task.await?
    }
}

/// Notes when each user's record arrives, from now on.
async fn follow(settings: &Kafka, stop: CancellationToken) -> anyhow::Result<Arrivals> {
    let (settings, stopped) = (settings.clone(), stop.clone());
    let consumer = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = kafka::consumer(&settings, "latency").set("fetch.wait.max.ms", "10").create()?;
        let mut positions = TopicPartitionList::new();
        for (partition, end) in kafka::end_offsets(&consumer, &settings.topic)? {
            positions.add_partition_offset(&settings.topic, partition, Offset::Offset(end))?;
        }
        consumer.assign(&positions)?;
        anyhow::Ok(consumer)
    })
    .await??;
    let task = tokio::task::spawn_blocking(move || {
        let mut arrived = HashMap::new();
        while !stopped.is_cancelled() {
            if let Some(message) = consumer.poll(Duration::from_millis(50)) {
                let now = Instant::now();
                let event: Event = serde_json::from_slice(message?.payload().unwrap_or_default())?;
                arrived.entry(event.entity_id.to_string()).or_insert(now);
            }
        }
        Ok(arrived)
    });
    Ok(Arrivals { stop, task })
}
