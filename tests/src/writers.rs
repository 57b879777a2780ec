//! Clients that change users at random, and remember what they were told.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{bail, ensure};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

use crate::{client::Client, verify::Story};

/// What the writers are to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    pub writers: usize,
    pub users: usize,
    /// That are answered 2xx, all writers together.
    pub changes: usize,
}

/// What the writers did so far, and what they were told.
#[derive(Clone, Default)]
pub struct Progress(Arc<Told>);

#[derive(Default)]
struct Told {
    done: AtomicUsize,
    /// Id and version of each change that was answered 2xx; of a deletion the version is not told.
    acknowledged: Mutex<BTreeSet<(String, u64)>>,
    /// Requests that were sent and not answered.
    cut: AtomicUsize,
}

impl Progress {
    /// How many changes were answered 2xx.
    #[must_use]
    pub fn done(&self) -> usize {
        self.0.done.load(Ordering::Relaxed)
    }

    /// How many requests were sent and not answered.
    #[must_use]
    pub fn cut(&self) -> usize {
        self.0.cut.load(Ordering::Relaxed)
    }

    /// Every change that was answered is on the topic.
    pub fn is_told_by(&self, story: &Story) -> anyhow::Result<()> {
        let acknowledged = self.0.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(!acknowledged.is_empty(), "nothing was acknowledged");
        for (id, version) in acknowledged.iter() {
            let deliveries = story.by_entity.get(&format!("user:{id}"));
            let told = deliveries.is_some_and(|them| them.iter().any(|it| it.event.version.0 == *version));
            ensure!(told, "version {version} of {id} was answered and not announced");
        }
        Ok(())
    }

    fn note(&self, id: &str, version: u64) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
        if version > 0 {
            let mut acknowledged = self.0.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
            acknowledged.insert((id.to_owned(), version));
        }
    }
}

/// Runs the plan to its end. A writer whose API is gone ends early.
pub async fn write(client: &Client, plan: Plan, progress: &Progress) -> anyhow::Result<()> {
    let writers = (0..plan.writers).map(|writer| {
        let mut random = StdRng::seed_from_u64(plan.seed + writer as u64);
        let (client, progress) = (client.clone(), progress.clone());
        async move {
            let mut remaining = plan.changes.div_ceil(plan.writers);
            while remaining > 0 {
                match change_one(&client, &mut random, plan.users, &progress).await? {
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

/// Makes one change at random.
async fn change_one(
    client: &Client,
    random: &mut StdRng,
    users: usize,
    progress: &Progress,
) -> anyhow::Result<Outcome> {
    let id = format!("u{}", random.random_range(0..users));
    let path = format!("/api/v1/users/{id}");
    let name = format!("Name {}", random.random::<u32>());
    let answered = match random.random_range(0..10) {
        0 => client.delete(&path).await,
        1..=4 => client.patch(&path, &json!({ "name": name })).await,
        5..=6 => client.put(&path, &json!({ "email": "test@example.com", "name": name })).await,
        _ => client.post("/api/v1/users", &json!({ "id": id, "email": "test@example.com", "name": name })).await,
    };
    match answered {
        Ok(answer) if answer.status.is_success() => {
            progress.note(&id, answer.version());
            Ok(Outcome::Changed)
        }
        Ok(answer) if matches!(answer.status.as_u16(), 404 | 409) => Ok(Outcome::Refused),
        Ok(answer) => bail!("{answer:?}"),
        Err(error) => {
            let refused = error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect);
            if !refused {
                progress.0.cut.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Outcome::ApiGone)
        }
    }
}
