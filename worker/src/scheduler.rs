//! The scheduler: jobs at the ticks of a clock, each tick once over all workers.

mod expire_orders;

use std::{future::ready, str::FromStr, sync::Arc, time::Duration};

use anyhow::Context;
use chrono::{SubsecRound, Utc};
use croner::Cron;
use futures_util::FutureExt;
use shared::{config::Config, jobs, lifecycle::Lifecycle, store::Store, telemetry::one_line, timestamp::Timestamp};
use sqlx::MySqlPool;
use tokio_cron_scheduler::{Job as CronJob, JobScheduler};

use expire_orders::ExpireOrders;

/// What is done at a tick. It may be done again, and must then find little to do.
pub(crate) trait Job: Send + Sync + 'static {
    const NAME: &'static str;
    /// After that it is given up, and another worker may do the tick again.
    const LIMIT: Duration;
    type Summary: std::fmt::Debug + Send;

    fn run_once(&self) -> impl Future<Output = anyhow::Result<Self::Summary>> + Send;
}

pub(crate) struct Scheduler {
    pool: MySqlPool,
    owner: String,
    lifecycle: Lifecycle,
}

impl Scheduler {
    pub(crate) fn new(pool: MySqlPool, owner: String, lifecycle: Lifecycle) -> Self {
        Self { pool, owner, lifecycle }
    }

    /// Runs the jobs at their ticks until the process stops.
    pub(crate) async fn run(self, store: Store, config: &Config) -> anyhow::Result<()> {
        let mut clock = JobScheduler::new().await?;
        let this = Arc::new(self);
        let expiry = ExpireOrders::new(store, &config.orders);
        clock.add(this.clone().scheduled(&config.scheduler.expire_orders, expiry)?).await?;
        clock.start().await?;
        this.lifecycle.stopped().await;
        Ok(clock.shutdown().await?)
    }

    fn scheduled<J: Job>(self: Arc<Self>, schedule: &str, job: J) -> anyhow::Result<CronJob> {
        let cron = Cron::from_str(schedule).with_context(|| format!("the schedule of {}", J::NAME))?;
        let job = Arc::new(job);
        let scheduled = CronJob::new_async(schedule, move |_, _| {
            let (this, job, cron) = (self.clone(), job.clone(), cron.clone());
            // On our tracker, so that the process waits for it; the clock only starts it.
            let lifecycle = this.lifecycle.clone();
            lifecycle.spawn(async move { this.tick(&*job, &cron).await });
            ready(()).boxed()
        });
        Ok(scheduled?)
    }

    /// Does the present tick, if nobody else does or did.
    async fn tick<J: Job>(&self, job: &J, cron: &Cron) {
        // The tick's own time, not this machine's moment of noticing it: all workers claim the same.
        let Ok(tick) = cron.find_previous_occurrence(&Utc::now().trunc_subsecs(0), true) else { return };
        match self.claimed(job, tick.into()).await {
            Ok(Some(summary)) => tracing::debug!(job = J::NAME, ?summary, "a job ran"),
            Ok(None) => {}
            Err(error) => tracing::warn!(job = J::NAME, error = one_line(&*error), "a job failed"),
        }
    }

    async fn claimed<J: Job>(&self, job: &J, tick: Timestamp) -> anyhow::Result<Option<J::Summary>> {
        let mut connection = self.pool.acquire().await?;
        let Some(claim) = jobs::claim(&mut connection, J::NAME, tick, &self.owner, 2 * J::LIMIT).await? else {
            return Ok(None);
        };
        drop(connection);
        let ended = tokio::time::timeout(J::LIMIT, job.run_once()).await;
        // Also of what failed: the next tick tries again.
        jobs::finish(&mut *self.pool.acquire().await?, J::NAME, claim).await?;
        ended.context("it took too long")?.map(Some)
    }
}
