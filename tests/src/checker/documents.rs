//! The documents and the audit trail of MongoDB against the events.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, ensure};
use mongodb::bson::Document;
use serde_json::Value;
use shared::{
    entity::{self, Action, Entity, Field, Visitor},
    event::Event,
};
use strum::VariantArray;
use uuid::Uuid;

use super::{Rule, Violation, told::Told};
use crate::dump::Record;

/// Each entity has its newest state in its collection, or a tombstone; and nothing else is there.
pub(super) fn check_entities(told: &Told<'_>, documents: &BTreeMap<String, Document>, violations: &mut Vec<Violation>) {
    let keys: BTreeSet<&String> = told.delivered.keys().chain(documents.keys()).collect();
    for key in keys {
        let records = told.delivered.get(key).map_or(&[][..], Vec::as_slice);
        if let Err(error) = check_document(records, documents.get(key)) {
            violations.push(Violation::new(Rule::DocumentIsFold, key, format!("{error:#}")));
        }
    }
}

fn check_document(records: &[Record], document: Option<&Document>) -> anyhow::Result<()> {
    let document = document.context("no document")?;
    let newest = records.iter().map(|record| &record.event).max_by_key(|event| event.version);
    let newest = newest.with_context(|| format!("no event tells of {document}"))?;
    let version = document.get_i64("version")?.cast_unsigned();
    ensure!(version == newest.version.0, "{document} is not at {}", newest.version);
    if newest.event_type.action == Action::Deleted {
        let deleted_at = document.get_datetime("deleted_at").context("no tombstone")?.timestamp_millis();
        ensure!(deleted_at == newest.time.to_utc().timestamp_millis() && document.len() == 3, "{document}");
        return Ok(());
    }
    let mut fields = document.clone();
    let id = fields.remove("_id").context("no _id")?;
    fields.insert("id", id);
    newest.kind.visit(Tells { fields: &fields, event: newest })
}

/// Each event has an entry, and each entry an event.
pub(super) fn check_audit(told: &Told<'_>, audit: &BTreeMap<String, Document>, violations: &mut Vec<Violation>) {
    let records: HashMap<Uuid, &Record> =
        told.delivered.values().flatten().map(|record| (record.event.id, record)).collect();
    for (id, record) in &records {
        let Some(entry) = audit.get(&id.to_string()) else {
            violations.push(Violation::new(Rule::AuditIsWhole, id, format!("no entry of {}", record.value)));
            continue;
        };
        if let Err(error) = check_entry(record, entry) {
            violations.push(Violation::new(Rule::AuditIsTold, id, format!("{error:#}")));
        }
    }
    for (id, entry) in audit {
        if id.parse().ok().is_none_or(|id: Uuid| !records.contains_key(&id)) {
            violations.push(Violation::new(Rule::AuditIsOnce, id, format!("no event tells of {entry}")));
        }
    }
}

fn check_entry(record: &Record, entry: &Document) -> anyhow::Result<()> {
    let event = &record.event;
    ensure!(entry.get_str("entity")? == event.kind.to_string(), "{entry}");
    ensure!(entry.get_str("entity_id")? == event.entity_id.as_str(), "{entry}");
    ensure!(entry.get_str("action")? == event.event_type.action.to_string(), "{entry}");
    ensure!(entry.get_i64("version")?.cast_unsigned() == event.version.0, "{entry}");
    ensure!(entry.get_str("actor").ok() == event.actor.as_deref(), "{entry}");
    ensure!(entry.get_str("request_id").ok() == event.request_id.as_deref(), "{entry}");
    ensure!(entry.get_str("reason").ok() == event.reason.as_deref(), "{entry}");
    ensure!(entry.get_str("trace_id").ok() == record.trace.trace_id(), "{entry}");
    ensure!(entry.get_str("transaction_id")? == event.transaction_id.to_string(), "{entry}");
    ensure!(entry.get_datetime("occurred_at")?.timestamp_millis() == event.time.to_utc().timestamp_millis(), "{entry}");
    event.kind.visit(Tells { fields: entry.get_document("after")?, event })
}

/// Checks that a document tells the data of an event: as the driver reads it, and field by field in the types that
/// conditions compare.
struct Tells<'a> {
    /// With `id` for `_id`.
    fields: &'a Document,
    event: &'a Event,
}

impl Visitor for Tells<'_> {
    type Output = anyhow::Result<()>;

    fn visit<E: Entity>(self) -> anyhow::Result<()> {
        let Self { fields, event } = self;
        let read: E = mongodb::bson::deserialize_from_slice(&mongodb::bson::serialize_to_vec(fields)?)?;
        let told: Value = serde_json::from_str(event.data.get())?;
        ensure!(serde_json::to_value(&read)? == told, "{fields} is not {told}");
        for field in E::Field::VARIANTS {
            let path = field.document_path();
            match read.value(*field) {
                entity::Value::Time(time) => {
                    let date = fields.get_datetime(path.as_ref())?.timestamp_millis();
                    ensure!(date == time.to_utc().timestamp_millis(), "{path} of {fields}");
                }
                entity::Value::Amount(amount) => {
                    let decimal = fields.get_decimal128(path.as_ref())?.to_string();
                    ensure!(decimal == amount.to_string(), "{path} of {fields}");
                    ensure!(told[field.name()] == fields.get_str(field.name())?, "{} of {fields}", field.name());
                }
                entity::Value::Integer(number) => {
                    let stored = fields.get(path.as_ref()).context("no number")?;
                    let stored = stored.as_i64().or(stored.as_i32().map(i64::from));
                    ensure!(stored == Some(number), "{path} of {fields}");
                }
                entity::Value::Null | entity::Value::Text(_) => {}
            }
        }
        Ok(())
    }
}
