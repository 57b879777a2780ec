//! `kafka.delivery: transactional`.

use std::time::Duration;

use harness::{
    checker,
    stack::Stack,
    transactional::{Plan, kill_workers},
};
use serde_json::json;
use shared::config::{Config, Delivery};
use worker::app::Role;

use crate::{USERS, user};

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_killed_publish_nothing_twice() -> anyhow::Result<()> {
    let plan = Plan { seed: rand::random(), events: 4_000, kills: 2 };
    println!("{plan:?}");
    let report = kill_workers(plan).await?;
    println!("{report:?}");
    assert!(report.between > 0, "no kill fell between a commit and its delete");
    Ok(())
}

/// The other parts do not mind the markers of transactions on the topic.
#[tokio::test(flavor = "multi_thread")]
async fn all_roles_follow_transactions() -> anyhow::Result<()> {
    let mut config = Config::load(None)?;
    Stack::rename(&mut config);
    config.kafka.delivery = Delivery::Transactional;
    let stack = Stack::with_config(config).await?;
    let (api, client) = stack.start_api().await?;
    let worker = stack.start_worker(&Role::ALL).await?;
    let second = stack.start_worker(&Role::ALL).await?;
    for number in 0..30 {
        client.post(USERS, &user(&format!("u{number}"))).await?;
        client.patch(&format!("{USERS}/u{number}"), &json!({ "name": "Other" })).await?;
    }
    second.stop().await?;
    for number in 0..30 {
        client.delete(&format!("{USERS}/u{number}")).await?;
    }
    tokio::time::timeout(Duration::from_mins(1), stack.settled()).await??;
    let story = checker::consistent(&stack).await?;
    assert_eq!((story.records.len(), story.duplicates), (90, 0));
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}
