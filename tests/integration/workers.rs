//! Several workers share one outbox: one drains at a time, and the next takes over.

use std::collections::HashSet;

use harness::{
    checker::{self, Recorder},
    process::Process,
    stack::Stack,
    wait,
    writers::{self, Plan},
};
use sqlx::MySqlConnection;
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

/// The answer was lost when it took them: its own renewals would keep them from everybody, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_a_worker_does_not_know_to_be_its_own_are_drained() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    let recorder = Recorder::default();
    writers::write(&client, Plan { changes: 100, ..PLAN }, &recorder).await?;
    stack.settled().await?;
    let mut connection = stack.mysql().await?;
    let name: String = sqlx::query_scalar("SELECT worker FROM outbox_workers").fetch_one(&mut connection).await?;
    // Another has half of them for so long that the worker notices, and then it is the worker's turn.
    for (owner, lease) in [("another", 10), (name.as_str(), 2)] {
        let give = "UPDATE outbox_lanes SET owner = ?, epoch = epoch + 1, \
                    lease_until = UTC_TIMESTAMP(6) + INTERVAL ? SECOND WHERE lane < 32";
        sqlx::query(give).bind(owner).bind(lease).execute(&mut connection).await?;
        looked_twice(&mut connection).await?;
    }
    writers::write(&client, Plan { changes: 100, seed: 8, ..PLAN }, &recorder).await?;
    stack.settled().await?;
    checker::consistent_with(&recorder, &stack).await?;
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// Waits until the worker has certainly looked at the lanes as they are now.
async fn looked_twice(connection: &mut MySqlConnection) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    wait::until("the worker has looked", async || {
        let select = "SELECT CAST(seen_at AS CHAR) FROM outbox_workers";
        seen.insert(sqlx::query_scalar::<_, String>(select).fetch_one(&mut *connection).await?);
        Ok((seen.len() > 2).then_some(()))
    })
    .await
}
