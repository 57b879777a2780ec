//! What became of a script: counts, and what broke a promise.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use anyhow::{Context, ensure};
use shared::config::Delivery;
use uuid::Uuid;

use super::{Fault, Outcome, Phase, Script};
use crate::steady::Pace;

pub struct Report {
    pub script: Script,
    pub outcome: Outcome,
    pub suffered: Vec<Suffered>,
}

/// What became of one fault.
pub struct Suffered {
    pub phase: Phase,
    pub duplicates: usize,
    /// Duplicates of what did not wait in the victim's lanes.
    pub strangers: usize,
}

impl Report {
    pub(super) fn new(script: Script, phases: Vec<Phase>, outcome: Outcome) -> Self {
        let mut duplicates: HashMap<usize, Vec<Uuid>> = HashMap::new();
        let mut met = HashSet::new();
        for record in outcome.records.iter().filter(|record| !met.insert(record.event.id)) {
            let begun =
                |phase: &Phase| record.offset >= phase.since.get(&record.partition).copied().unwrap_or_default();
            // Before the first fault nothing may be double either: it is counted with that one, which allows none.
            let phase = phases.iter().rposition(begun).unwrap_or_default();
            duplicates.entry(phase).or_default().push(record.event.id);
        }
        let suffered = phases.into_iter().enumerate().map(|(number, phase)| {
            let doubled = duplicates.remove(&number).unwrap_or_default();
            let strangers = doubled.iter().filter(|id| !phase.waiting.contains(id)).count();
            Suffered { phase, duplicates: doubled.len(), strangers }
        });
        let suffered = suffered.collect();
        Self { script, outcome, suffered }
    }

    /// The longest take-over after such a fault.
    #[must_use]
    pub fn take_over(&self, fault: Fault) -> Option<Duration> {
        let suffered = self.suffered.iter().filter(|suffered| suffered.phase.fault == fault);
        suffered.flat_map(|suffered| suffered.phase.take_overs.iter().copied()).max()
    }

    /// # Errors
    /// If a promise was broken: by the checker, or by more duplicates than were in flight.
    pub fn check(&self) -> anyhow::Result<()> {
        let Script { delivery, pace: Pace { seed, .. }, .. } = self.script;
        self.outcome.verdict.check().with_context(|| format!("seed {seed}"))?;
        for Suffered { phase, duplicates, strangers } in &self.suffered {
            let fault = phase.fault;
            ensure!(*strangers == 0, "seed {seed}, {fault}: {strangers} of {duplicates} were never in flight");
            let exactly_once = fault.is_orderly() || delivery == Delivery::Transactional;
            ensure!(!exactly_once || *duplicates == 0, "seed {seed}, {fault}: {duplicates} duplicates");
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seed {}: {}", self.script.pace.seed, self.outcome)?;
        for Suffered { phase, duplicates, strangers } in &self.suffered {
            let Phase { fault, waiting, published, take_overs, .. } = phase;
            let published = published.map_or_else(|| "-".to_owned(), |published| published.to_string());
            let take_overs: Vec<String> = take_overs.iter().map(|it| format!("{} ms", it.as_millis())).collect();
            write!(
                formatter,
                "\n  {fault:<17} waiting {:>5}, published {published:>4}, duplicates {duplicates:>4}, strangers \
                 {strangers}; taken over in {}",
                waiting.len(),
                take_overs.join(", ")
            )?;
        }
        Ok(())
    }
}
