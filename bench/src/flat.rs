//! Whether an event costs the same whatever the backlog, and also while nothing can be purged.

use serde::Serialize;

use crate::{
    commands::progress,
    drain::{self, Drained},
};

/// The drains of backlogs of one size.
#[derive(Clone, Serialize)]
pub(crate) struct Flat {
    pub(crate) events: usize,
    pub(crate) old_view: bool,
    /// Of all rounds.
    pub(crate) median_events_per_second: f64,
    pub(crate) rounds: Vec<Drained>,
}

/// The sizes take turns, so that what changes on the machine meanwhile meets them all.
pub(crate) async fn run(sizes: &[usize], rounds: usize) -> anyhow::Result<Vec<Flat>> {
    let mut flats = Vec::new();
    for old_view in [false, true] {
        for events in sizes {
            flats.push(Flat { events: *events, old_view, median_events_per_second: 0.0, rounds: Vec::new() });
        }
    }
    for round in 1..=rounds {
        for flat in &mut flats {
            progress(&format!("round {round}: {} events, old read view {}", flat.events, flat.old_view));
            let plan = drain::Plan { events: flat.events, workers: 1, roles: "relay", old_view: flat.old_view };
            flat.rounds.push(drain::run(plan).await?);
        }
    }
    for flat in &mut flats {
        let mut rates: Vec<f64> = flat.rounds.iter().map(|drained| drained.events_per_second).collect();
        rates.sort_by(f64::total_cmp);
        flat.median_events_per_second = rates.get(rates.len() / 2).copied().unwrap_or_default();
    }
    Ok(flats)
}
