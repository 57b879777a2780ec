//! The documents' form: a published contract, only ever added to.

use mongodb::bson::{self, Bson, DateTime, Document, doc};
use serde::de::DeserializeOwned;
use shared::{
    entity::{Action, Entity, Kind, User},
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
        "trace_id": record.trace.trace_id(),
        "transaction_id": event.transaction_id.to_string(),
        "occurred_at": date(event.time),
        "published_at": DateTime::from_millis(record.published_ms),
        "projected_at": DateTime::now(),
        "after": fields(event)?,
    })
}

/// The entity as a document: dates as dates, the rest as in JSON.
fn fields(event: &Event) -> Result<Document, DocumentError> {
    match event.kind {
        Kind::User => fields_of::<User>(event),
    }
}

fn fields_of<E: Entity + DeserializeOwned>(event: &Event) -> Result<Document, DocumentError> {
    let entity: E = serde_json::from_str(event.data.get())?;
    // Raw, as only that serializer is not for people: dates stay dates.
    Ok(bson::serialize_to_raw_document_buf(&entity)?.try_into()?)
}

fn date(time: Timestamp) -> DateTime {
    DateTime::from_millis(time.to_utc().timestamp_millis())
}

/// Versions stay below 2^53.
fn number(version: u64) -> Bson {
    Bson::Int64(version.cast_signed())
}
