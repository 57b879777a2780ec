//! Whether clients and stores tell the same story, by content, of every kind of entity.
//!
//! [`check`] is a pure function of what clients did and were told and of what the stores hold once nothing is on its way
//! any more, so that it can be tried on histories that were broken on purpose. It knows no restored database, whose
//! versions jump.

mod deliveries;
mod documents;
mod history;
mod stores;
mod told;
mod writes;

#[cfg(test)]
mod broken;
#[cfg(test)]
mod world;

use std::{collections::BTreeMap, fmt};

use anyhow::ensure;
use serde_json::Value;
use shared::entity::Kind;

pub use history::{History, Operation, Outcome, Recorder, Write};

use crate::{
    dump::{Dumps, Record},
    ledger,
    stack::Stack,
};
use told::Told;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// What was answered 2xx is announced.
    WriteIsAnnounced,
    /// What is announced was done by a client, who was not told that it was refused.
    EventHasItsWrite,
    /// The event is of the entity, the version and the content that the client was told and asked for.
    EventIsAsWritten,
    /// Requests with one key have one effect on an entity, and so has a request without.
    OneEffect,
    /// Of an entity no event comes for the first time after one of a higher version.
    InOrder,
    /// Of an entity no version is missing, but of events that an operator discarded.
    NoHole,
    /// What comes again has the same key and value and lies in the same partition.
    DuplicateIsTheSame,
    /// Key, partition, headers and attributes of a record say the same.
    RecordAgrees,
    /// Of a transaction there are as many events as each of them says, each of another entity.
    TransactionIsWhole,
    /// Where the topic was expanded, an entity's last record in the old partition is older than its first in the new one.
    OldPartitionFirst,
    /// A row is what its newest event says.
    RowIsTold,
    /// An id is retired at the version of its last deletion.
    DeletionIsRetired,
    /// Nothing waits in the outbox any more.
    OutboxIsEmpty,
    /// No event waits for an operator.
    NothingIsParked,
    /// A document, or a tombstone, is what the events come to.
    DocumentIsFold,
    /// Each event has an entry in the audit log.
    AuditIsWhole,
    /// Each entry in the audit log has an event of its own.
    AuditIsOnce,
    /// An entry in the audit log says what its event says.
    AuditIsTold,
    /// Nothing in the cache is older than MySQL.
    CacheIsFresh,
    /// In each transaction products move by what its orders take and give back.
    StockAddsUp,
}

/// That a rule does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: Rule,
    /// An entity's key (`user:ann`), or the id of an event, a request or a transaction.
    pub subject: String,
    pub detail: String,
}

impl Violation {
    fn new(rule: Rule, subject: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self { rule, subject: subject.to_string(), detail: detail.to_string() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}: {}", self.rule, self.subject, self.detail)
    }
}

pub struct Verdict {
    pub violations: Vec<Violation>,
    /// Each event once, of each entity in the order of their first delivery.
    pub first_deliveries: BTreeMap<String, Vec<Record>>,
    pub duplicates: usize,
}

impl Verdict {
    /// How many violations there are of these rules.
    #[must_use]
    pub fn count(&self, rules: &[Rule]) -> usize {
        self.violations.iter().filter(|violation| rules.contains(&violation.rule)).count()
    }

    /// # Errors
    /// That name what does not hold.
    pub fn check(&self) -> anyhow::Result<()> {
        const SHOWN: usize = 20;
        let shown: Vec<String> = self.violations.iter().take(SHOWN).map(ToString::to_string).collect();
        ensure!(shown.is_empty(), "{} violations, of these the first:\n{}", self.violations.len(), shown.join("\n"));
        Ok(())
    }
}

/// Checks what the stores hold against each other and, where there is one, against everything that clients did.
#[must_use]
pub fn check(history: Option<&History>, dumps: &Dumps) -> Verdict {
    let mut violations = Vec::new();
    let (first_deliveries, duplicates) = deliveries::first(dumps, &mut violations);
    let told = Told::new(&first_deliveries, dumps);
    let lost = history.map(|history| writes::check(history, &told, &mut violations)).unwrap_or_default();
    deliveries::check_order(&told, &dumps.partitions, &lost, &mut violations);
    deliveries::check_transactions(&told, &mut violations);
    stores::check(&told, dumps, &mut violations);
    documents::check_entities(&told, &dumps.documents, &mut violations);
    documents::check_audit(&told, &dumps.audit, &mut violations);
    // Sums over what is in disorder or has holes would only say so again.
    if violations.is_empty() && told.discarded.is_empty() {
        let events = first_deliveries.values().flatten().map(|record| &record.event);
        if let Err(error) = ledger::check_events(events) {
            violations.push(Violation::new(Rule::StockAddsUp, "stock", error));
        }
    }
    Verdict { violations, first_deliveries, duplicates }
}

/// What was found, for the test's own expectations. Entities go by their key: `user:ann`.
pub struct Story {
    pub records: Vec<Record>,
    /// Each event once, of each entity in the order of their first delivery.
    pub by_entity: BTreeMap<String, Vec<Record>>,
    /// As REST shows them.
    pub rows: BTreeMap<String, Value>,
    pub duplicates: usize,
}

impl Story {
    /// How many entities of a kind exist.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        let prefix = format!("{kind}:");
        self.rows.keys().filter(|key| key.starts_with(&prefix)).count()
    }

    /// What was told of an entity, in the order of its versions.
    #[must_use]
    pub fn of(&self, kind: Kind, id: &str) -> &[Record] {
        self.by_entity.get(&format!("{kind}:{id}")).map_or(&[], Vec::as_slice)
    }
}

/// Checks all stores against each other, when nothing is on its way any more.
///
/// # Errors
/// That name what does not hold.
pub async fn consistent(stack: &Stack) -> anyhow::Result<Story> {
    judge(None, Dumps::take(stack).await?)
}

/// As [`consistent`], where the recorder saw all that clients did.
///
/// # Errors
/// That name what does not hold.
pub async fn consistent_with(recorder: &Recorder, stack: &Stack) -> anyhow::Result<Story> {
    judge(Some(&recorder.history()), Dumps::take(stack).await?)
}

/// # Errors
/// That name what does not hold.
pub fn judge(history: Option<&History>, dumps: Dumps) -> anyhow::Result<Story> {
    let verdict = check(history, &dumps);
    verdict.check()?;
    let Verdict { first_deliveries, duplicates, .. } = verdict;
    Ok(Story { records: dumps.records, by_entity: first_deliveries, rows: dumps.rows, duplicates })
}
