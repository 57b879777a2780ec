//! Changes of users at a steady rate, whatever becomes of their events.
//!
//! They go through the store in the test's process: what is measured beside them must not wait for a REST API that
//! shares its processors.

use std::time::Duration;

use anyhow::{Context, ensure};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use shared::{
    bell::Bell,
    cache::Cache,
    change::{ChangeError, Target},
    config::Config,
    entity::{Action, Entity, User, Version},
    event::Origin,
    lifecycle::Lifecycle,
    redis::Redis,
    store::{Change, Store, TransactError},
    timestamp::Timestamp,
    unit_of_work::UnitOfWork,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    checker::{Outcome, Recorder, Write},
    writers::any_write,
};

/// How many changes are under way at once at the most.
const MOST_AT_ONCE: usize = 48;

/// So many changes a second that are made, of so many users.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub seed: u64,
    pub changes_per_second: u32,
    pub users: usize,
}

/// Changes until it is told to end; answers with how many changes a second were made.
pub async fn write(config: &Config, pace: Pace, recorder: &Recorder, end: &CancellationToken) -> anyhow::Result<f64> {
    let lifecycle = Lifecycle::new();
    let redis = Redis::new(&config.redis)?;
    let cache = Cache::new(redis.clone(), &config.redis.prefix, &config.cache);
    let bell = Bell::start(redis, &config.redis.prefix, &lifecycle);
    let store = Store::new(config, cache, bell, lifecycle.clone());
    let mut random = StdRng::seed_from_u64(pace.seed);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / pace.changes_per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut changes, start) = (JoinSet::new(), Instant::now());
    let done_before = recorder.done();
    while !end.is_cancelled() {
        ticks.tick().await;
        if changes.len() >= MOST_AT_ONCE {
            changes.join_next().await.context("none is under way")???;
        }
        while let Some(changed) = changes.try_join_next() {
            changed??;
        }
        let (store, recorder) = (store.clone(), recorder.clone());
        let random = StdRng::seed_from_u64(random.random());
        changes.spawn(async move { change_one(&store, random, pace.users, &recorder).await });
    }
    while let Some(changed) = changes.join_next().await {
        changed??;
    }
    let (done, seconds) = (recorder.done() - done_before, start.elapsed().as_secs_f64());
    lifecycle.stop();
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    Ok(done as f64 / seconds)
}

/// Until one is made: what is there already cannot be created, what is gone not be changed.
async fn change_one(store: &Store, mut random: StdRng, users: usize, recorder: &Recorder) -> anyhow::Result<()> {
    for _ in 0..100 {
        let write = Write { idempotency_key: None, ..any_write(&mut random, users) };
        if !matches!(perform(store, write, recorder).await, Outcome::Refused { .. }) {
            return Ok(());
        }
    }
    anyhow::bail!("nothing could be changed")
}

async fn perform(store: &Store, write: Write, recorder: &Recorder) -> Outcome {
    let request_id = Uuid::now_v7().to_string();
    let begun = recorder.begin(request_id.clone(), write.clone());
    let origin = Origin { request_id: Some(request_id), ..Origin::default() };
    let outcome = match store.transact(origin, Make(write)).await {
        Ok(version) => Outcome::Acknowledged { status: 200, version: version.map(|version| version.0) },
        Err(TransactError::OutcomeUnknown(_) | TransactError::Panicked) => Outcome::Unknown,
        Err(_) => Outcome::Refused { status: None },
    };
    recorder.end(begun, outcome);
    outcome
}

struct Make(Write);

impl Change for Make {
    /// Of a deletion none, as REST answers it.
    type Output = Option<Version>;
    type Error = ChangeError;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<Option<Version>, ChangeError> {
        let Self(write) = self;
        let user = user(write).map_err(|_| ChangeError::NotFound)?;
        if write.action() == Action::Created {
            return Ok(work.create_many(vec![user]).await?.first().map(Entity::version));
        }
        let target = Target { id: user.id.clone(), expected: None };
        let mut stored: User = target.lock(work).await?;
        if write.action() == Action::Deleted {
            work.delete(stored).await?;
            return Ok(None);
        }
        stored.name = user.name;
        Ok(Some(work.update(stored, None).await?.version))
    }
}

/// As it is created.
fn user(write: &Write) -> anyhow::Result<User> {
    let now = serde_json::to_value(Timestamp::now())?;
    let mut user = json!({
        "id": write.id, "email": "test@example.com", "name": "", "status": "active", "version": 1,
        "created_at": now, "updated_at": now,
    });
    if let Value::Object(members) = &write.body {
        let user = user.as_object_mut().context("no object")?;
        user.extend(members.clone());
    }
    ensure!(user["id"] == write.id);
    Ok(serde_json::from_value(user)?)
}
