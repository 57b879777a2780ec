//! What became of a script: counts, and what broke a promise.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use anyhow::ensure;
use uuid::Uuid;

use super::{Fault, Phase};
use crate::{
    checker::{Rule, Verdict, Violation},
    dump::Record,
};

pub struct Report {
    pub seed: u64,
    pub changes_per_second: f64,
    /// After the last change.
    pub settled_in: Duration,
    /// All that is on the topic.
    pub records: usize,
    pub outcomes: Vec<Outcome>,
    pub violations: Vec<Violation>,
}

/// What became of one fault.
pub struct Outcome {
    pub phase: Phase,
    pub duplicates: usize,
    /// Duplicates of what did not wait in the victim's lanes.
    pub strangers: usize,
}

impl Report {
    pub(super) fn new(
        seed: u64,
        changes_per_second: f64,
        settled_in: Duration,
        phases: Vec<Phase>,
        (records, verdict): (&[Record], Verdict),
    ) -> Self {
        let mut duplicates: HashMap<usize, Vec<Uuid>> = HashMap::new();
        let mut met = HashSet::new();
        for record in records.iter().filter(|record| !met.insert(record.event.id)) {
            let begun =
                |phase: &Phase| record.offset >= phase.since.get(&record.partition).copied().unwrap_or_default();
            // Before the first fault nothing may be double either: it is counted with that one, which allows none.
            let phase = phases.iter().rposition(begun).unwrap_or_default();
            duplicates.entry(phase).or_default().push(record.event.id);
        }
        let outcomes = phases.into_iter().enumerate().map(|(number, phase)| {
            let doubled = duplicates.remove(&number).unwrap_or_default();
            let strangers = doubled.iter().filter(|id| !phase.waiting.contains(id)).count();
            Outcome { phase, duplicates: doubled.len(), strangers }
        });
        let outcomes = outcomes.collect();
        let violations = verdict.violations;
        Self { seed, changes_per_second, settled_in, records: records.len(), outcomes, violations }
    }

    /// Acknowledged or stored, and not announced.
    #[must_use]
    pub fn lost(&self) -> usize {
        let lost = [Rule::WriteIsAnnounced, Rule::NoHole, Rule::OutboxIsEmpty, Rule::NothingIsParked];
        self.violations.iter().filter(|violation| lost.contains(&violation.rule)).count()
    }

    #[must_use]
    pub fn out_of_order(&self) -> usize {
        self.violations.iter().filter(|violation| violation.rule == Rule::InOrder).count()
    }

    /// The longest take-over after such a fault.
    #[must_use]
    pub fn take_over(&self, fault: Fault) -> Option<Duration> {
        let outcomes = self.outcomes.iter().filter(|outcome| outcome.phase.fault == fault);
        outcomes.flat_map(|outcome| outcome.phase.take_overs.iter().copied()).max()
    }

    /// # Errors
    /// If a promise was broken: by the checker, or by more duplicates than were in flight.
    pub fn check(&self) -> anyhow::Result<()> {
        let found: Vec<String> = self.violations.iter().take(20).map(ToString::to_string).collect();
        ensure!(found.is_empty(), "seed {}: {} violations:\n{}", self.seed, self.violations.len(), found.join("\n"));
        for Outcome { phase, duplicates, strangers } in &self.outcomes {
            let fault = phase.fault;
            ensure!(*strangers == 0, "seed {}, {fault}: {strangers} of {duplicates} were never in flight", self.seed);
            ensure!(!fault.is_orderly() || *duplicates == 0, "seed {}, {fault}: {duplicates} duplicates", self.seed);
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, records, changes_per_second: rate, settled_in, violations, .. } = self;
        let (lost, out_of_order) = (self.lost(), self.out_of_order());
        write!(
            formatter,
            "seed {seed}: {records} records at {rate:.0} changes/s, settled after {settled_in:.1?}; \
             lost {lost}, out of order {out_of_order}, violations {}",
            violations.len()
        )?;
        for Outcome { phase, duplicates, strangers } in &self.outcomes {
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
