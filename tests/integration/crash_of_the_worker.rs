//! `kill -9` of the worker at a random moment: nothing is lost, nothing overtakes.

use std::collections::HashSet;

use harness::{
    checker::{self, Recorder},
    dump,
    process::Process,
    stack::Stack,
    wait,
    writers::{self, Plan},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use worker::app::Role;

#[tokio::test(flavor = "multi_thread")]
async fn five_kills_at_random_moments_lose_nothing() -> anyhow::Result<()> {
    wait::rounds(5, round).await
}

/// False where the kill met an idle relay, which proves nothing.
async fn round(seed: u64) -> anyhow::Result<bool> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = Process::worker(&stack.config).await?;
    let plan = Plan { seed: seed >> 8, writers: 16, users: 200, changes: 5_000 };
    let recorder = Recorder::default();
    let kill_at = StdRng::seed_from_u64(seed).random_range(plan.changes / 10..plan.changes * 9 / 10);
    let killing = async {
        wait::until("the moment has come", async || Ok((recorder.done() >= kill_at).then_some(()))).await?;
        worker.kill().await?;
        at_the_kill(&stack).await
    };
    let (written, killed) = tokio::join!(writers::write(&client, plan, &recorder), killing);
    written?;
    let (depth, in_flight) = killed?;
    println!("seed {seed}: killed after {kill_at} changes; outbox depth {depth}, of these {in_flight} in flight");

    let worker = stack.start_worker(&Role::ALL).await?;
    stack.settled().await?;
    let story = checker::consistent_with(&recorder, &stack).await?;
    println!("  {} events, {} duplicates", story.records.len(), story.duplicates);
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await?;
    Ok(depth > 0 || in_flight > 0)
}

/// How many events wait, and how many of them are on Kafka already: published, and not yet deleted.
async fn at_the_kill(stack: &Stack) -> anyhow::Result<(usize, usize)> {
    let mut connection = stack.mysql().await?;
    let waiting: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT event_id FROM outbox_events").fetch_all(&mut connection).await?;
    let published: HashSet<_> = dump::topic(&stack.config.kafka).await?.into_iter().map(|it| it.event.id).collect();
    let in_flight = waiting.iter().filter(|id| published.contains(id)).count();
    Ok((waiting.len(), in_flight))
}
