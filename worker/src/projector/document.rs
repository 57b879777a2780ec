//! The documents' form: a published contract, only ever added to.

use mongodb::bson::{self, Bson, DateTime, Document, doc};
use shared::{
    entity::{Action, DECIMAL_SUFFIX, Entity, Visitor},
    event::Event,
    timestamp::Timestamp,
};
use thiserror::Error;

use crate::consumer::Record;

#[derive(Debug, Error)]
pub(crate) enum DocumentError {
    #[error("the data is not of its kind")]
    Json(#[from] serde_json::Error),
    #[error("the data cannot be a document")]
    Bson(#[from] bson::error::Error),
}

/// The document of an entity after an event: its fields with `_id` for `id`, or a tombstone.
pub(super) fn of(event: &Event) -> Result<Document, DocumentError> {
    if event.event_type.action == Action::Deleted {
        return Ok(doc! {
            "_id": event.entity_id.as_str(),
            "version": number(event.version.0),
            "deleted_at": date(event.time),
        });
    }
    let fields = fields(event)?;
    let mut document = doc! { "_id": event.entity_id.as_str() };
    document.extend(fields.into_iter().filter(|(name, _)| name != "id"));
    Ok(document)
}

/// What is known of one change: who, when, and the state after it.
pub(super) fn audit_entry(record: &Record) -> Result<Document, DocumentError> {
    let event = &record.event;
    Ok(doc! {
        "_id": event.id.to_string(),
        "entity": event.kind.to_string(),
        "entity_id": event.entity_id.as_str(),
        "action": event.event_type.action.to_string(),
        "version": number(event.version.0),
        "actor": event.actor.as_deref(),
        "request_id": event.request_id.as_deref(),
        "reason": event.reason.as_deref(),
        "trace_id": record.trace.trace_id(),
        "transaction_id": event.transaction_id.to_string(),
        "occurred_at": date(event.time),
        "published_at": DateTime::from_millis(record.published_ms),
        "projected_at": DateTime::now(),
        "after": fields(event)?,
    })
}

/// The entity as a document: dates as dates, amounts as text and beside it as decimals, the rest as in JSON.
fn fields(event: &Event) -> Result<Document, DocumentError> {
    let mut document = event.kind.visit(Read(event))?;
    add_texts(&mut document);
    Ok(document)
}

/// Reads the data of an event as the entity that it is.
struct Read<'a>(&'a Event);

impl Visitor for Read<'_> {
    type Output = Result<Document, DocumentError>;

    fn visit<E: Entity>(self) -> Self::Output {
        let entity: E = serde_json::from_str(self.0.data.get())?;
        // Raw, as only that serializer is not for people: dates stay dates.
        Ok(bson::serialize_to_raw_document_buf(&entity)?.try_into()?)
    }
}

/// Writes `"price": "100.50"` for each decimal, as REST shows it, and the decimal under `price_decimal`.
fn add_texts(document: &mut Document) {
    for (name, value) in std::mem::take(document) {
        match value {
            Bson::Decimal128(decimal) => {
                document.insert(&name, decimal.to_string());
                document.insert(format!("{name}{DECIMAL_SUFFIX}"), decimal);
            }
            Bson::Document(mut inner) => {
                add_texts(&mut inner);
                document.insert(name, inner);
            }
            Bson::Array(mut items) => {
                items.iter_mut().filter_map(Bson::as_document_mut).for_each(add_texts);
                document.insert(name, items);
            }
            other => {
                document.insert(name, other);
            }
        }
    }
}

fn date(time: Timestamp) -> DateTime {
    DateTime::from_millis(time.to_utc().timestamp_millis())
}

/// Versions stay below 2^53.
fn number(version: u64) -> Bson {
    Bson::Int64(version.cast_signed())
}
