//! `sluice-worker outbox status`.

use std::{
    io::{IsTerminal, stdout},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use shared::{
    config::Config,
    lane::Lanes,
    lifecycle::Lifecycle,
    outbox::{self, LaneStatus, Status, WorkerStatus},
};

use super::{
    connect, limited,
    output::{duration, row, say, say_json, table},
};

/// An operator has to do something.
const NEEDS_AN_OPERATOR: u8 = 3;
const CLEAR_SCREEN: &str = "\x1b[2J\x1b[H";

#[derive(Args)]
pub(super) struct StatusArguments {
    /// Shows it again and again, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// With --watch: how often.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    interval_ms: u64,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Lists every lane, not only those that are unusual.
    #[arg(long)]
    lanes: bool,
}

impl StatusArguments {
    pub(super) async fn execute(self, config: &Config) -> anyhow::Result<ExitCode> {
        if !self.watch {
            return self.show(config).await;
        }
        let lifecycle = Lifecycle::new();
        lifecycle.stop_on_signals()?;
        let mut last = ExitCode::SUCCESS;
        while let Some(shown) = lifecycle.unless_stopped(self.show(config)).await {
            match shown {
                Ok(code) => last = code,
                // It is watched because something is wrong: MySQL being away is no reason to look away.
                Err(error) => say(&format!("{error:#}"))?,
            }
            lifecycle.pause(Duration::from_millis(self.interval_ms)).await;
        }
        Ok(last)
    }

    async fn show(&self, config: &Config) -> anyhow::Result<ExitCode> {
        let mut connection = connect(config).await?;
        let lease = Duration::from_millis(config.outbox.lease_ms);
        let status = limited(outbox::status(&mut connection, lease)).await?;
        if self.json {
            say_json(&status)?;
        } else {
            let clear = if self.watch && stdout().is_terminal() { CLEAR_SCREEN } else { "" };
            say(&format!("{clear}{}", self.describe(&status)))?;
        }
        Ok(if status.needs_an_operator() { ExitCode::from(NEEDS_AN_OPERATOR) } else { ExitCode::SUCCESS })
    }

    fn describe(&self, status: &Status) -> String {
        let mut parts = vec![summary(status), workers(status)];
        parts.extend(lanes(status, self.lanes));
        parts.join("\n\n")
    }
}

fn summary(status: &Status) -> String {
    let about = if status.backlog.estimated { "about " } else { "" };
    let mut lines = vec![format!(
        "{about}{} events wait, the first for {}",
        status.backlog.depth,
        duration(status.backlog.oldest_age_ms)
    )];
    let parked = status.parked;
    if parked != outbox::ParkedCounts::default() {
        lines.push(format!(
            "parked: {} to be decided about, {} behind them, {} replays requested",
            parked.poison, parked.blocked, parked.replay
        ));
    }
    if status.expanding {
        lines.push("the topic is being expanded; if that was interrupted, run `topics --expand` again".to_owned());
    }
    let paused: Lanes = status.lanes.iter().filter(|lane| lane.paused).map(|lane| lane.lane).collect();
    if !paused.is_empty() {
        lines.push(format!("paused: lanes {paused}"));
    }
    lines.join("\n")
}

/// A line for each worker, and one for the lanes that nobody has.
fn workers(status: &Status) -> String {
    let mut rows = vec![row(["WORKER", "LANES", "WAITING", "FIRST FOR", "SEEN", "STATE"])];
    rows.extend(status.workers.iter().map(|worker| {
        let seen = duration(u64::try_from(worker.seen_ms_ago).unwrap_or_default());
        share(status, Some(&worker.worker), &format!("{seen} ago"), &state_of(worker))
    }));
    let known = |owner: &str| status.workers.iter().any(|worker| worker.worker == owner);
    let unknown: std::collections::BTreeSet<&str> =
        status.lanes.iter().filter_map(|lane| lane.owner.as_deref()).filter(|owner| !known(owner)).collect();
    rows.extend(unknown.into_iter().map(|owner| share(status, Some(owner), "", "not heard of")));
    if !status.lanes_of(None).is_empty() {
        rows.push(share(status, None, "", ""));
    }
    table(&rows)
}

fn share(status: &Status, worker: Option<&str>, seen: &str, state: &str) -> Vec<String> {
    let owned = status.lanes_of(worker);
    let lanes = || status.lanes.iter().filter(|lane| owned.contains(lane.lane));
    let depth: u64 = lanes().map(|lane| lane.depth).sum();
    let oldest = lanes().map(|lane| lane.oldest_age_ms).max().unwrap_or_default();
    let lanes = if owned.is_empty() { "none".to_owned() } else { format!("{owned} ({})", owned.len()) };
    row([worker.unwrap_or("(nobody)"), &lanes, &depth.to_string(), &duration(oldest), seen, state])
}

fn state_of(worker: &WorkerStatus) -> String {
    let since =
        |milliseconds: Option<i64>| duration(milliseconds.and_then(|it| it.try_into().ok()).unwrap_or_default());
    match &worker.trouble {
        _ if !worker.live => "gone".to_owned(),
        Some(trouble) => format!("for {}: {trouble}", since(worker.trouble_for_ms)),
        None if worker.draining => "stopping".to_owned(),
        None => "ok".to_owned(),
    }
}

/// The lanes that are unusual, or all; None where there are none.
fn lanes(status: &Status, all: bool) -> Option<String> {
    let mut rows = vec![row(["LANE", "WAITING", "FIRST FOR", "OWNER", "EPOCH", "LEASE", "PARKED", "STATE"])];
    rows.extend(status.lanes.iter().filter(|lane| all || is_unusual(lane)).map(|lane| {
        let parked = lane.parked.poison + lane.parked.blocked + lane.parked.replay;
        let left = lane.lease_left_ms.and_then(|left| u64::try_from(left).ok()).map(duration);
        row([
            &lane.lane.to_string(),
            &lane.depth.to_string(),
            &duration(lane.oldest_age_ms),
            lane.owner.as_deref().unwrap_or("-"),
            &lane.epoch.to_string(),
            left.as_deref().unwrap_or("-"),
            &parked.to_string(),
            &match &lane.pause_reason {
                _ if !lane.paused => String::new(),
                Some(reason) => format!("paused: {reason}"),
                None => "paused".to_owned(),
            },
        ])
    }));
    (rows.len() > 1).then(|| table(&rows))
}

fn is_unusual(lane: &LaneStatus) -> bool {
    lane.paused || lane.is_abandoned() || lane.parked != outbox::ParkedCounts::default()
}
