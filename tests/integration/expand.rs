//! `topics --expand`: more partitions under load, and every entity still in order.

use std::time::Duration;

use harness::{
    checker::{self, Recorder},
    commands::{done, refused, status, status_is, worker},
    dump::Dumps,
    process::Process,
    socket::Socket,
    stack::Stack,
    topic, wait,
    writers::{self, Plan},
};
use shared::kafka;
use worker::app::Role;

#[tokio::test(flavor = "multi_thread")]
async fn more_partitions_under_load_keep_every_entity_in_order() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    // The records say when the broker appended them.
    topic::configure(&stack.config.kafka, &[("message.timestamp.type", "LogAppendTime")]).await?;
    let (api, client) = stack.start_api().await?;
    let workers = [Process::worker(&stack.config).await?, Process::worker(&stack.config).await?];
    let recorder = Recorder::default();
    let plan = Plan { seed: rand::random::<u64>() >> 8, writers: 8, users: 100, changes: 4_000 };
    println!("seed {}", plan.seed);
    let expanding = async {
        wait::until("some is written", async || Ok((recorder.done() >= 500).then_some(()))).await?;
        // One lane is an operator's: it stays paused.
        done(&stack.config, &["outbox", "pause", "7", "--reason", "mine"]).await?;
        let before = recorder.done();
        let ended = done(&stack.config, &["topics", "--expand", "16"]).await?;
        println!("{}{} changes meanwhile", ended.output, recorder.done() - before);
        anyhow::Ok(recorder.done())
    };
    let (written, expanded) = tokio::join!(writers::write(&client, plan, &recorder), expanding);
    written?;
    assert!(expanded? < plan.changes, "it was expanded under load");
    let (_, shown) = status(&stack.config).await?;
    assert_eq!((&shown["partitions"], &shown["expanding"]), (&16.into(), &false.into()));
    let paused: Vec<_> = shown["lanes"].as_array().into_iter().flatten().filter(|it| it["paused"] == true).collect();
    assert!(paused.len() == 1 && paused[0]["lane"] == 7 && paused[0]["pause_reason"] == "mine", "{paused:?}");
    done(&stack.config, &["outbox", "resume", "7"]).await?;

    stack.settled().await?;
    let mut dumps = Dumps::take(&stack).await?;
    dumps.partitions.push(16);
    checker::check(Some(&recorder.history()), &dumps).check()?;
    let moved = dumps.records.iter().filter(|record| record.partition >= 4).count();
    let stayed = dumps.records.len() - moved;
    assert!(moved > 200 && stayed > 200, "{moved} records in new partitions, {stayed} in old ones");
    for worker in workers {
        worker.terminate().await?;
    }
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_expanded_is_left_as_it_was() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let (config, expand) = (&stack.config, "--expand");
    let worker_of_all = stack.start_worker(&[Role::Relay]).await?;
    status_is(config, "the worker runs", |_, it| it["partitions"] == 4).await?;
    for (wanted, why) in [("12", "does not divide"), ("2", "not a multiple"), ("0", "does not divide")] {
        let error = refused(config, &["topics", expand, wanted]).await?;
        assert!(error.contains(why), "{wanted}: {error}");
    }
    let (api, client) = stack.start_api().await?;
    client.post(crate::USERS, &crate::user("ann")).await?;
    status_is(config, "it is published", |_, it| it["depth"] == 0).await?;
    // Nobody projects.
    let error = refused(config, &["topics", expand, "8", "--timeout-seconds", "1"]).await?;
    assert!(error.contains("invalidator") && error.contains("nothing was changed"), "{error}");
    let (code, shown) = status(config).await?;
    assert_eq!((code, &shown["partitions"]), (0, &4.into()), "the lanes are resumed");
    assert_eq!(kafka::find_topic(&config.kafka).await?, 4);
    worker_of_all.stop().await?;

    // Sockets that are open all the while.
    let mut sockets = Vec::new();
    for number in 0..20 {
        sockets.push(Socket::open(&client, &format!("after-{number}"), "a").await?);
    }
    // Killed half way: what it paused is held until the same command, again, has ended.
    let running = stack.start_worker(&Role::ALL).await?;
    let mut connection = stack.mysql().await?;
    shared::outbox::begin_expansion(&mut connection, 8, "killed").await?;
    kafka::add_partitions(&config.kafka, 8).await?;
    wait::until("the partitions are there", async || Ok((kafka::find_topic(&config.kafka).await? == 8).then_some(())))
        .await?;
    let error = refused(config, &["outbox", "resume", "all"]).await?;
    assert!(error.contains("--expand"), "{error}");
    let shown = worker(config, &["outbox", "status"]).await?;
    assert!(shown.code == 3 && shown.output.contains("being expanded"), "{shown:?}");
    done(config, &["topics", expand, "8"]).await?;
    let all = |code, it: &serde_json::Value| code == 0 && it["partitions"] == 8;
    status_is(config, "it is expanded", all).await?;
    for number in 0..20 {
        client.post(crate::USERS, &crate::user(&format!("after-{number}"))).await?;
    }
    for socket in &mut sockets {
        assert_eq!(socket.event().await?["type"], "user_created", "whatever its partition is now");
    }
    stack.settled_within(Duration::from_secs(90)).await?;
    running.stop().await?;
    api.stop().await?;
    stack.finish().await
}
