//! The records of the topic against each other and against the promise about them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;
use shared::{entity::Action, event::Event, lane::Lane};

use super::{Rule, Violation, told::Told};
use crate::dump::{Dumps, Record};

/// Each event once, and how many came again.
pub(super) fn first(dumps: &Dumps, violations: &mut Vec<Violation>) -> (BTreeMap<String, Vec<Record>>, usize) {
    let mut seen = HashMap::new();
    let mut by_entity: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let mut duplicates = 0;
    for record in &dumps.records {
        let event = &record.event;
        if let Some(first) = seen.get(&event.id).copied() {
            duplicates += 1;
            violations.extend(check_duplicate(first, record));
            continue;
        }
        seen.insert(event.id, record);
        if let Some(detail) = disagreement(record, &dumps.partitions) {
            violations.push(Violation::new(Rule::RecordAgrees, event.id, detail));
        }
        by_entity.entry(event.key().to_string()).or_default().push(record.clone());
    }
    for records in by_entity.values_mut() {
        // The dump has each partition in its order, and those beside each other.
        records.sort_by_key(|record| place(record, &dumps.partitions).unwrap_or_default());
    }
    (by_entity, duplicates)
}

fn check_duplicate(first: &Record, again: &Record) -> Option<Violation> {
    let is_same = (&first.key, &first.value, first.partition) == (&again.key, &again.value, again.partition);
    let detail = || format!("{first:?} came again as {again:?}");
    (!is_same).then(|| Violation::new(Rule::DuplicateIsTheSame, first.event.id, detail()))
}

/// Which of the topic's sizes, in the order in which it grew, put the record where it lies.
fn place(record: &Record, partitions: &[u16]) -> Option<usize> {
    let lane = Lane::of(&record.event.key());
    partitions.iter().position(|partitions| lane.partition(*partitions) == record.partition)
}

fn disagreement(record: &Record, partitions: &[u16]) -> Option<String> {
    let event = &record.event;
    let key = event.key();
    let data: Value = serde_json::from_str(event.data.get()).unwrap_or_default();
    let of_a_deletion = u64::from(event.event_type.action == Action::Deleted);
    let agreements = [
        ("the key", record.key == key.to_string()),
        ("the partition", place(record, partitions).is_some()),
        ("content-type", record.content_type == shared::event::CONTENT_TYPE),
        ("type", event.event_type.kind == event.kind),
        ("subject", event.subject == format!("{}/{}", event.kind.plural(), event.entity_id)),
        ("the id in data", data["id"] == event.entity_id.as_str()),
        ("the version in data", data["version"].as_u64().is_some_and(|it| it + of_a_deletion == event.version.0)),
    ];
    let (what, _) = agreements.into_iter().find(|(_, agrees)| !agrees)?;
    Some(format!("{what} says something else: {record:?}"))
}

/// `lost` is what was reported already.
pub(super) fn check_order(
    told: &Told<'_>,
    partitions: &[u16],
    lost: &HashSet<(String, u64)>,
    violations: &mut Vec<Violation>,
) {
    for (key, records) in told.delivered {
        let mut seen = BTreeSet::new();
        for record in records {
            let version = record.event.version.0;
            if let Some(highest) = seen.last().copied().filter(|highest| version <= *highest) {
                violations.push(Violation::new(Rule::InOrder, key, format!("version {version} after {highest}")));
            }
            seen.insert(version);
        }
        let highest = seen.last().copied().unwrap_or_default();
        let is_missing = |version: &u64| {
            !seen.contains(version) && !told.is_discarded(key, *version) && !lost.contains(&(key.clone(), *version))
        };
        let missing = (1..highest).filter(is_missing);
        violations.extend(missing.map(|version| Violation::new(Rule::NoHole, key, format!("no version {version}"))));
        violations.extend(check_move(key, records, partitions));
    }
}

/// Where the topic was expanded: whether the old partition had its last before the new one had its first.
///
/// By the records' own times, in milliseconds. A topic with `message.timestamp.type=LogAppendTime` says when the broker
/// appended each, which for the old one was before it acknowledged it. With the default, `CreateTime`, they say when the
/// producer took each; it may have held the old one back, so that shows less: only that the relay handed them over in
/// this order.
fn check_move(key: &str, records: &[Record], partitions: &[u16]) -> Option<Violation> {
    let size = |record: &Record| place(record, partitions).unwrap_or_default();
    let moved = records.iter().position(|record| size(record) > size(&records[0]))?;
    let last = records[..moved].iter().max_by_key(|record| record.published_ms)?;
    let first = records[moved..].iter().min_by_key(|record| record.published_ms)?;
    (first.published_ms < last.published_ms).then(|| {
        let (old, new) = (last.published_ms, first.published_ms);
        let detail =
            format!("{} in the old partition at {old}, {} in the new one at {new}", last.event.id, first.event.id);
        Violation::new(Rule::OldPartitionFirst, key, detail)
    })
}

/// Each event says how many its transaction has, and so many carry the transaction's id: of each entity one.
pub(super) fn check_transactions(told: &Told<'_>, violations: &mut Vec<Violation>) {
    let discarded = told.discarded.iter().filter_map(|row| row.event.as_ref());
    let unreadable = told.discarded.iter().filter(|row| row.event.is_none()).count();
    let mut transactions: BTreeMap<_, Vec<&Event>> = BTreeMap::new();
    for event in told.events().chain(discarded) {
        transactions.entry(event.transaction_id).or_default().push(event);
    }
    for (id, events) in transactions {
        let entities: HashSet<String> = events.iter().map(|event| event.key().to_string()).collect();
        let expected = events.len()..=events.len() + unreadable;
        let wrong = events.iter().find(|event| !expected.contains(&event.transaction_size));
        if wrong.is_some() || entities.len() < events.len() {
            let told: Vec<usize> = events.iter().map(|event| event.transaction_size).collect();
            let detail = format!("{} events of {entities:?}, of {told:?}", events.len());
            violations.push(Violation::new(Rule::TransactionIsWhole, id, detail));
        }
    }
}
