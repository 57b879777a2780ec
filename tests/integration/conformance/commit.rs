//! COMMIT, the one moment whose outcome a client may not learn: with its key it gets the first effect, exactly once.

use std::time::{Duration, Instant};

use harness::{
    checker,
    client::{Answer, Client},
    process::Process,
    proxy::{Next, Proxy},
    sample::{self, Sample},
    stack::Stack,
    wait,
};
use serde_json::{Value, json};
use worker::app::Role;

use super::{
    idempotency::{assert_replayed, post},
    of_each_entity,
};

of_each_entity!(who_repeats_while_it_runs_is_told_to_wait);
of_each_entity!(a_commit_that_is_lost_is_found_by_its_key);
of_each_entity!(a_process_killed_after_its_commit_is_found_by_its_key);

/// A stack, and the same whose API reaches MySQL through a proxy.
pub(super) async fn behind_a_proxy() -> anyhow::Result<(Stack, Stack, Proxy)> {
    let stack = Stack::new().await?;
    let proxy = Proxy::start(&stack.config).await?;
    let mut config = proxy.lead(&stack.config);
    // A COMMIT is held back for as long as the test takes.
    config.database.transaction_timeout_ms = 60_000;
    config.http.request_timeout_ms = 130_000;
    Ok((stack, Stack { config }, proxy))
}

/// Repeats a request until its first attempt is over, whatever became of that.
pub(super) async fn repeat(client: &Client, path: &str, key: &str, body: &Value) -> anyhow::Result<Answer> {
    wait::until("the key is free", async || {
        let answer = post(client, path, key, body).await?;
        Ok((answer.code() != "idempotency-key-in-use").then_some(answer))
    })
    .await
}

/// When all has arrived: each of the samples is there once, and was told of once.
async fn assert_created_once<E: Sample>(stack: &Stack, numbers: &[usize]) -> anyhow::Result<()> {
    let worker = stack.start_worker(&Role::ALL).await?;
    stack.settled().await?;
    let story = checker::consistent(stack).await?;
    assert_eq!(story.count(E::KIND), numbers.len());
    for number in numbers {
        assert_eq!(story.of(E::KIND, &E::sample_id(*number)).len(), 1, "of {number}");
    }
    worker.stop().await
}

async fn who_repeats_while_it_runs_is_told_to_wait<E: Sample>() -> anyhow::Result<()> {
    let (stack, behind, proxy) = behind_a_proxy().await?;
    let (api, client) = behind.start_api().await?;
    sample::prepare::<E>(&client).await?;
    proxy.next_commit(Next::Waits);
    let (sample, first) = (E::creation(1), async { post(&client, E::PATH, "key", &E::creation(1)).await });
    let repeating = async {
        proxy.has_met_it().await?;
        let asked = Instant::now();
        let waiting = post(&client, E::PATH, "key", &sample).await?;
        client.check_problem(&waiting, 409, "idempotency-key-in-use").await?;
        assert_eq!((waiting.header("retry-after"), &waiting.body["retry_after"]), ("1", &json!(1)));
        assert!(asked.elapsed() < Duration::from_secs(5), "it waited for the first: {:?}", asked.elapsed());
        assert_eq!(client.get(&E::path(1)).await?.status, 404, "what is not committed is not shown");
        proxy.release();
        anyhow::Ok(())
    };
    let (first, repeated) = tokio::join!(first, repeating);
    repeated?;
    let first = first?;
    assert_eq!(first.status, 201, "{first:?}");
    assert_replayed(&post(&client, E::PATH, "key", &sample).await?, &first);
    who_leaves_meanwhile_finds_it_done::<E>(&client, &proxy).await?;
    assert_created_once::<E>(&stack, &[1, 2]).await?;
    api.stop().await?;
    stack.finish().await
}

/// A change goes on to its end when its client is gone.
async fn who_leaves_meanwhile_finds_it_done<E: Sample>(client: &Client, proxy: &Proxy) -> anyhow::Result<()> {
    let sample = E::creation(2);
    proxy.next_commit(Next::Waits);
    tokio::select! {
        answered = post(client, E::PATH, "left", &sample) => anyhow::bail!("it did not wait: {answered:?}"),
        met = proxy.has_met_it() => met?,
    }
    proxy.release();
    let found = repeat(client, E::PATH, "left", &sample).await?;
    assert_eq!((found.status.as_u16(), found.header("idempotency-replayed")), (201, "true"), "{found:?}");
    Ok(())
}

/// Whether MySQL heard it or not: nobody is told that it failed, or that it was done.
async fn a_commit_that_is_lost_is_found_by_its_key<E: Sample>() -> anyhow::Result<()> {
    let (stack, behind, proxy) = behind_a_proxy().await?;
    let (api, client) = behind.start_api().await?;
    sample::prepare::<E>(&client).await?;
    let batch = format!("{}/batch", E::PATH);
    for (number, next) in [(1, Next::IsNotAnswered), (2, Next::IsCut)] {
        let several = json!({ "items": [E::creation(10 * number), E::creation(10 * number + 1)] });
        for (path, body) in [(E::PATH, &E::creation(number)), (&batch, &several)] {
            let key = format!("{path}-{number}");
            proxy.next_commit(next);
            let lost = post(&client, path, &key, body).await?;
            client.check_problem(&lost, 503, "outcome-unknown").await?;
            assert_eq!(lost.header("retry-after"), "1");
            let found = repeat(&client, path, &key, body).await?;
            assert_eq!(found.status, 201, "{found:?}");
            let replayed = found.header("idempotency-replayed") == "true";
            assert_eq!(replayed, next == Next::IsNotAnswered, "only what was committed is there to be repeated");
        }
        assert_eq!(client.get(&E::path(number)).await?.version(), 1);
    }
    assert_created_once::<E>(&stack, &[1, 2, 10, 11, 20, 21]).await?;
    api.stop().await?;
    stack.finish().await
}

/// `kill -9` between the commit and the answer.
async fn a_process_killed_after_its_commit_is_found_by_its_key<E: Sample>() -> anyhow::Result<()> {
    let (stack, behind, proxy) = behind_a_proxy().await?;
    let process = Process::api(&behind.config).await?;
    let client = Client::new(format!("http://127.0.0.1:{}", process.port))?;
    sample::prepare::<E>(&client).await?;
    proxy.next_commit(Next::IsAnsweredToNobody);
    let killing = async {
        proxy.has_met_it().await?;
        process.kill().await
    };
    let (sample, path) = (E::creation(1), E::path(1));
    let (unanswered, killed) = tokio::join!(post(&client, E::PATH, "key", &sample), killing);
    killed?;
    assert!(unanswered.is_err(), "{unanswered:?}");

    let (api, client) = stack.start_api().await?;
    let stored = client.get(&path).await?;
    assert_eq!(stored.status, 200, "{stored:?}");
    let found = post(&client, E::PATH, "key", &sample).await?;
    assert_eq!((found.status.as_u16(), found.header("idempotency-replayed")), (201, "true"), "{found:?}");
    assert_eq!((found.header("location"), found.header("etag")), (path.as_str(), "\"1\""));
    assert_eq!(found.body, stored.body);
    assert_created_once::<E>(&stack, &[1]).await?;
    api.stop().await?;
    stack.finish().await
}
