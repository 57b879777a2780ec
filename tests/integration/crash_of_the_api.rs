//! `kill -9` of the API in the middle of writes: a change and its event are both there, or neither.

use harness::{
    checker::{self, Recorder},
    client::Client,
    process::Process,
    stack::Stack,
    wait,
    writers::{self, Plan},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use worker::app::Role;

#[tokio::test(flavor = "multi_thread")]
async fn five_kills_leave_no_change_without_its_event() -> anyhow::Result<()> {
    wait::rounds(5, round).await
}

/// False where the kill cut no request, which proves nothing.
async fn round(seed: u64) -> anyhow::Result<bool> {
    let stack = Stack::new().await?;
    let api = Process::api(&stack.config).await?;
    let client = Client::new(format!("http://127.0.0.1:{}", api.port))?;
    let plan = Plan { seed: seed >> 8, writers: 16, users: 100, changes: 100_000 };
    let recorder = Recorder::default();
    let kill_at = StdRng::seed_from_u64(seed).random_range(50..800);
    let killing = async {
        wait::until("the moment has come", async || Ok((recorder.done() >= kill_at).then_some(()))).await?;
        api.kill().await
    };
    let (written, killed) = tokio::join!(writers::write(&client, plan, &recorder), killing);
    written?;
    killed?;
    println!("seed {seed}: killed after {kill_at} changes, {} requests were cut", recorder.cut());

    let worker = stack.start_worker(&Role::ALL).await?;
    stack.settled().await?;
    checker::consistent_with(&recorder, &stack).await?;
    worker.stop().await?;
    stack.finish().await?;
    Ok(recorder.cut() > 0)
}
