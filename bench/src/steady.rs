//! How long after its commit a change is on Kafka and with a consumer, at a steady rate.
//!
//! Each event is a durable transaction of its own, an insert into the outbox and nothing else, followed by the bell as
//! the API rings it. The writers keep to their times whatever the database takes.

use std::{
    collections::HashMap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use harness::{load::Load, stack::Stack, wait};
use hdrhistogram::Histogram;
use serde::Serialize;
use shared::{bell::Bell, event::TraceContext, lane::Lane, lifecycle::Lifecycle, outbox, redis::Redis};
use sqlx::MySqlConnection;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use crate::{
    drain::per_second,
    latency::{self, Percentiles},
    stage::{self, ENTITIES},
    topic::{self, Arrival, Judge},
    worker::Worker,
};

/// Not counted: caches fill, statements are prepared.
const WARM_UP: Duration = Duration::from_secs(3);
/// The broker's time is cut to milliseconds: a record is taken to be appended at the end of its own.
const APPENDED_WITHIN: Duration = Duration::from_millis(1);

#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// Events a second.
    pub(crate) rate: u32,
    pub(crate) seconds: u32,
    /// How many connections write.
    pub(crate) writers: u32,
    pub(crate) workers: usize,
    pub(crate) roles: &'static str,
}

#[derive(Clone, Serialize)]
pub(crate) struct Steady {
    pub(crate) rate: u32,
    pub(crate) reached_rate: f64,
    pub(crate) writers: u32,
    pub(crate) workers: usize,
    pub(crate) roles: &'static str,
    /// Of the writers' own transactions, from sending to the answer.
    pub(crate) commit: Percentiles,
    /// From the answer to COMMIT to the record's place in the broker's log.
    pub(crate) acknowledged: Percentiles,
    /// From the answer to COMMIT to a consumer.
    pub(crate) consumed: Percentiles,
    /// Of one core, all workers together.
    pub(crate) cpu_percent: f64,
    pub(crate) duplicates: usize,
    pub(crate) out_of_order: usize,
    pub(crate) missing: u64,
}

pub(crate) async fn run(plan: Plan) -> anyhow::Result<Steady> {
    let stack = stage::make().await?;
    let steady = measure(&stack, plan).await;
    stack.discard().await?;
    steady
}

async fn measure(stack: &Stack, plan: Plan) -> anyhow::Result<Steady> {
    let workers =
        (0..plan.workers).map(|_| Worker::start(&stack.config, plan.roles)).collect::<anyhow::Result<Vec<_>>>()?;
    let (stop, following) = follow(stack);
    let cpu = || workers.iter().try_fold(Duration::ZERO, |sum, worker| anyhow::Ok(sum + worker.usage()?.cpu));
    warm_up(stack).await?;
    let (before, start) = (cpu()?, Instant::now());
    let written = write(stack, plan).await?;
    let took = start.elapsed();
    let cpu_percent = cpu()?.saturating_sub(before).as_secs_f64() / took.as_secs_f64() * 100.0;
    wait::until("the outbox is empty", async || Ok((stack.outbox_depth().await? == 0).then_some(()))).await?;
    wait::pause(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    let arrivals = following.await??;
    for worker in workers {
        worker.stop().await?;
    }
    let seen = compare(&written, &arrivals)?;
    Ok(Steady {
        rate: plan.rate,
        reached_rate: per_second(written.commits.len(), took),
        writers: plan.writers,
        workers: plan.workers,
        roles: if plan.roles.is_empty() { "all" } else { plan.roles },
        commit: Percentiles::from(&written.times),
        acknowledged: Percentiles::from(&seen.acknowledged),
        consumed: Percentiles::from(&seen.consumed),
        cpu_percent,
        duplicates: seen.judge.duplicates,
        out_of_order: seen.judge.out_of_order,
        missing: seen.missing,
    })
}

/// The entity that is written before the measurement, so that everybody is there when it begins.
const FIRST: usize = ENTITIES;

async fn warm_up(stack: &Stack) -> anyhow::Result<()> {
    Load::new(FIRST..FIRST + 1).fill(&mut stack.mysql().await?, 1).await?;
    wait::until("the worker drains", async || Ok((stack.outbox_depth().await? == 0).then_some(()))).await
}

struct Written {
    commits: HashMap<(String, u64), SystemTime>,
    times: Histogram<u64>,
    counted_from: SystemTime,
}

async fn write(stack: &Stack, plan: Plan) -> anyhow::Result<Written> {
    let lifecycle = Lifecycle::new();
    let bell = Bell::start(Redis::new(&stack.config.redis)?, &stack.config.redis.prefix, &lifecycle);
    let mut connections = Vec::new();
    for _ in 0..plan.writers {
        connections.push(stack.mysql().await?);
    }
    let counted_from = SystemTime::now() + WARM_UP;
    let start = Instant::now();
    let mut writers = JoinSet::new();
    for (number, connection) in (0..).zip(connections) {
        writers.spawn(write_in_time(connection, bell.clone(), plan, start, number));
    }
    let mut written = Written { commits: HashMap::new(), times: latency::histogram()?, counted_from };
    while let Some(commits) = writers.join_next().await {
        for (key, before, after) in commits?? {
            if after >= counted_from {
                latency::record(&mut written.times, after.duration_since(before).unwrap_or_default())?;
            }
            written.commits.insert(key, after);
        }
    }
    lifecycle.stop();
    lifecycle.drained(wait::DEADLINE).await;
    Ok(written)
}

type Commit = ((String, u64), SystemTime, SystemTime);

/// One of the writers: every so manieth event, of entities that nobody else writes.
async fn write_in_time(
    mut connection: MySqlConnection,
    bell: Bell,
    plan: Plan,
    start: Instant,
    number: u32,
) -> anyhow::Result<Vec<Commit>> {
    let share = ENTITIES / usize::try_from(plan.writers)?;
    let first = share * usize::try_from(number)?;
    let mut load = Load::new(first..first + share);
    let step = Duration::from_secs(1) / plan.rate;
    let mut ticks = tokio::time::interval_at(start + step * number, step * plan.writers);
    let end = start + WARM_UP + Duration::from_secs(plan.seconds.into());
    let mut commits = Vec::new();
    while ticks.tick().await < end {
        let event = load.next_event()?;
        let (lane, key) = (Lane::of(&event.key()), (event.entity_id.to_string(), event.version.0));
        let before = SystemTime::now();
        outbox::append(&mut connection, &[event], &TraceContext::default(), usize::MAX).await?;
        commits.push((key, before, SystemTime::now()));
        bell.ring(std::iter::once(lane));
    }
    Ok(commits)
}

/// Consumes the topic until it is told to stop and nothing comes any more.
fn follow(stack: &Stack) -> (Arc<AtomicBool>, JoinHandle<anyhow::Result<Vec<Arrival>>>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (settings, stopped) = (stack.config.kafka.clone(), stop.clone());
    let following = tokio::task::spawn_blocking(move || {
        let mut arrivals = Vec::new();
        topic::follow(&settings, |arrival| {
            let ended = arrival.is_none() && stopped.load(Ordering::Relaxed);
            arrivals.extend(arrival);
            Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(arrivals)
    });
    (stop, following)
}

struct Seen {
    acknowledged: Histogram<u64>,
    consumed: Histogram<u64>,
    judge: Judge,
    missing: u64,
}

fn compare(written: &Written, arrivals: &[Arrival]) -> anyhow::Result<Seen> {
    let (mut acknowledged, mut consumed) = (latency::histogram()?, latency::histogram()?);
    let mut judge = Judge::default();
    let mut first_arrivals: HashMap<(&str, u64), &Arrival> = HashMap::new();
    for arrival in arrivals {
        judge.see(arrival);
        first_arrivals.entry((&arrival.entity, arrival.version)).or_insert(arrival);
    }
    let mut missing = 0;
    for ((entity, version), committed) in &written.commits {
        let Some(arrival) = first_arrivals.get(&(entity.as_str(), *version)) else {
            missing += 1;
            continue;
        };
        if *committed >= written.counted_from {
            // The relay may be faster than the answer to COMMIT.
            let since = |at: SystemTime| at.duration_since(*committed).unwrap_or_default();
            latency::record(&mut acknowledged, since(arrival.appended + APPENDED_WITHIN))?;
            latency::record(&mut consumed, since(arrival.seen))?;
        }
    }
    Ok(Seen { acknowledged, consumed, judge, missing })
}
