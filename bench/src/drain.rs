//! How fast a backlog is drained: the events are there, then the workers are started.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use harness::{stack::Stack, wait};
use rdkafka::consumer::BaseConsumer;
use serde::Serialize;
use shared::{config::Kafka, kafka};

use crate::{
    stage,
    topic::{self, Judge},
    worker::{Usage, Worker},
};

/// Without a single new record for so long, the drain has failed.
const STALLED: Duration = Duration::from_mins(1);
/// A topic that shows nothing more for so long has nothing more.
const NO_MORE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) events: usize,
    pub(crate) workers: usize,
    /// As `--roles` takes them; empty means all.
    pub(crate) roles: &'static str,
    /// Whether another connection holds an old read view meanwhile.
    pub(crate) old_view: bool,
}

#[derive(Clone, Serialize)]
pub(crate) struct Drained {
    pub(crate) events: usize,
    pub(crate) workers: usize,
    pub(crate) roles: &'static str,
    pub(crate) old_view: bool,
    /// From the first to the last record on the topic.
    pub(crate) events_per_second: f64,
    /// From the first record to the last row's deletion.
    pub(crate) deleted_per_second: f64,
    pub(crate) first_record_ms: f64,
    /// From the start of the workers to the last row's deletion.
    pub(crate) empty_after_ms: f64,
    /// Of all workers, until the outbox was empty.
    pub(crate) cpu_seconds_per_100k: f64,
    /// Of the largest worker.
    pub(crate) peak_mib: f64,
    pub(crate) duplicates: usize,
    pub(crate) out_of_order: usize,
    pub(crate) missing: u64,
}

pub(crate) async fn run(plan: Plan) -> anyhow::Result<Drained> {
    let stack = stage::make().await?;
    let drained = measure(&stack, plan).await;
    stack.discard().await?;
    drained
}

async fn measure(stack: &Stack, plan: Plan) -> anyhow::Result<Drained> {
    let view = if plan.old_view { Some(stage::old_view(stack).await?) } else { None };
    let load = stage::fill(stack, plan.events).await?;
    let workers =
        (0..plan.workers).map(|_| Worker::start(&stack.config, plan.roles)).collect::<anyhow::Result<Vec<_>>>()?;
    let started = workers.first().context("no worker")?.started;
    all_published(&stack.config.kafka, plan.events).await?;
    wait::until("the outbox is empty", async || Ok((stack.outbox_depth().await? == 0).then_some(()))).await?;
    let empty_after = started.elapsed()?;
    let usages = workers.iter().map(Worker::usage).collect::<anyhow::Result<Vec<Usage>>>()?;
    for worker in workers {
        worker.stop().await?;
    }
    drop(view);
    let topic = read(&stack.config.kafka, load.versions()).await?;
    let first_record = topic.first.duration_since(started).unwrap_or_default();
    let cpu: Duration = usages.iter().map(|usage| usage.cpu).sum();
    let peak_mib = usages.iter().map(|usage| usage.peak_mib()).fold(0.0, f64::max);
    Ok(Drained {
        events: plan.events,
        workers: plan.workers,
        roles: if plan.roles.is_empty() { "all" } else { plan.roles },
        old_view: plan.old_view,
        events_per_second: per_second(plan.events, topic.last.duration_since(topic.first)?),
        deleted_per_second: per_second(plan.events, empty_after.saturating_sub(first_record)),
        first_record_ms: millis(first_record),
        empty_after_ms: millis(empty_after),
        cpu_seconds_per_100k: cpu.as_secs_f64() * 100_000.0 / count(plan.events),
        peak_mib,
        duplicates: topic.judge.duplicates,
        out_of_order: topic.judge.out_of_order,
        missing: topic.missing,
    })
}

/// Waits by the end of the topic: counting rows would take from MySQL what is measured.
async fn all_published(settings: &Kafka, events: usize) -> anyhow::Result<()> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = kafka::client(&settings).create()?;
        let (mut seen, mut since) = (0, Instant::now());
        while seen < events {
            std::thread::sleep(LOOK);
            let now = topic::len(&consumer, &settings.topic)?;
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
            ensure!(since.elapsed() < STALLED, "the drain stalled at {seen} of {events} events");
        }
        Ok(())
    })
    .await?
}

struct Topic {
    judge: Judge,
    missing: u64,
    first: SystemTime,
    last: SystemTime,
}

/// Reads the topic to its end, by what comes: with transactions the offsets count more than records.
async fn read(settings: &Kafka, changes: BTreeMap<String, u64>) -> anyhow::Result<Topic> {
    let settings = settings.clone();
    tokio::task::spawn_blocking(move || {
        let mut left: u64 = changes.values().sum();
        let mut judge = Judge::default();
        let mut times: Option<(SystemTime, SystemTime)> = None;
        let mut last_came = Instant::now();
        topic::follow(&settings, |arrival| {
            let Some(arrival) = arrival else {
                let ended = left == 0 || last_came.elapsed() > NO_MORE;
                return Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
            };
            judge.see(&arrival);
            let at = arrival.appended;
            times = Some(times.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
            left = left.saturating_sub(1);
            last_came = Instant::now();
            Ok(ControlFlow::Continue(()))
        })?;
        let (first, last) = times.context("the topic is empty")?;
        Ok(Topic { missing: judge.missing(&changes), judge, first, last })
    })
    .await?
}

pub(crate) fn per_second(events: usize, duration: Duration) -> f64 {
    count(events) / duration.as_secs_f64()
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn count(count: usize) -> f64 {
    count as f64
}
