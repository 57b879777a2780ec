//! Starting, stopping, and what a broken configuration says.

use std::process::Output;

use harness::{
    checker,
    client::Client,
    process::{Process, command, free_port},
    stack::Stack,
    wait,
};
use shared::config::Config;

use crate::{USERS, user};

async fn output(binary: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<Output> {
    let mut command = command(binary, &Config::load(None)?)?;
    let running = command.args(arguments).envs(environment.iter().copied()).output();
    Ok(tokio::time::timeout(wait::DEADLINE, running).await??)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_key_ends_the_start_with_one_line() -> anyhow::Result<()> {
    for (binary, verb) in [("sluice-api", "serve"), ("sluice-worker", "run")] {
        for (key, value, named) in [
            ("SLUICE__SERVER__PROT", "1", "prot"),
            ("SLUICE__KAFKA__PARTITIONS", "7", "kafka.partitions"),
            ("SLUICE__SERVER__PORT", "all", "server.port"),
        ] {
            let ended = output(binary, &[verb], &[(key, value)]).await?;
            let error = String::from_utf8(ended.stderr)?;
            assert_eq!(ended.status.code(), Some(1));
            assert!(error.contains(named) && error.lines().count() == 1, "{error}");
        }
    }
    let file = std::env::temp_dir().join(format!("sluice-config-{}.yaml", std::process::id()));
    tokio::fs::write(&file, "server:\n  portt: 1\n").await?;
    let ended = output("sluice-api", &["--config", file.to_str().unwrap_or_default(), "serve"], &[]).await?;
    tokio::fs::remove_file(&file).await?;
    let error = String::from_utf8(ended.stderr)?;
    assert!(error.contains("portt") && error.lines().count() == 1, "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_without_its_secrets() -> anyhow::Result<()> {
    let secret = [("SLUICE__DATABASE__PASSWORD", "very-secret"), ("SLUICE__REDIS__URL", "redis://:hush@localhost:1")];
    let shown = String::from_utf8(output("sluice-api", &["config"], &secret).await?.stdout)?;
    assert!(shown.contains("password: \"[hidden]\"") && shown.contains("shutdown_grace_seconds: 20"), "{shown}");
    assert!(!shown.contains("very-secret") && !shown.contains("hush"), "{shown}");
    Ok(())
}

/// Every store away: the API starts, serves and says what is missing; the worker waits.
#[tokio::test(flavor = "multi_thread")]
async fn both_start_with_every_store_away() -> anyhow::Result<()> {
    let mut config = Config::load(None)?;
    Stack::rename(&mut config);
    config.database.port = free_port()?;
    config.kafka.brokers = format!("127.0.0.1:{}", free_port()?);
    config.redis.url = format!("redis://127.0.0.1:{}", free_port()?).into();
    config.mongodb.uri = format!("mongodb://127.0.0.1:{}", free_port()?).into();

    let api = Process::api(&config).await?;
    let client = Client::new(format!("http://127.0.0.1:{}", api.port))?;
    let health = client.get("/health").await?;
    assert_eq!((health.status.as_u16(), &health.body["status"]), (503, &serde_json::json!("down")));
    let refused = client.post(USERS, &user("ann")).await?;
    assert_eq!((refused.status.as_u16(), refused.code()), (503, "unavailable"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(api.terminate().await?.code(), Some(0));

    let port = free_port()?;
    let mut waiting =
        command("sluice-worker", &config)?.arg("run").env("SLUICE__WORKER__PORT", port.to_string()).spawn()?;
    let live = Client::new(format!("http://127.0.0.1:{port}"))?;
    wait::until("the worker lives", async || Ok(live.http_status("/livez").await.ok().filter(|it| *it == 200))).await?;
    assert_eq!(live.http_status("/readyz").await?, 503);
    let pid = waiting.id().unwrap_or_default().to_string();
    tokio::process::Command::new("kill").args(["-s", "TERM", &pid]).status().await?;
    assert_eq!(tokio::time::timeout(wait::DEADLINE, waiting.wait()).await??.code(), Some(0));
    Ok(())
}

/// SIGTERM under load: what was answered is stored and announced, and both exit 0.
#[tokio::test(flavor = "multi_thread")]
async fn sigterm_loses_nothing() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let worker = Process::worker(&stack.config).await?;
    let api = Process::api(&stack.config).await?;
    let client = Client::new(format!("http://127.0.0.1:{}", api.port))?;
    let writers = (0..8).map(|writer| {
        let client = client.clone();
        async move {
            let mut stored = Vec::new();
            for number in 0.. {
                let id = format!("w{writer}-{number}");
                match client.post(USERS, &user(&id)).await {
                    Ok(answer) if answer.status == 201 => stored.push(id),
                    _ => break,
                }
            }
            stored
        }
    });
    let stopping = async {
        wait::until("something is written", async || Ok((stack.outbox_depth().await? > 0).then_some(()))).await?;
        wait::pause(std::time::Duration::from_millis(500)).await;
        anyhow::Ok((worker.terminate().await?, api.terminate().await?))
    };
    let (stored, stopped) = tokio::join!(futures_util::future::join_all(writers), stopping);
    let (worker, api) = stopped?;
    assert_eq!((worker.code(), api.code()), (Some(0), Some(0)));
    let stored: Vec<_> = stored.into_iter().flatten().collect();
    assert!(!stored.is_empty());

    let worker = Process::worker(&stack.config).await?;
    stack.settled().await?;
    let story = checker::consistent(&stack).await?;
    for id in stored {
        assert!(story.rows.contains_key(&format!("user:{id}")), "{id} was answered 201 and is not stored");
    }
    assert_eq!(story.duplicates, 0, "a worker that stops in order publishes nothing twice");
    worker.terminate().await?;
    stack.finish().await
}

/// `migrate` killed half way: the next one finishes it. Two at a time: one waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_was_cut_off_is_done_again() -> anyhow::Result<()> {
    let stack = Stack::new().await?;
    let mut connection = stack.mysql().await?;
    // As the kill leaves it: some statements done, the record without success.
    for statement in
        ["DROP TABLE operator_log", "DROP TABLE retired_ids", "UPDATE _sqlx_migrations SET success = FALSE"]
    {
        sqlx::query(statement).execute(&mut connection).await?;
    }
    let migrate = || shared::database::migrate(&stack.config.database, true);
    let (first, second) = tokio::join!(migrate(), migrate());
    first?;
    second?;
    let lanes: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM outbox_lanes").fetch_one(&mut connection).await?;
    assert_eq!(lanes, 64);
    sqlx::query("SELECT id FROM retired_ids").fetch_all(&mut connection).await?;
    stack.finish().await
}
