//! Whether all stores tell the same story, by content, of every kind of entity.

mod documents;

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, ensure};
use serde_json::Value;
use shared::{
    entity::{Action, Kind},
    lane::Lane,
};

use crate::{
    dump::{self, Record},
    stack::Stack,
};

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

/// Checks Kafka, MySQL, MongoDB and Redis against each other, when nothing is on its way any more.
///
/// # Errors
/// Of the first contradiction.
pub async fn consistent(stack: &Stack) -> anyhow::Result<Story> {
    let records = dump::topic(&stack.config.kafka).await?;
    let rows = dump::rows(stack).await?;
    let (by_entity, duplicates) = first_deliveries(&records)?;
    check_transactions(&by_entity)?;
    check_against_rows(&by_entity, &rows)?;
    documents::check_entities(&by_entity, &dump::entity_documents(stack).await?)?;
    documents::check_audit(&by_entity, &dump::documents(stack, "audit_log").await?)?;
    check_cache(&rows, &dump::cached(stack).await?)?;
    Ok(Story { records, by_entity, rows, duplicates })
}

/// Of each entity the versions come without a hole and in order; what comes again is the same to the byte.
fn first_deliveries(records: &[Record]) -> anyhow::Result<(BTreeMap<String, Vec<Record>>, usize)> {
    let mut seen: HashMap<String, &Record> = HashMap::new();
    let mut by_entity: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let mut duplicates = 0;
    for record in records {
        let event = &record.event;
        ensure!(record.key == event.key().to_string(), "the key {} is not of {}", record.key, record.value);
        ensure!(record.content_type.starts_with("application/cloudevents+json"), "{}", record.content_type);
        if let Some(first) = seen.insert(event.id.to_string(), record) {
            ensure!(first.value == record.value && first.partition == record.partition, "a duplicate differs");
            duplicates += 1;
            continue;
        }
        let deliveries = by_entity.entry(record.key.clone()).or_default();
        let expected = deliveries.last().map_or(1, |last| last.event.version.0 + 1);
        ensure!(event.version.0 == expected, "{}: version {} after {}", record.key, event.version, expected - 1);
        deliveries.push(record.clone());
    }
    Ok((by_entity, duplicates))
}

/// Each event says how many its transaction has, and so many carry the transaction's id: of each entity one.
fn check_transactions(by_entity: &BTreeMap<String, Vec<Record>>) -> anyhow::Result<()> {
    let mut transactions: HashMap<_, Vec<&Record>> = HashMap::new();
    for record in by_entity.values().flatten() {
        transactions.entry(record.event.transaction_id).or_default().push(record);
    }
    for (id, records) in transactions {
        for record in &records {
            let told = record.event.transaction_size;
            ensure!(told == records.len(), "{} of {told} events of the transaction {id} were told", records.len());
            let same = records.iter().filter(|other| other.key == record.key).count();
            ensure!(same == 1, "the transaction {id} tells of {} {same} times", record.key);
        }
    }
    Ok(())
}

fn check_against_rows(by_entity: &BTreeMap<String, Vec<Record>>, rows: &BTreeMap<String, Value>) -> anyhow::Result<()> {
    let mut live = 0;
    for (key, deliveries) in by_entity {
        let last = &deliveries.last().context("no delivery")?.event;
        let row = rows.get(key);
        if last.event_type.action == Action::Deleted {
            ensure!(row.is_none(), "{key} was announced as deleted and exists");
        } else {
            let told: Value = serde_json::from_str(last.data.get())?;
            ensure!(row == Some(&told), "{key}: stored {row:?}, told {told}");
            live += 1;
        }
    }
    ensure!(live == rows.len(), "{} entities are stored, {live} were announced", rows.len());
    Ok(())
}

/// Nothing in Redis is older than MySQL. A lease alone is no state.
fn check_cache(
    rows: &BTreeMap<String, Value>,
    cached: &BTreeMap<String, BTreeMap<String, String>>,
) -> anyhow::Result<()> {
    for (key, entry) in cached {
        let Some(state) = entry.get("state") else { continue };
        let version: u64 = entry.get("version").context("no version")?.parse()?;
        match rows.get(key) {
            Some(row) => {
                let current = row["version"].as_u64().context("no version")?;
                ensure!(state == "live" && version == current, "{key}: cached {entry:?}, stored {row}");
                ensure!(serde_json::from_str::<Value>(&entry["payload"])? == *row, "{key}: cached {entry:?}");
            }
            None => ensure!(state != "live", "{key} is gone and cached: {entry:?}"),
        }
    }
    Ok(())
}

/// Checks that a record lies where its key says.
#[must_use]
pub fn lies_in_its_partition(record: &Record, partitions: u16) -> bool {
    Lane::of(&record.event.key()).partition(partitions) == record.partition
}
