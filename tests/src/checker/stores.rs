//! MySQL and Redis against what was announced.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::entity::Action;

use super::{
    Rule, Violation,
    told::{Newest, Told},
};
use crate::dump::Dumps;

pub(super) fn check(told: &Told<'_>, dumps: &Dumps, violations: &mut Vec<Violation>) {
    let newest = told.newest();
    let keys: BTreeSet<&str> = newest.keys().copied().chain(dumps.rows.keys().map(String::as_str)).collect();
    for key in keys {
        let row = dumps.rows.get(key);
        if let Some(detail) = difference(row, newest.get(key)) {
            violations.push(Violation::new(Rule::RowIsTold, key, detail));
        }
    }
    check_retired(&newest, &dumps.retired, violations);
    for row in &dumps.outbox {
        let detail = format!("{}, version {}, waits", row.event_id, row.version);
        violations.push(Violation::new(Rule::OutboxIsEmpty, &row.key, detail));
    }
    for row in &dumps.parked {
        let is_done = row.state == "discarded" && dumps.discarded.contains(&row.event_id);
        if !is_done {
            let detail = format!("{}, version {}, is {}", row.event_id, row.version, row.state);
            violations.push(Violation::new(Rule::NothingIsParked, &row.key, detail));
        }
    }
    for (key, entry) in &dumps.cached {
        if let Some(detail) = staleness(entry, dumps.rows.get(key)) {
            violations.push(Violation::new(Rule::CacheIsFresh, key, detail));
        }
    }
}

fn difference(row: Option<&Value>, newest: Option<&Newest<'_>>) -> Option<String> {
    let Some(Newest { version, event, .. }) = newest else {
        return Some(format!("it was never announced: {row:?}"));
    };
    let is_as_told = match event {
        // What cannot be read was discarded; of its change the version is known.
        None => row.is_none_or(|row| row["version"] == *version),
        Some(event) if event.event_type.action == Action::Deleted => row.is_none(),
        Some(event) => row == serde_json::from_str(event.data.get()).ok().as_ref(),
    };
    (!is_as_told).then(|| format!("stored {row:?}, told {event:?}"))
}

fn check_retired(
    newest: &BTreeMap<&str, Newest<'_>>,
    retired: &BTreeMap<String, u64>,
    violations: &mut Vec<Violation>,
) {
    let told: BTreeMap<&str, u64> = newest.iter().filter_map(|(key, it)| Some((*key, it.retired?))).collect();
    let keys: BTreeSet<&str> = told.keys().copied().chain(retired.keys().map(String::as_str)).collect();
    for key in keys {
        let (stored, told) = (retired.get(key), told.get(key));
        let is_unreadable = newest.get(key).is_some_and(|it| it.event.is_none());
        if stored != told && !is_unreadable {
            let detail = format!("retired at {stored:?}, told {told:?}");
            violations.push(Violation::new(Rule::DeletionIsRetired, key, detail));
        }
    }
}

/// What an entry in Redis has that MySQL does not. A lease alone is no state.
fn staleness(entry: &BTreeMap<String, String>, row: Option<&Value>) -> Option<String> {
    let state = entry.get("state")?;
    let is_fresh = match row {
        Some(row) => {
            let version = entry.get("version").and_then(|version| version.parse::<u64>().ok());
            let payload = entry.get("payload").and_then(|payload| serde_json::from_str::<Value>(payload).ok());
            state == "live" && version == row["version"].as_u64() && payload.as_ref() == Some(row)
        }
        None => state != "live",
    };
    (!is_fresh).then(|| format!("cached {entry:?}, stored {row:?}"))
}
