//! The worker as one value: built, then run until it is told to stop.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use rdkafka::error::KafkaResult;
use shared::{
    cache::Cache,
    config::Config,
    database::{self, PinnedError},
    kafka::{self, TopicError},
    lifecycle::Lifecycle,
    redis::Redis,
    telemetry::one_line,
};
use uuid::Uuid;

use crate::{
    consumer::{Effect, Group},
    invalidator::Invalidator,
    probes::Probes,
    projector::Projector,
    relay::Relay,
};

/// Between two looks for a store that is away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Nobody waits for the relay and the invalidator as for a request: they give Redis more time.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);

/// A part of the worker that can run in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    Relay,
    Invalidator,
    Projector,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Relay, Self::Invalidator, Self::Projector];
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
        let redis = Redis::new(&config.redis)?.with_timeout(REDIS_TIMEOUT);
        let probes = Probes::bind(&config.worker).await?;
        Ok(Self { config, roles: roles.to_vec(), redis, probes, lifecycle })
    }

    /// Where the probes are answered.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.probes.address()
    }

    /// Runs until the lifecycle stops and everything has ended, or the grace period has.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { config, roles, redis, probes, lifecycle } = self;
        let ready = probes.serve(&lifecycle);
        let worker = Worker { redis, lifecycle: lifecycle.clone() };
        let grace = Duration::from_secs(config.worker.shutdown_grace_seconds);
        let started = worker.start(&config, &roles).await;
        if started.is_ok() {
            ready.cancel();
            lifecycle.stopped().await;
        }
        lifecycle.stop();
        if !lifecycle.drained(grace).await {
            tracing::warn!("not everything ended within worker.shutdown_grace_seconds");
        }
        started
    }
}

struct Worker {
    redis: Redis,
    lifecycle: Lifecycle,
}

impl Worker {
    /// Starts each role when the stores that it needs are there.
    async fn start(&self, config: &Config, roles: &[Role]) -> anyhow::Result<()> {
        let cache = Cache::new(self.redis.clone(), &config.redis.prefix, &config.cache);
        self.wait_for_topic(config).await?;
        if roles.contains(&Role::Invalidator) {
            let effect = Invalidator::new(cache.clone());
            let group = Group::new(effect, config.invalidator.clone(), &config.kafka, self.lifecycle.clone())?;
            self.run_group(group);
        }
        if roles.contains(&Role::Projector) {
            let effect = Projector::new(&config.mongodb, self.lifecycle.clone()).await.context("mongodb.uri")?;
            let group = Group::new(effect, config.projector.clone(), &config.kafka, self.lifecycle.clone())?;
            self.run_group(group);
        }
        if roles.contains(&Role::Relay) {
            self.wait_for_database(config).await?;
            let worker = Uuid::now_v7().to_string();
            let relay = Relay::new(config.clone(), self.redis.clone(), cache, self.lifecycle.clone(), worker);
            self.lifecycle.spawn(relay.run());
        }
        tracing::info!(?roles, "the worker runs");
        Ok(())
    }

    fn run_group<E: Effect>(&self, group: Group<E>) {
        let lifecycle = self.lifecycle.clone();
        self.lifecycle.spawn(async move {
            let ended: KafkaResult<()> = group.run().await;
            if let Err(error) = ended {
                tracing::error!(group = E::NAME, error = one_line(&error), "the group ended");
                lifecycle.stop();
            }
        });
    }

    async fn wait_for_topic(&self, config: &Config) -> anyhow::Result<()> {
        while !self.lifecycle.is_stopping() {
            let topic = async {
                if config.kafka.create_topic {
                    kafka::create_topic(&config.kafka).await?;
                }
                kafka::find_topic(&config.kafka).await
            };
            match self.lifecycle.unless_stopped(topic).await {
                None | Some(Ok(_)) => break,
                Some(Err(error @ TopicError::Partitions { .. })) => return Err(error.into()),
                Some(Err(error)) => {
                    tracing::warn!(error = one_line(&error), "waiting for Kafka");
                    self.lifecycle.pause(RETRY_PAUSE).await;
                }
            }
        }
        Ok(())
    }

    async fn wait_for_database(&self, config: &Config) -> anyhow::Result<()> {
        while !self.lifecycle.is_stopping() {
            let checked = async {
                let mut connection = database::connection(&config.database).await.map_err(PinnedError::Read)?;
                database::check_pinned(&mut connection).await
            };
            match self.lifecycle.unless_stopped(checked).await {
                None | Some(Ok(())) => break,
                Some(Err(error @ PinnedError::Lanes { .. })) => return Err(error.into()),
                Some(Err(error)) => {
                    tracing::warn!(error = one_line(&error), "waiting for MySQL");
                    self.lifecycle.pause(RETRY_PAUSE).await;
                }
            }
        }
        Ok(())
    }
}
