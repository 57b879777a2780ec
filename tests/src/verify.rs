//! Whether all stores tell the same story, by content.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, ensure};
use mongodb::bson::Document;
use serde_json::Value;
use shared::{
    entity::{Action, User},
    lane::Lane,
};

use crate::{
    dump::{self, Record},
    stack::Stack,
};

/// What was found, for the test's own expectations.
pub struct Story {
    pub records: Vec<Record>,
    /// Each event once, of each entity in the order of their first delivery.
    pub by_entity: BTreeMap<String, Vec<Record>>,
    pub users: BTreeMap<String, Value>,
    pub duplicates: usize,
}

/// Checks Kafka, MySQL, MongoDB and Redis against each other, when nothing is on its way any more.
///
/// # Errors
/// Of the first contradiction.
pub async fn consistent(stack: &Stack) -> anyhow::Result<Story> {
    let records = dump::topic(&stack.config.kafka).await?;
    let users = dump::users(stack).await?;
    let (by_entity, duplicates) = first_deliveries(&records)?;
    check_against_rows(&by_entity, &users)?;
    check_documents(&by_entity, &dump::documents(stack, "users").await?)?;
    check_audit(&by_entity, &dump::documents(stack, "audit_log").await?)?;
    check_cache(&users, &dump::cached_users(stack).await?)?;
    Ok(Story { records, by_entity, users, duplicates })
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

fn check_against_rows(
    by_entity: &BTreeMap<String, Vec<Record>>,
    users: &BTreeMap<String, Value>,
) -> anyhow::Result<()> {
    let mut live = 0;
    for (key, deliveries) in by_entity {
        let last = &deliveries.last().context("no delivery")?.event;
        let row = users.get(last.entity_id.as_str());
        if last.event_type.action == Action::Deleted {
            ensure!(row.is_none(), "{key} was announced as deleted and exists");
        } else {
            let told: Value = serde_json::from_str(last.data.get())?;
            ensure!(row == Some(&told), "{key}: stored {row:?}, told {told}");
            live += 1;
        }
    }
    ensure!(live == users.len(), "{} users are stored, {live} were announced", users.len());
    Ok(())
}

fn check_documents(
    by_entity: &BTreeMap<String, Vec<Record>>,
    documents: &BTreeMap<String, Document>,
) -> anyhow::Result<()> {
    ensure!(documents.len() == by_entity.len(), "{} documents of {} users", documents.len(), by_entity.len());
    for deliveries in by_entity.values() {
        let last = &deliveries.last().context("no delivery")?.event;
        let document =
            documents.get(last.entity_id.as_str()).with_context(|| format!("no document {}", last.subject))?;
        ensure!(
            document.get_i64("version")?.cast_unsigned() == last.version.0,
            "{document} is not at {}",
            last.version
        );
        if last.event_type.action == Action::Deleted {
            ensure!(document.contains_key("deleted_at") && document.len() == 3, "no tombstone: {document}");
        } else {
            let told: User = serde_json::from_str(last.data.get())?;
            ensure!(of_document(document)? == told, "{document} is not {}", last.data);
        }
    }
    Ok(())
}

/// The user that a document tells of.
fn of_document(document: &Document) -> anyhow::Result<User> {
    let mut fields = document.clone();
    let id = fields.remove("_id").context("no _id")?;
    fields.insert("id", id);
    user(&fields)
}

/// As the driver reads it: where the user has a time, a date.
fn user(fields: &Document) -> anyhow::Result<User> {
    fields.get_datetime("created_at")?;
    Ok(mongodb::bson::deserialize_from_slice(&mongodb::bson::serialize_to_vec(fields)?)?)
}

fn check_audit(by_entity: &BTreeMap<String, Vec<Record>>, audit: &BTreeMap<String, Document>) -> anyhow::Result<()> {
    let mut entries = 0;
    for record in by_entity.values().flatten() {
        let event = &record.event;
        let entry = audit.get(&event.id.to_string()).with_context(|| format!("no audit entry of {}", record.value))?;
        ensure!(entry.get_str("entity_id")? == event.entity_id.as_str(), "{entry}");
        ensure!(entry.get_str("action")? == event.event_type.action.to_string(), "{entry}");
        ensure!(entry.get_i64("version")?.cast_unsigned() == event.version.0, "{entry}");
        ensure!(entry.get_str("request_id").ok() == event.request_id.as_deref(), "{entry}");
        ensure!(entry.get_datetime("occurred_at")?.timestamp_millis() == event.time.to_utc().timestamp_millis());
        let after = user(entry.get_document("after")?)?;
        ensure!(after == serde_json::from_str(event.data.get())?, "{entry} is not {}", event.data);
        entries += 1;
    }
    ensure!(entries == audit.len(), "{} audit entries of {entries} events", audit.len());
    Ok(())
}

/// Nothing in Redis is older than MySQL. A lease alone is no state.
fn check_cache(
    users: &BTreeMap<String, Value>,
    cached: &BTreeMap<String, BTreeMap<String, String>>,
) -> anyhow::Result<()> {
    for (id, entry) in cached {
        let Some(state) = entry.get("state") else { continue };
        let version: u64 = entry.get("version").context("no version")?.parse()?;
        match users.get(id) {
            Some(user) => {
                let current = user["version"].as_u64().context("no version")?;
                ensure!(state == "live" && version == current, "{id}: cached {entry:?}, stored {user}");
                ensure!(serde_json::from_str::<Value>(&entry["payload"])? == *user, "{id}: cached {entry:?}");
            }
            None => ensure!(state != "live", "{id} is gone and cached: {entry:?}"),
        }
    }
    Ok(())
}

/// Checks that a record lies where its key says.
#[must_use]
pub fn lies_in_its_partition(record: &Record, partitions: u16) -> bool {
    Lane::of(&record.event.key()).partition(partitions) == record.partition
}
