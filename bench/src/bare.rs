//! What the machine can do at all, without the relay: each of its steps alone, in a loop.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::ensure;
use harness::load::Load;
use hdrhistogram::Histogram;
use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseRecord, FutureProducer, FutureRecord, Producer, ProducerContext, ThreadedProducer},
};
use serde::Serialize;
use shared::{
    config::Kafka,
    event::{Event, TraceContext},
    kafka,
    lane::Lane,
    outbox,
};
use sqlx::{Executor, MySqlConnection, Row};
use tokio::task::JoinSet;

use crate::{
    drain::per_second,
    latency::{self, Percentiles},
    stage::{self, ENTITIES},
};

const TIMEOUT: Duration = Duration::from_mins(1);
const COMMITS_FOR: Duration = Duration::from_secs(5);
const SINGLE_RECORDS: usize = 1_000;

#[derive(Clone, Serialize)]
pub(crate) struct Bare {
    /// Of a producer with the relay's settings and the relay's records.
    pub(crate) produced_per_second: f64,
    /// Of rows read and deleted on one connection.
    pub(crate) deleted_per_second: f64,
    /// From sending one record to its acknowledgement.
    pub(crate) record: Percentiles,
    pub(crate) commits: Vec<Commits>,
}

/// Of one event each.
#[derive(Clone, Serialize)]
pub(crate) struct Commits {
    pub(crate) connections: usize,
    pub(crate) per_second: f64,
    pub(crate) commit: Percentiles,
}

impl Bare {
    pub(crate) async fn measure(events: usize) -> anyhow::Result<Self> {
        Ok(Self {
            produced_per_second: produced_per_second(events).await?,
            deleted_per_second: deleted_per_second(events).await?,
            record: Percentiles::from(&single_records().await?),
            commits: vec![commits(1).await?, commits(8).await?],
        })
    }
}

impl fmt::Display for Bare {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "| the machine alone | a second | p50 / p99 / max, ms |\n|---|---|---|")?;
        writeln!(to, "| produce | {:.0} | |", self.produced_per_second)?;
        writeln!(to, "| select and delete | {:.0} | |", self.deleted_per_second)?;
        writeln!(to, "| produce one record and await it | | {} |", self.record)?;
        for Commits { connections, per_second, commit } in &self.commits {
            writeln!(to, "| commit one event, {connections} connection(s) | {per_second:.0} | {commit} |")?;
        }
        Ok(())
    }
}

/// Counts what the broker has acknowledged.
#[derive(Clone, Default)]
struct Acknowledged(Arc<AtomicUsize>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Records a second of a producer with the relay's settings, from the first record to the last acknowledgement.
async fn produced_per_second(events: usize) -> anyhow::Result<f64> {
    let stack = stage::make().await?;
    let settings = stack.config.kafka.clone();
    let produced = tokio::task::spawn_blocking(move || produce(&settings, events)).await?;
    stack.discard().await?;
    produced
}

fn produce(settings: &Kafka, events: usize) -> anyhow::Result<f64> {
    let mut load = Load::new(0..ENTITIES);
    let records =
        (0..events).map(|_| load.next_event().and_then(|event| record(&event))).collect::<anyhow::Result<Vec<_>>>()?;
    let acknowledged = Acknowledged::default();
    let producer: ThreadedProducer<_> = kafka::producer(settings).create_with_context(acknowledged.clone())?;
    let start = Instant::now();
    for (key, lane, payload) in &records {
        let mut record =
            BaseRecord::to(&settings.topic).key(key).payload(payload).partition(lane.partition(settings.partitions));
        while let Err((error, refused)) = producer.send(record) {
            ensure!(error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            record = refused;
            std::thread::yield_now();
        }
    }
    producer.flush(TIMEOUT)?;
    let took = start.elapsed();
    let acknowledged = acknowledged.0.load(Ordering::Relaxed);
    ensure!(acknowledged == events, "{acknowledged} of {events} records were acknowledged");
    Ok(per_second(events, took))
}

fn record(event: &Event) -> anyhow::Result<(String, Lane, Vec<u8>)> {
    let key = event.key();
    Ok((key.to_string(), Lane::of(&key), serde_json::to_vec(event)?))
}

/// From sending one record to its acknowledgement, one after the other.
async fn single_records() -> anyhow::Result<Histogram<u64>> {
    let stack = stage::make().await?;
    let settings = &stack.config.kafka;
    let producer: FutureProducer = kafka::producer(settings).create()?;
    let mut load = Load::new(0..ENTITIES);
    let mut times = latency::histogram()?;
    for number in 0..SINGLE_RECORDS {
        let (key, lane, payload) = record(&load.next_event()?)?;
        let record = FutureRecord::to(&settings.topic)
            .key(&key)
            .payload(&payload)
            .partition(lane.partition(settings.partitions));
        let start = Instant::now();
        producer.send(record, TIMEOUT).await.map_err(|(error, _)| error)?;
        // The first ones find the brokers.
        if number >= SINGLE_RECORDS / 10 {
            latency::record(&mut times, start.elapsed())?;
        }
    }
    tokio::task::spawn_blocking(move || drop(producer)).await?;
    stack.discard().await?;
    Ok(times)
}

/// Rows a second that can be read and deleted, the one after the other, on one connection.
async fn deleted_per_second(events: usize) -> anyhow::Result<f64> {
    let stack = stage::make().await?;
    stage::fill(&stack, events).await?;
    let mut connection = stack.mysql().await?;
    let start = Instant::now();
    let mut done = 0;
    loop {
        let rows = connection
            .fetch_all(
                "SELECT id, lane, event_id, kind, entity_id, version, headers, payload FROM outbox_events \
                 ORDER BY id LIMIT 4000",
            )
            .await?;
        if rows.is_empty() {
            break;
        }
        done += rows.len();
        let mut lanes: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
        for row in rows {
            lanes.entry(row.try_get("lane")?).or_default().push(row.try_get("id")?);
        }
        delete(&mut connection, &lanes).await?;
    }
    let took = start.elapsed();
    ensure!(done == events, "{done} of {events} rows were read");
    stack.discard().await?;
    Ok(per_second(events, took))
}

/// In one text, which was the fastest of the forms tried.
async fn delete(connection: &mut MySqlConnection, lanes: &BTreeMap<u16, Vec<u64>>) -> anyhow::Result<()> {
    let mut text = "BEGIN;".to_owned();
    for (lane, ids) in lanes {
        write!(text, "DELETE FROM outbox_events WHERE lane = {lane} AND id IN (")?;
        for (at, id) in ids.iter().enumerate() {
            write!(text, "{}{id}", if at == 0 { "" } else { "," })?;
        }
        text.push_str(");");
    }
    text.push_str("COMMIT");
    // Numbers only.
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(text))).await?;
    Ok(())
}

/// How long the commit of one event takes, and how many there are in a second, on so many connections at once.
async fn commits(connections: usize) -> anyhow::Result<Commits> {
    let stack = stage::make().await?;
    let mut writers = JoinSet::new();
    let share = ENTITIES / connections;
    let start = Instant::now();
    for number in 0..connections {
        let mut connection = stack.mysql().await?;
        writers.spawn(async move {
            let mut load = Load::new(number * share..(number + 1) * share);
            let mut times = latency::histogram()?;
            while start.elapsed() < COMMITS_FOR {
                let event = load.next_event()?;
                let before = Instant::now();
                outbox::append(&mut connection, &[event], &TraceContext::default(), usize::MAX).await?;
                latency::record(&mut times, before.elapsed())?;
            }
            anyhow::Ok(times)
        });
    }
    let mut times = latency::histogram()?;
    while let Some(written) = writers.join_next().await {
        times.add(written??)?;
    }
    let took = start.elapsed();
    stack.discard().await?;
    let count = usize::try_from(times.len())?;
    Ok(Commits { connections, per_second: per_second(count, took), commit: Percentiles::from(&times) })
}
