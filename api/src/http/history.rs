//! The history of an entity, from the audit trail.

use poem_openapi::{
    Enum, Object,
    types::{Any, ParseFromJSON, ToJSON, Type},
};
use serde_json::{Map, Value};
use shared::{
    audit::{AuditLog, Entry},
    entity::{Action, Id, Version},
    repository::Repository,
    timestamp::Timestamp,
};

use super::{
    problem::{Code, Problem},
    resource::Resource,
};

/// Changes of one entity, the newest first.
#[derive(Object)]
pub(super) struct History<E: Type + ParseFromJSON + ToJSON> {
    items: Vec<HistoryEntry<E>>,
    /// Whether there are older ones: ask again with the last one's version as `before`.
    has_more: bool,
}

/// One change: who made it, when, and what changed.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct HistoryEntry<E: Type + ParseFromJSON + ToJSON> {
    version: Version,
    action: WhatWasDone,
    occurred_at: Timestamp,
    /// Who did it, where that is known.
    actor: Option<String>,
    /// The request that did it.
    request_id: Option<String>,
    reason: Option<String>,
    event_id: String,
    /// Of all changes that were made together.
    transaction_id: String,
    /// What changed; of the first change every field. Empty for a deletion, and where the change before is not known.
    changes: Vec<FieldChange>,
    /// The entity after the change; of a deletion its last state.
    after: E,
}

#[derive(Clone, Copy, Enum)]
#[oai(rename_all = "lowercase", rename = "Action")]
enum WhatWasDone {
    Created,
    Updated,
    Deleted,
}

/// Both are missing where the field was, or is, missing.
#[derive(Object)]
struct FieldChange {
    field: String,
    from: Any<Option<Value>>,
    to: Any<Option<Value>>,
}

/// Counted by each change; no news.
const COUNTERS: [&str; 2] = ["version", "updated_at"];

pub(super) fn default_limit() -> u32 {
    20
}

pub(super) async fn read<E: Resource>(
    audit: &AuditLog,
    repository: &impl Repository<E>,
    id: &Id,
    limit: u32,
    before: Option<Version>,
) -> Result<History<E>, Problem> {
    // One more tells whether there are more, and is what the last one is compared with.
    let entries = audit.newest_first::<E>(id, before, limit + 1).await?;
    if entries.is_empty() && repository.get(id).await?.is_none() {
        return Err(Problem::new(Code::NotFound));
    }
    let states: Vec<Value> = entries.iter().map(Entry::state::<E>).collect::<Result<_, _>>()?;
    let mut items = Vec::new();
    for (index, entry) in entries.iter().enumerate().take(limit as usize) {
        let earlier = entries.get(index + 1).zip(states.get(index + 1));
        let changes = changes(entry, &states[index], earlier);
        let after = E::parse_from_json(Some(states[index].clone())).map_err(|_| Problem::new(Code::Internal))?;
        items.push(shown(entry, changes, after));
    }
    Ok(History { has_more: entries.len() > items.len(), items })
}

fn shown<E: Resource>(entry: &Entry, changes: Vec<FieldChange>, after: E) -> HistoryEntry<E> {
    HistoryEntry {
        version: entry.version,
        action: match entry.action {
            Action::Created => WhatWasDone::Created,
            Action::Updated => WhatWasDone::Updated,
            Action::Deleted => WhatWasDone::Deleted,
        },
        occurred_at: entry.occurred_at,
        actor: entry.actor.clone(),
        request_id: entry.request_id.clone(),
        reason: entry.reason.clone(),
        event_id: entry.event_id.clone(),
        transaction_id: entry.transaction_id.clone(),
        changes,
        after,
    }
}

fn changes(entry: &Entry, state: &Value, earlier: Option<(&Entry, &Value)>) -> Vec<FieldChange> {
    let nothing = Map::new();
    let before = match (entry.action, earlier) {
        (Action::Created, _) => Some(&nothing),
        // Only the change before: an entry may be missing that is not projected yet.
        (Action::Updated, Some((before, state))) if before.version.next() == entry.version => state.as_object(),
        (Action::Updated | Action::Deleted, _) => None,
    };
    let (Some(before), Some(after)) = (before, state.as_object()) else { return Vec::new() };
    let fields = before.keys().filter(|field| !after.contains_key(*field)).chain(after.keys());
    let changed = fields.filter(|field| !COUNTERS.contains(&field.as_str()) && before.get(*field) != after.get(*field));
    let change = |field: &String| FieldChange {
        field: field.clone(),
        from: Any(before.get(field).cloned()),
        to: Any(after.get(field).cloned()),
    };
    changed.map(change).collect()
}
