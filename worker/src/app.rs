//! The worker as one value: built, then run until it is told to stop.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use shared::{
    bell::Bell,
    cache::Cache,
    config::{Config, Consumer},
    database::{self, PinnedError},
    kafka::{self, TopicError},
    lifecycle::Lifecycle,
    outbox,
    redis::Redis,
    store::Store,
    telemetry::one_line,
};
use uuid::Uuid;

use crate::{
    consumer::{Effect, Group},
    invalidator::Invalidator,
    probes::Probes,
    projector::Projector,
    relay,
    scheduler::Scheduler,
};

/// Between two looks for a store that is away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long MySQL may take to answer at the start.
const MYSQL_LIMIT: Duration = Duration::from_secs(5);
/// Nobody waits for the invalidator as for a request: it gives Redis more time.
const INVALIDATOR_REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// A part of the worker that can run in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Relay,
    Invalidator,
    Projector,
    Scheduler,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Relay, Self::Invalidator, Self::Projector, Self::Scheduler];
}

pub struct App {
    config: Config,
    roles: Vec<Role>,
    redis: Redis,
    probes: Probes,
    lifecycle: Lifecycle,
}

impl App {
    /// Binds the port of the probes. The stores may be away: [`run`](Self::run) waits for them.
    pub async fn build(config: Config, roles: &[Role], lifecycle: Lifecycle) -> anyhow::Result<Self> {
        let redis = Redis::new(&config.redis)?;
        let probes = Probes::bind(&config.worker).await?;
        Ok(Self { config, roles: roles.to_vec(), redis, probes, lifecycle })
    }

    /// Where the probes are answered.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.probes.address()
    }

    /// Runs until the lifecycle stops and everything has ended, or the grace period has.
    ///
    /// # Errors
    /// If a role cannot start, or ends by itself: the process is of no use without it.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { config, roles, redis, probes, lifecycle } = self;
        let ready = probes.serve(&lifecycle);
        let worker = Worker { config: &config, redis, lifecycle: lifecycle.clone() };
        let ended = match worker.start(&roles).await {
            Ok(Some(mut running)) => {
                tracing::info!(?roles, "the worker runs");
                ready.cancel();
                running.next().await.unwrap_or(Ok(()))
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        lifecycle.stop();
        let grace = Duration::from_secs(config.worker.shutdown_grace_seconds);
        if !lifecycle.drained(grace).await {
            tracing::warn!("not everything ended within worker.shutdown_grace_seconds");
        }
        ended
    }
}

/// The roles that run; the first that ends says how.
type Running = FuturesUnordered<BoxFuture<'static, anyhow::Result<()>>>;

struct Worker<'a> {
    config: &'a Config,
    redis: Redis,
    lifecycle: Lifecycle,
}

impl Worker<'_> {
    /// Starts each role when the stores that it needs are there. None where it was stopped before.
    async fn start(&self, roles: &[Role]) -> anyhow::Result<Option<Running>> {
        let config = self.config;
        let running = Running::new();
        let Some(partitions) = self.finds_topic().await? else { return Ok(None) };
        if roles.contains(&Role::Invalidator) {
            let redis = self.redis.clone().with_timeout(INVALIDATOR_REDIS_TIMEOUT);
            let effect = Invalidator::new(Cache::new(redis, &config.redis.prefix, &config.cache));
            running.push(self.group(effect, &config.invalidator)?);
        }
        if roles.contains(&Role::Projector) {
            let effect = Projector::new(&config.mongodb, self.lifecycle.clone()).await.context("mongodb.uri")?;
            effect.make_indexes();
            running.push(self.group(effect, &config.projector)?);
        }
        if (roles.contains(&Role::Relay) || roles.contains(&Role::Scheduler))
            && !self.finds_database(partitions).await?
        {
            return Ok(None);
        }
        let cache = Cache::new(self.redis.clone(), &config.redis.prefix, &config.cache);
        let worker = Uuid::now_v7().to_string();
        if roles.contains(&Role::Scheduler) {
            running.push(self.scheduler(cache.clone(), worker.clone()));
        }
        if roles.contains(&Role::Relay) {
            let relay = relay::run(config.clone(), self.redis.clone(), cache, self.lifecycle.clone(), worker);
            running.push(self.spawn(async move {
                relay.await;
                Ok(())
            }));
        }
        Ok(Some(running))
    }

    fn scheduler(&self, cache: Cache, worker: String) -> BoxFuture<'static, anyhow::Result<()>> {
        let config = self.config.clone();
        let bell = Bell::start(self.redis.clone(), &config.redis.prefix, &self.lifecycle);
        let store = Store::new(&config, cache, bell, self.lifecycle.clone());
        let scheduler = Scheduler::new(store.pool().clone(), worker, self.lifecycle.clone());
        self.spawn(async move { scheduler.run(store, &config).await.context("scheduler") })
    }

    fn group<E: Effect>(
        &self,
        effect: E,
        settings: &Consumer,
    ) -> anyhow::Result<BoxFuture<'static, anyhow::Result<()>>> {
        let group = Group::new(effect, settings.clone(), &self.config.kafka, self.lifecycle.clone())?;
        Ok(self.spawn(async move { group.run().await.context(E::NAME) }))
    }

    fn spawn(
        &self,
        role: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) -> BoxFuture<'static, anyhow::Result<()>> {
        let role = self.lifecycle.spawn(role);
        async { role.await.context("a role panicked")? }.boxed()
    }

    /// Waits for the topic, and makes it where it is missing and may be made. None when stopped, else how many
    /// partitions it has.
    async fn finds_topic(&self) -> anyhow::Result<Option<u16>> {
        let settings = &self.config.kafka;
        while !self.lifecycle.is_stopping() {
            let made = if settings.create_topic { kafka::create_topic(settings).await.map(drop) } else { Ok(()) };
            let found = match made {
                Ok(()) => kafka::find_topic(settings).await,
                Err(error) => kafka::find_topic(settings).await.map_err(|_| error),
            };
            match found {
                Ok(partitions) => return Ok(Some(partitions)),
                Err(error @ TopicError::Partitions { .. }) => return Err(error.into()),
                Err(error) => tracing::warn!(error = one_line(&error), "waiting for Kafka"),
            }
            self.lifecycle.pause(RETRY_PAUSE).await;
        }
        Ok(None)
    }

    /// Waits for MySQL with its schema, and pins the number of partitions where none is. False when stopped.
    async fn finds_database(&self, partitions: u16) -> anyhow::Result<bool> {
        while !self.lifecycle.is_stopping() {
            let checked = async {
                let mut connection = database::connection(&self.config.database).await.map_err(PinnedError::Read)?;
                database::check_pinned(&mut connection).await?;
                outbox::pin_partitions(&mut connection, partitions).await.map_err(PinnedError::Read)
            };
            match tokio::time::timeout(MYSQL_LIMIT, checked).await {
                Ok(Ok(_)) => return Ok(true),
                Ok(Err(error @ PinnedError::Lanes { .. })) => return Err(error.into()),
                Ok(Err(error)) => tracing::warn!(error = one_line(&error), "waiting for MySQL"),
                Err(_) => tracing::warn!("waiting for MySQL, which does not answer"),
            }
            self.lifecycle.pause(RETRY_PAUSE).await;
        }
        Ok(false)
    }
}
