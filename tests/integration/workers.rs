//! Several workers share one outbox: one drains at a time, and the next takes over.

use harness::{
    checker::{self, Recorder},
    process::Process,
    stack::Stack,
    wait,
    writers::{self, Plan},
};
use worker::app::Role;

const PLAN: Plan = Plan { seed: 7, writers: 8, users: 50, changes: 800 };

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_publishes_nothing_twice() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let recorder = Recorder::default();
    let restarting = async {
        let mut running = stack.start_worker(&Role::ALL).await?;
        for step in 1..=3 {
            let next = stack.start_worker(&Role::ALL).await?;
            wait::until("some is written", async || Ok((recorder.done() >= PLAN.changes / 4 * step).then_some(())))
                .await?;
            running.stop().await?;
            running = next;
        }
        anyhow::Ok(running)
    };
    let (written, running) = tokio::join!(writers::write(&client, PLAN, &recorder), restarting);
    written?;
    let running = running?;
    stack.settled().await?;
    let story = checker::consistent_with(&recorder, &stack).await?;
    assert_eq!(story.duplicates, 0);
    running.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// A worker that is frozen past its lease and wakes up beside its successor: what it still sends are duplicates.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_worker_is_fenced() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let frozen = Process::worker(&stack.config).await?;
    let recorder = Recorder::default();
    let freezing = async {
        wait::until("it drains", async || {
            Ok((recorder.done() >= 200 && stack.outbox_depth().await? < 50).then_some(()))
        })
        .await?;
        frozen.freeze().await?;
        let successor = Process::worker(&stack.config).await?;
        let taken_over = async || {
            let mut connection = stack.mysql().await?;
            let epoch: u64 =
                sqlx::query_scalar("SELECT MIN(epoch) FROM outbox_lanes").fetch_one(&mut connection).await?;
            Ok((epoch >= 2).then_some(()))
        };
        wait::until("the successor has the lease", taken_over).await?;
        frozen.thaw().await?;
        anyhow::Ok(successor)
    };
    let plan = Plan { changes: 4_000, ..PLAN };
    let (written, successor) = tokio::join!(writers::write(&client, plan, &recorder), freezing);
    written?;
    let successor = successor?;
    stack.settled().await?;
    let story = checker::consistent_with(&recorder, &stack).await?;
    println!("{} events, {} duplicates", story.records.len(), story.duplicates);
    frozen.kill().await?;
    successor.terminate().await?;
    api.stop().await?;
    stack.finish().await
}
