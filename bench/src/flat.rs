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
    pub(crate) median_deleted_per_second: f64,
    pub(crate) rounds: Vec<Drained>,
}

/// The sizes take turns, so that what changes on the machine meanwhile meets them all.
pub(crate) async fn run(sizes: &[usize], rounds: usize, flats: &mut Vec<Flat>) -> anyhow::Result<()> {
    for old_view in [false, true] {
        for events in sizes {
            flats.push(Flat {
                events: *events,
                old_view,
                median_events_per_second: 0.0,
                median_deleted_per_second: 0.0,
                rounds: Vec::new(),
            });
        }
    }
    for round in 1..=rounds {
        for flat in &mut *flats {
            progress(&format!("round {round}: {} events, old read view {}", flat.events, flat.old_view));
            let plan = drain::Plan { events: flat.events, workers: 1, roles: "relay", old_view: flat.old_view };
            flat.rounds.push(drain::run(plan).await?);
            flat.median_events_per_second = median(&flat.rounds, |drained| drained.events_per_second);
            flat.median_deleted_per_second = median(&flat.rounds, |drained| drained.deleted_per_second);
        }
    }
    Ok(())
}

fn median(rounds: &[Drained], rate: fn(&Drained) -> f64) -> f64 {
    let mut rates: Vec<f64> = rounds.iter().map(rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}
