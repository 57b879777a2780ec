//! Clients that change users at random, and remember what they were told.

use anyhow::bail;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use shared::entity::Kind;

use crate::{
    checker::{Recorder, Write},
    client::Client,
};

/// What the writers are to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub writers: usize,
    pub users: usize,
    /// That are answered 2xx, all writers together.
    pub changes: usize,
}

/// Runs the plan to its end. A writer whose API is gone ends early.
pub async fn write(client: &Client, plan: Plan, recorder: &Recorder) -> anyhow::Result<()> {
    let writers = (0..plan.writers).map(|writer| {
        let mut random = StdRng::seed_from_u64(plan.seed + writer as u64);
        async move {
            let mut remaining = plan.changes.div_ceil(plan.writers);
            while remaining > 0 {
                match change_one(client, &mut random, plan.users, recorder).await? {
                    Outcome::Changed => remaining -= 1,
                    Outcome::Refused => {}
                    Outcome::ApiGone => break,
                }
            }
            anyhow::Ok(())
        }
    });
    futures_util::future::try_join_all(writers).await.map(|_| ())
}

enum Outcome {
    Changed,
    /// It was gone already, or there already.
    Refused,
    ApiGone,
}

/// Makes one change at random. Half of the creations are repeatable, and are sent twice.
async fn change_one(
    client: &Client,
    random: &mut StdRng,
    users: usize,
    recorder: &Recorder,
) -> anyhow::Result<Outcome> {
    let write = any_write(random, users);
    let again = write.idempotency_key.is_some().then(|| write.clone());
    let outcome = send(client, write, recorder).await?;
    match again {
        Some(write) if !matches!(outcome, Outcome::ApiGone) => send(client, write, recorder).await?,
        _ => Outcome::Refused,
    };
    Ok(outcome)
}

async fn send(client: &Client, write: Write, recorder: &Recorder) -> anyhow::Result<Outcome> {
    match recorder.send(client, write).await {
        Ok(answer) if answer.status.is_success() => Ok(Outcome::Changed),
        Ok(answer) if matches!(answer.status.as_u16(), 404 | 409) => Ok(Outcome::Refused),
        Ok(answer) => bail!("{answer:?}"),
        Err(_) => Ok(Outcome::ApiGone),
    }
}

/// Of one of so many users.
pub fn any_write(random: &mut StdRng, users: usize) -> Write {
    let id = format!("u{}", random.random_range(0..users));
    let name = format!("Name {}", random.random::<u32>());
    let (method, body) = match random.random_range(0..10) {
        0 => (Method::DELETE, Value::Null),
        1..=4 => (Method::PATCH, json!({ "name": name })),
        5..=6 => (Method::PUT, json!({ "email": "test@example.com", "name": name })),
        _ => (Method::POST, json!({ "id": id, "email": "test@example.com", "name": name })),
    };
    let is_repeatable = method == Method::POST && random.random();
    let idempotency_key = is_repeatable.then(|| format!("key-{:x}", random.random::<u64>()));
    Write { idempotency_key, ..Write::new(method, Kind::User, &id, body) }
}
