//! The documents and the audit trail of MongoDB against the events.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use mongodb::bson::Document;
use serde_json::Value;
use shared::{
    entity::{self, Action, Entity, Field, Visitor},
    event::Event,
};
use strum::VariantArray;

use crate::dump::Record;

/// Each entity has its newest state in its collection, or a tombstone; and nothing else is there.
pub(super) fn check_entities(
    by_entity: &BTreeMap<String, Vec<Record>>,
    documents: &BTreeMap<String, Document>,
) -> anyhow::Result<()> {
    ensure!(documents.len() == by_entity.len(), "{} documents of {} entities", documents.len(), by_entity.len());
    for (key, deliveries) in by_entity {
        let last = &deliveries.last().context("no delivery")?.event;
        let document = documents.get(key).with_context(|| format!("no document of {key}"))?;
        let version = document.get_i64("version")?.cast_unsigned();
        ensure!(version == last.version.0, "{document} is not at {}", last.version);
        if last.event_type.action == Action::Deleted {
            ensure!(document.contains_key("deleted_at") && document.len() == 3, "no tombstone: {document}");
        } else {
            let mut fields = document.clone();
            let id = fields.remove("_id").context("no _id")?;
            fields.insert("id", id);
            last.kind.visit(Tells { fields: &fields, event: last })?;
        }
    }
    Ok(())
}

/// Each event has an entry, and each entry an event.
pub(super) fn check_audit(
    by_entity: &BTreeMap<String, Vec<Record>>,
    audit: &BTreeMap<String, Document>,
) -> anyhow::Result<()> {
    let mut entries = 0;
    for record in by_entity.values().flatten() {
        let event = &record.event;
        let entry = audit.get(&event.id.to_string()).with_context(|| format!("no audit entry of {}", record.value))?;
        ensure!(entry.get_str("entity")? == event.kind.to_string(), "{entry}");
        ensure!(entry.get_str("entity_id")? == event.entity_id.as_str(), "{entry}");
        ensure!(entry.get_str("action")? == event.event_type.action.to_string(), "{entry}");
        ensure!(entry.get_i64("version")?.cast_unsigned() == event.version.0, "{entry}");
        ensure!(entry.get_str("actor").ok() == event.actor.as_deref(), "{entry}");
        ensure!(entry.get_str("request_id").ok() == event.request_id.as_deref(), "{entry}");
        ensure!(entry.get_str("reason").ok() == event.reason.as_deref(), "{entry}");
        ensure!(entry.get_str("transaction_id")? == event.transaction_id.to_string(), "{entry}");
        ensure!(entry.get_datetime("occurred_at")?.timestamp_millis() == event.time.to_utc().timestamp_millis());
        event.kind.visit(Tells { fields: entry.get_document("after")?, event })?;
        entries += 1;
    }
    ensure!(entries == audit.len(), "{} audit entries of {entries} events", audit.len());
    Ok(())
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
