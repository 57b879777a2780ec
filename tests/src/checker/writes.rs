//! What clients did and were told, against what was announced.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use shared::event::Event;
use uuid::Uuid;

use super::{History, Operation, Outcome, Rule, Violation, told::Told};

/// Answers with what was acknowledged and is missing, by key and version: it was reported here.
pub(super) fn check(history: &History, told: &Told<'_>, violations: &mut Vec<Violation>) -> HashSet<(String, u64)> {
    let mut by_request: HashMap<&str, Vec<&Event>> = HashMap::new();
    for event in told.events() {
        by_request.entry(event.request_id.as_deref().unwrap_or_default()).or_default().push(event);
    }
    let requests: HashSet<&str> = history.operations.iter().map(|it| it.request_id.as_str()).collect();
    for (request, events) in &by_request {
        if !requests.contains(request) {
            let report = |event: &&Event| {
                Violation::new(Rule::EventHasItsWrite, event.key(), format!("{}: nobody asked for it", event.id))
            };
            violations.extend(events.iter().map(report));
        }
    }
    // The requests with one key are one, however often they were sent.
    let mut effects: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in &history.operations {
        let key = operation.write.idempotency_key.as_ref().unwrap_or(&operation.request_id);
        effects.entry(key).or_default().push(operation);
    }
    for operations in effects.values() {
        let events = operations.iter().filter_map(|operation| by_request.get(operation.request_id.as_str()));
        violations.extend(check_effect(operations, &events.flatten().copied().collect::<Vec<_>>(), told));
    }
    lost(history, told)
}

/// What an order does to its products belongs to the order's effect: it is of the same transaction.
fn check_effect(operations: &[&Operation], events: &[&Event], told: &Told<'_>) -> Option<Violation> {
    let first = operations.first()?;
    let answered = operations.iter().find(|it| matches!(it.outcome, Outcome::Acknowledged { .. }));
    let Some(any) = events.first() else {
        let lost = answered.filter(|operation| !is_discarded(operation, told));
        return lost.map(|operation| Violation::new(Rule::WriteIsAnnounced, operation.write.key(), operation));
    };
    let transactions: HashSet<Uuid> = events.iter().map(|event| event.transaction_id).collect();
    if transactions.len() > 1 {
        let detail = format!("{first}: {} transactions", transactions.len());
        return Some(Violation::new(Rule::OneEffect, first.write.key(), detail));
    }
    let possible = answered.or_else(|| operations.iter().find(|operation| operation.outcome == Outcome::Unknown));
    let Some(operation) = possible else {
        return Some(Violation::new(Rule::EventHasItsWrite, any.key(), first));
    };
    let own = events.iter().find(|event| event.key().to_string() == operation.write.key());
    check_event(operation, own.unwrap_or(any))
}

fn is_discarded(operation: &Operation, told: &Told<'_>) -> bool {
    told.discarded.iter().any(|row| {
        let told = version_of(operation).map_or(row.action == operation.write.action(), |told| row.version == told);
        row.key == operation.write.key() && told
    })
}

/// Where it was answered; of a deletion it is not told.
fn version_of(operation: &Operation) -> Option<u64> {
    match operation.outcome {
        Outcome::Acknowledged { version, .. } => version,
        _ => None,
    }
}

fn check_event(operation: &Operation, event: &Event) -> Option<Violation> {
    let write = &operation.write;
    let data: Value = serde_json::from_str(event.data.get()).unwrap_or_default();
    let is_of_it = event.key().to_string() == write.key() && event.event_type.action == write.action();
    let is_that_version = version_of(operation).is_none_or(|told| event.version.0 == told);
    let has_the_change = write.body.as_object().into_iter().flatten().all(|(name, asked)| data[name] == *asked);
    if is_of_it && is_that_version && has_the_change {
        return None;
    }
    let detail = format!("{operation}, asked for {}; {} {}: {data}", write.body, event.event_type, event.version);
    Some(Violation::new(Rule::EventIsAsWritten, write.key(), detail))
}

fn lost(history: &History, told: &Told<'_>) -> HashSet<(String, u64)> {
    let announced: HashSet<_> = told.events().map(|event| (event.key().to_string(), event.version.0)).collect();
    let acknowledged = history.operations.iter().filter_map(|it| Some((it.write.key(), version_of(it)?)));
    acknowledged.filter(|it| !announced.contains(it)).collect()
}
