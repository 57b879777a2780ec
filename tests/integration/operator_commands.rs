//! What an operator sees of the outbox, and does to it, with the real binary.

use std::process::Stdio;

use anyhow::Context;
use harness::{
    checker,
    commands::{done, refused, status, status_is, worker},
    process::{Process, command},
    stack::Stack,
    wait,
};
use serde_json::{Value, json};
use sqlx::Row;
use tokio::io::{AsyncBufReadExt, BufReader};
use uuid::Uuid;

use crate::{USERS, user};

/// What the log says was done: action, subject, reason, actor.
async fn log(stack: &Stack) -> anyhow::Result<Vec<(String, String, Option<String>, String)>> {
    let select = "SELECT action, subject, reason, actor FROM operator_log ORDER BY id";
    Ok(sqlx::query_as(select).fetch_all(&mut stack.mysql().await?).await?)
}

fn owners(status: &Value) -> usize {
    status["lanes"].as_array().into_iter().flatten().filter(|lane| !lane["owner"].is_null()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_what_waits_and_whether_somebody_is_needed() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let config = &stack.config;
    let (code, empty) = status(config).await?;
    assert_eq!((code, &empty["depth"], owners(&empty)), (0, &json!(0), 0), "nothing waits: nobody is needed");

    let (api, client) = stack.start_api().await?;
    client.post(USERS, &user("ann")).await?;
    client.post(USERS, &user("bob")).await?;
    let (code, waiting) = status(config).await?;
    assert_eq!((code, &waiting["depth"], &waiting["estimated"]), (3, &json!(2), &json!(false)), "nobody publishes it");
    assert!(waiting["oldest_age_ms"].as_u64() > Some(0));
    let shown = worker(config, &["outbox", "status"]).await?;
    assert!(
        shown.code == 3 && shown.output.contains("2 events wait") && shown.output.contains("(nobody)"),
        "{shown:?}"
    );

    let running = Process::worker(config).await?;
    let all = |code, it: &Value| code == 0 && it["depth"] == 0 && owners(it) == 64;
    let drained = status_is(config, "all is published", all).await?;
    assert_eq!((&drained["depth"], &drained["partitions"]), (&json!(0), &json!(4)));
    let workers = drained["workers"].as_array().context("no workers")?;
    assert!(workers.len() == 1 && workers[0]["live"] == true && workers[0]["draining"] == false, "{workers:?}");
    let lane = &drained["lanes"][0];
    assert!(lane["epoch"] == 1 && lane["lease_left_ms"].as_i64() > Some(0), "{lane}");
    let shown = worker(config, &["outbox", "status"]).await?;
    assert!(shown.output.contains("0-63 (64)") && !shown.output.contains("EPOCH"), "{shown:?}");
    let lanes = worker(config, &["outbox", "status", "--lanes"]).await?;
    assert!(lanes.output.lines().count() > 64, "{lanes:?}");

    running.terminate().await?;
    api.stop().await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_watched_until_it_is_interrupted() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let mut watching = command("sluice-worker", &stack.config)?
        .args(["outbox", "status", "--watch", "--json", "--interval-ms", "100"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(watching.stdout.take().context("no output")?).lines();
    for _ in 0..3 {
        let line = tokio::time::timeout(wait::DEADLINE, lines.next_line()).await??.context("it ended")?;
        assert_eq!(serde_json::from_str::<Value>(&line)?["depth"], 0);
    }
    let pid = watching.id().context("it ended")?.to_string();
    tokio::process::Command::new("kill").args(["-s", "INT", &pid]).status().await?;
    assert_eq!(tokio::time::timeout(wait::DEADLINE, watching.wait()).await??.code(), Some(0));
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_lane_is_given_up_and_waits_until_it_is_resumed() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let config = &stack.config;
    let (api, client) = stack.start_api().await?;
    let running = Process::worker(config).await?;
    client.post(USERS, &user("ann")).await?;
    status_is(config, "it is published", |code, it| code == 0 && it["depth"] == 0 && owners(it) == 64).await?;

    let refusals = [
        (vec!["outbox", "pause", "all"], "--reason"),
        (vec!["outbox", "pause", "64", "--reason", "x"], "not a lane"),
        (vec!["outbox", "pause", "0", "--reason", " "], "--reason"),
        (vec!["outbox", "pause", "0", "--reason", "expand"], "--expand"),
    ];
    for (arguments, expected) in refusals {
        let ended = worker(config, &arguments).await?;
        assert!(ended.code != 0 && ended.error.contains(expected), "{arguments:?}: {ended:?}");
    }
    done(config, &["outbox", "pause", "0-31", "32-62", "63", "--reason", "a new broker", "--actor", "eve"]).await?;
    let (code, paused) = status(config).await?;
    assert_eq!((code, owners(&paused)), (3, 0), "when the command ends, no worker has any");
    assert!(paused["lanes"].as_array().into_iter().flatten().all(|lane| lane["pause_reason"] == "a new broker"));
    client.post(USERS, &user("bob")).await?;
    let shown = worker(config, &["outbox", "status"]).await?;
    assert!(shown.output.contains("paused: lanes 0-63") && shown.output.contains("a new broker"), "{shown:?}");
    // Renewals and reads come and go; the row stays.
    status_is(config, "the worker was seen again", |_, it| it["oldest_age_ms"].as_u64() > Some(1_500)).await?;
    assert_eq!(stack.outbox_depth().await?, 1);

    done(config, &["outbox", "resume", "all"]).await?;
    status_is(config, "all is published", |code, it| code == 0 && it["depth"] == 0 && owners(it) == 64).await?;
    let logged = log(&stack).await?;
    let pause = ("pause".to_owned(), "lanes 0-63".to_owned(), Some("a new broker".to_owned()), "eve".to_owned());
    let resume = ("resume".to_owned(), "lanes 0-63".to_owned(), None, "ops".to_owned());
    assert_eq!(logged, [pause, resume]);

    stack.settled().await?;
    assert_eq!(checker::consistent(&stack).await?.duplicates, 0);
    running.terminate().await?;
    api.stop().await?;
    stack.finish().await
}

/// Lanes of a worker that died are free when its lease has run out, which the command waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_outlasts_the_lease_of_a_dead_worker() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let running = Process::worker(&stack.config).await?;
    status_is(&stack.config, "it has the lanes", |_, it| owners(it) == 64).await?;
    running.kill().await?;
    let late = refused(&stack.config, &["outbox", "pause", "all", "--reason", "x", "--timeout-seconds", "0"]).await?;
    assert!(late.contains("the lanes are paused, but"), "{late}");
    done(&stack.config, &["outbox", "pause", "all", "--reason", "x", "--no-wait"]).await?;
    done(&stack.config, &["outbox", "pause", "all", "--reason", "x"]).await?;
    assert_eq!(owners(&status(&stack.config).await?.1), 0);
    stack.finish().await
}

/// Moves what waits of an entity as the relay parks it: the first as poison, the others behind it.
async fn park(stack: &Stack, id: &str) -> anyhow::Result<Vec<Uuid>> {
    let mut connection = stack.mysql().await?;
    sqlx::query(
        "INSERT INTO outbox_parked (id, lane, event_id, kind, entity_id, version, action, headers, payload, \
         payload_bytes, crc32c, created_at, reason, error, attempts, parked_at, state) \
         SELECT id, lane, event_id, kind, entity_id, version, action, headers, payload, payload_bytes, crc32c, \
         created_at, IF(version = 1, 'poison', 'blocked'), IF(version = 1, 'by hand', NULL), 2, UTC_TIMESTAMP(6), \
         'parked' FROM outbox_events WHERE entity_id = ?",
    )
    .bind(id)
    .execute(&mut connection)
    .await?;
    sqlx::query("DELETE FROM outbox_events WHERE entity_id = ?").bind(id).execute(&mut connection).await?;
    let select = "SELECT event_id FROM outbox_parked WHERE entity_id = ? ORDER BY id";
    Ok(sqlx::query_scalar(select).bind(id).fetch_all(&mut connection).await?)
}

async fn parked_state(stack: &Stack, event_id: Uuid) -> anyhow::Result<(String, Option<String>, Vec<u8>)> {
    let row = sqlx::query("SELECT state, actor, payload FROM outbox_parked WHERE event_id = ?")
        .bind(event_id)
        .fetch_one(&mut stack.mysql().await?)
        .await?;
    Ok((row.try_get("state")?, row.try_get("actor")?, row.try_get("payload")?))
}

/// Without a worker: a command writes the request and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn parked_events_are_shown_and_decided_about() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let config = &stack.config;
    let (api, client) = stack.start_api().await?;
    for id in ["ann", "bob", "cid"] {
        client.post(USERS, &user(id)).await?;
        client.patch(&format!("{USERS}/{id}"), &json!({ "name": "Second" })).await?;
    }
    let (ann, bob, cid) = (park(&stack, "ann").await?, park(&stack, "bob").await?, park(&stack, "cid").await?);
    let (code, shown) = status(config).await?;
    assert_eq!((code, &shown["parked"]), (3, &json!({ "poison": 3, "blocked": 3, "replay": 0 })));

    let listed = done(config, &["outbox", "parked", "list", "--json"]).await?.json()?;
    let first = listed.iter().find(|event| event["entity_id"] == "ann").context("ann is not listed")?;
    assert_eq!((listed.len(), &first["blocked"], &first["error"]), (3, &json!(1), &json!("by hand")));
    assert_eq!(done(config, &["outbox", "parked", "list", "--json", "--entity", "user:ann"]).await?.json()?.len(), 2);
    assert_eq!(done(config, &["outbox", "parked", "list", "--json", "--all"]).await?.json()?.len(), 6);
    let table = done(config, &["outbox", "parked", "list"]).await?.output;
    assert!(table.contains("user:bob") && table.contains("by hand"), "{table}");

    let decide = async |arguments: &[&str]| refused(config, &[&["outbox", "parked"], arguments].concat()).await;
    let (poison, blocked) = (ann[0].to_string(), ann[1].to_string());
    let error = decide(&["replay", &blocked]).await?;
    assert!(error.contains(&poison), "what holds it is named: {error}");
    assert!(decide(&["discard", &blocked, "--reason", "x"]).await?.contains(&poison));
    assert!(decide(&["replay", &Uuid::now_v7().to_string()]).await?.contains("is parked"));
    done(config, &["outbox", "parked", "replay", &poison, "--actor", "eve"]).await?;
    assert!(decide(&["replay", &poison]).await?.contains("requested before, by eve"));
    assert!(decide(&["discard", &poison, "--reason", "x"]).await?.contains("requested before, by eve"));
    let (state, actor, _) = parked_state(&stack, ann[0]).await?;
    assert_eq!((state.as_str(), actor.as_deref()), ("replay", Some("eve")));

    let discarded = bob[0].to_string();
    done(config, &["outbox", "parked", "discard", &discarded, "--reason", "not ours"]).await?;
    assert!(decide(&["replay", &discarded]).await?.contains("discarded before, by ops"));
    let (state, actor, _) = parked_state(&stack, bob[0]).await?;
    assert_eq!((state.as_str(), actor.as_deref()), ("discarded", Some("ops")));

    repair(&stack, cid[0]).await?;
    let (_, shown) = status(config).await?;
    assert_eq!(shown["parked"], json!({ "poison": 0, "blocked": 3, "replay": 2 }));
    let actions: Vec<_> = log(&stack).await?.into_iter().map(|(action, ..)| action).collect();
    assert_eq!(actions, ["replay", "discard", "repair-and-replay"]);
    api.stop().await?;
    stack.discard().await
}

/// What is damaged is only replayed with a payload that is the same event.
async fn repair(stack: &Stack, event_id: Uuid) -> anyhow::Result<()> {
    let config = &stack.config;
    let (id, (_, _, payload)) = (event_id.to_string(), parked_state(stack, event_id).await?);
    let event: Value = serde_json::from_slice(&payload)?;
    sqlx::query("UPDATE outbox_parked SET payload = CONCAT(X'FF', payload) WHERE event_id = ?")
        .bind(event_id)
        .execute(&mut stack.mysql().await?)
        .await?;
    let error = refused(config, &["outbox", "parked", "replay", &id]).await?;
    assert!(error.contains("checksum"), "{error}");
    let exported = done(config, &["outbox", "parked", "export"]).await?.json()?;
    let damaged = exported.iter().find(|event| event["event_id"] == id.as_str()).context("it is not exported")?;
    assert!(damaged["payload_base64"].is_string() && damaged["checksum_is_right"] == false, "{damaged}");
    let whole = exported.iter().find(|event| event["entity_id"] == "ann").context("ann is not exported")?;
    assert_eq!(serde_json::from_str::<Value>(whole["payload"].as_str().unwrap_or_default())?["entityid"], "ann");

    let file = std::env::temp_dir().join(format!("sluice-payload-{event_id}"));
    let path = file.to_str().unwrap_or_default();
    let with = async |changed: &Value| {
        tokio::fs::write(&file, serde_json::to_string_pretty(changed)?).await?;
        worker(config, &["outbox", "parked", "replay", &id, "--payload", path]).await
    };
    let changes = [
        ("id", json!(Uuid::now_v7())),
        ("type", json!("user_deleted")),
        ("entityid", json!("bob")),
        ("entityversion", json!(9)),
        ("data", json!({})),
        ("time", json!("yesterday")),
    ];
    for (field, value) in changes {
        let mut other = event.clone();
        other[field] = value;
        let ended = with(&other).await?;
        assert!(ended.code == 1 && ended.error.contains("payload"), "{field}: {ended:?}");
    }
    let (state, _, _) = parked_state(stack, event_id).await?;
    assert_eq!(state, "parked", "what was refused changed nothing");
    let ended = with(&event).await?;
    assert_eq!(ended.code, 0, "{ended:?}");
    tokio::fs::remove_file(&file).await?;
    let (state, _, payload) = parked_state(stack, event_id).await?;
    assert_eq!((state.as_str(), serde_json::from_slice::<Value>(&payload)?), ("replay", event));
    let shown = done(config, &["outbox", "parked", "show", &id]).await?.output;
    assert!(shown.contains("\"checksum_is_right\": true"), "{shown}");
    Ok(())
}
