//! `sluice-worker topics`: makes the topic, and gives it more partitions without reordering anything.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use shared::{
    config::Config,
    kafka,
    lane::{LANES, Lanes},
    lifecycle::Lifecycle,
    outbox::{self, Order},
};
use sqlx::MySqlConnection;
use tokio::time::Instant;

use super::{
    Actor, connect, limited,
    outbox::{LOOK, wait_until_free},
    output::say,
    ring,
};

#[derive(Args)]
pub(super) struct Topics {
    /// Gives the topic so many partitions: a multiple of what it has, and a divisor of the 64 lanes.
    ///
    /// Publishing pauses until everything that is on the topic was consumed by the invalidator and the projector. What
    /// was interrupted is brought to its end by the same command; it can also be given up with the number that the topic
    /// has now.
    #[arg(long, value_name = "PARTITIONS")]
    expand: Option<u16>,
    /// With --expand: how long each step may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout_seconds: u64,
    #[command(flatten)]
    actor: Actor,
}

impl Topics {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<()> {
        if let Some(partitions) = self.expand {
            let limit = Duration::from_secs(self.timeout_seconds);
            return Expansion { config, partitions, actor: self.actor.name()?, limit }.run().await;
        }
        let made = kafka::create_topic(&config.kafka).await?;
        let partitions = kafka::find_topic(&config.kafka).await?;
        // The topic can be made before the schema is; a worker pins the number then.
        if let Ok(mut connection) = connect(config).await {
            limited(outbox::pin_partitions(&mut connection, partitions)).await?;
        }
        let state = if made { "was made" } else { "exists" };
        say(&format!("the topic {} {state}, with {partitions} partitions", config.kafka.topic))
    }
}

/// The groups of the worker. They must have consumed what is in the old partitions before anything is in the new ones.
const GROUPS: [&str; 2] = ["invalidator", "projector"];

struct Expansion<'a> {
    config: &'a Config,
    partitions: u16,
    actor: &'a str,
    limit: Duration,
}

impl Expansion<'_> {
    async fn run(&self) -> anyhow::Result<()> {
        let wanted = self.partitions;
        ensure!(wanted > 0 && LANES.is_multiple_of(wanted), "--expand: {wanted} does not divide the {LANES} lanes");
        let mut connection = connect(self.config).await?;
        ensure!(limited(outbox::lock_expansion(&mut connection)).await?, "the topic is being expanded by another");
        let found = kafka::find_topic(&self.config.kafka).await?;
        let pinned = limited(outbox::pin_partitions(&mut connection, found)).await?;
        ensure!(
            found >= pinned && wanted.is_multiple_of(found),
            "--expand: {wanted} is not a multiple of the {found} partitions that the topic has"
        );
        limited(outbox::begin_expansion(&mut connection, wanted, self.actor)).await?;
        ring(self.config).await;
        let expanded = self.expand(&mut connection, found).await;
        if let Err(error) = expanded {
            return self.give_up(&mut connection, pinned, error).await;
        }
        let order = Order { actor: self.actor, reason: None };
        limited(outbox::end_expansion(&mut connection, Some(wanted), &order)).await?;
        ring(self.config).await;
        say(&format!("the topic {} has {wanted} partitions, and all of them are used", self.config.kafka.topic))
    }

    async fn expand(&self, connection: &mut MySqlConnection, found: u16) -> anyhow::Result<()> {
        say("publishing is paused; waiting for what is on its way")?;
        wait_until_free(connection, Lanes::ALL, self.limit).await?;
        for group in GROUPS {
            say(&format!("waiting for the {group}"))?;
            let consumed = async || Ok(kafka::has_caught_up(&self.config.kafka, group).await?);
            self.until(&format!("the {group} has not consumed everything"), consumed).await?;
        }
        if found < self.partitions {
            say(&format!("adding partitions: {found} → {}", self.partitions))?;
            kafka::add_partitions(&self.config.kafka, self.partitions).await?;
        }
        let known = async || Ok(kafka::find_topic(&self.config.kafka).await? == self.partitions);
        self.until("the brokers do not know the new partitions", known).await
    }

    /// Nothing else may be asked of a lane that is paused for this: only where there are no more partitions than before
    /// is it as if nothing had happened.
    async fn give_up(&self, connection: &mut MySqlConnection, pinned: u16, error: anyhow::Error) -> anyhow::Result<()> {
        let found = kafka::find_topic(&self.config.kafka).await;
        if !matches!(found, Ok(found) if found == pinned) {
            return Err(error.context("publishing stays paused: run the same command again"));
        }
        let reason: String = format!("{error:#}").chars().take(200).collect();
        let order = Order { actor: self.actor, reason: Some(&reason) };
        limited(outbox::end_expansion(connection, None, &order)).await?;
        ring(self.config).await;
        Err(error.context("nothing was changed"))
    }

    /// Asks until it is so.
    async fn until(&self, missing: &str, is_so: impl AsyncFn() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let (until, lifecycle) = (Instant::now() + self.limit, Lifecycle::new());
        let mut failure = None;
        while Instant::now() < until {
            match is_so().await {
                Ok(true) => return Ok(()),
                Ok(false) => failure = None,
                Err(error) => failure = Some(error),
            }
            lifecycle.pause(LOOK).await;
        }
        match failure {
            Some(error) => Err(error).context(missing.to_owned()),
            None => bail!("{missing}"),
        }
    }
}
