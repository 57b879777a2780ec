//! `sluice-worker outbox`: what waits to be published, and the lanes it waits in.

use std::{process::ExitCode, time::Duration};

use anyhow::{bail, ensure};
use clap::{Args, Subcommand};
use shared::{
    config::Config,
    lane::Lanes,
    lifecycle::Lifecycle,
    outbox::{self, EXPAND_REASON, Order},
};
use sqlx::MySqlConnection;
use tokio::time::Instant;

use super::{Actor, connect, limited, output::say, parked::Parked, ring, status::StatusArguments};

#[derive(Subcommand)]
pub(super) enum Outbox {
    /// Shows what waits, who publishes it and what is in the way.
    ///
    /// Exits 0 where all goes on by itself, and 3 where an operator has to do something: events are parked, lanes are
    /// paused, a worker has trouble, or rows wait in lanes that nobody has.
    Status(StatusArguments),
    /// Stops publishing in these lanes, and waits until what was on its way has arrived.
    Pause {
        #[command(flatten)]
        lanes: LaneArguments,
        /// Why; `outbox status` shows it.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        actor: Actor,
        /// Does not wait.
        #[arg(long)]
        no_wait: bool,
        /// How long to wait until no worker has the lanes any more.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        timeout_seconds: u64,
    },
    /// Goes on publishing in these lanes.
    Resume {
        #[command(flatten)]
        lanes: LaneArguments,
        #[command(flatten)]
        actor: Actor,
    },
    /// Shows events that Kafka does not take, and decides about them.
    #[command(subcommand)]
    Parked(Parked),
}

#[derive(Args)]
pub(super) struct LaneArguments {
    /// Lanes: numbers, ranges such as 0-7, or all.
    #[arg(required = true, value_name = "LANE")]
    lanes: Vec<Lanes>,
}

impl LaneArguments {
    fn lanes(&self) -> Lanes {
        self.lanes.iter().flat_map(|lanes| lanes.iter()).collect()
    }
}

impl Outbox {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<ExitCode> {
        match self {
            Self::Status(arguments) => return arguments.execute(config).await,
            Self::Pause { lanes, reason, actor, no_wait, timeout_seconds } => {
                let order = Order { actor: actor.name()?, reason: Some(checked(&reason)?) };
                let limit = (!no_wait).then(|| Duration::from_secs(timeout_seconds));
                pause(config, lanes.lanes(), &order, limit).await?;
            }
            Self::Resume { lanes, actor } => {
                let order = Order { actor: actor.name()?, reason: None };
                resume(config, lanes.lanes(), &order).await?;
            }
            Self::Parked(parked) => parked.execute(config).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A reason as the table takes it.
pub(super) fn checked(reason: &str) -> anyhow::Result<&str> {
    let reason = reason.trim();
    ensure!((1..=200).contains(&reason.chars().count()), "--reason: 1 to 200 characters");
    ensure!(reason != EXPAND_REASON, "--reason: {EXPAND_REASON} is that of `topics --expand`");
    Ok(reason)
}

async fn pause(config: &Config, lanes: Lanes, order: &Order<'_>, limit: Option<Duration>) -> anyhow::Result<()> {
    let mut connection = connect(config).await?;
    limited(outbox::pause(&mut connection, lanes, order)).await?;
    ring(config).await;
    if let Some(limit) = limit {
        wait_until_free(&mut connection, lanes, limit).await?;
    }
    say(&format!("paused: lanes {lanes}"))
}

async fn resume(config: &Config, lanes: Lanes, order: &Order<'_>) -> anyhow::Result<()> {
    let mut connection = connect(config).await?;
    let held = limited(outbox::resume(&mut connection, lanes, order)).await?;
    ring(config).await;
    ensure!(
        held.is_empty(),
        "lanes {held} are paused by `topics --expand`, which resumes them when it has ended: run it again"
    );
    say(&format!("resumed: lanes {lanes}"))
}

/// Between two looks at what other processes do.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Waits until no worker has any of these paused lanes: what it had on its way has then arrived.
pub(super) async fn wait_until_free(
    connection: &mut MySqlConnection,
    lanes: Lanes,
    limit: Duration,
) -> anyhow::Result<()> {
    let (until, lifecycle) = (Instant::now() + limit, Lifecycle::new());
    loop {
        let owned = limited(outbox::paused_and_owned(connection)).await?.intersection(lanes);
        if owned.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            bail!("the lanes are paused, but a worker still has {owned}: what it has on its way is not acknowledged");
        }
        lifecycle.pause(LOOK).await;
    }
}
