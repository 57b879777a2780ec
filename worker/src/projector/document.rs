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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const AT: &str = "2026-01-31T12:00:00.123Z";

    fn document(kind: &str, action: &str, mut data: Value) -> Document {
        data.as_object_mut()
            .unwrap()
            .extend(json!({ "created_at": AT, "updated_at": AT }).as_object().unwrap().clone());
        let event = json!({
            "specversion": "1.0", "type": format!("{kind}_{action}"), "id": "0198c0de-0000-7000-8000-000000000001",
            "source": "/sluice", "subject": format!("{kind}s/x1"), "time": AT, "datacontenttype": "application/json",
            "entity": kind, "entityid": "x1", "entityversion": 2,
            "transactionid": "0198c0de-0000-7000-8000-000000000002", "transactionsize": 1, "data": data,
        });
        of(&serde_json::from_str(&event.to_string()).unwrap()).unwrap()
    }

    /// The published forms. Only additions may change this test.
    #[test]
    fn the_documents_are_the_published_ones() {
        let at = DateTime::parse_rfc3339_str(AT).unwrap();
        let decimal = |text: &str| Bson::Decimal128(text.parse().unwrap());
        let product = document(
            "product",
            "updated",
            json!({
                "id": "x1", "sku": "S1", "name": "Shoe", "category": "shoes", "price": "8.90", "currency": "USD", "stock": 3,
                "status": "active", "attributes": { "sizes": [41, 42.5], "made": null }, "version": 2,
            }),
        );
        assert_eq!(
            product,
            doc! {
                "_id": "x1", "sku": "S1", "name": "Shoe", "category": "shoes", "price": "8.90",
                "price_decimal": decimal("8.90"), "currency": "USD", "stock": 3_i64, "status": "active",
                "attributes": { "sizes": [41_i64, 42.5], "made": Bson::Null }, "version": 2_i64, "created_at": at,
                "updated_at": at,
            }
        );
        let order = document(
            "order",
            "created",
            json!({
                "id": "x1", "user_id": "u1", "status": "pending", "total_amount": "17.80", "currency": "USD",
                "items": [{ "product_id": "p1", "quantity": 2, "unit_price": "8.90" }], "version": 1,
            }),
        );
        let item = doc! {
            "product_id": "p1", "quantity": 2_i64, "unit_price": "8.90", "unit_price_decimal": decimal("8.90"),
        };
        assert_eq!(
            order,
            doc! {
                "_id": "x1", "user_id": "u1", "status": "pending", "items": [item], "total_amount": "17.80",
                "total_amount_decimal": decimal("17.80"), "currency": "USD", "version": 1_i64, "created_at": at,
                "updated_at": at,
            }
        );
        let payment = document(
            "payment",
            "created",
            json!({
                "id": "x1", "user_id": "u1", "amount": "100", "currency": "JPY", "gateway": "stripe", "status": "pending",
                "version": 1,
            }),
        );
        assert_eq!(
            payment,
            doc! {
                "_id": "x1", "user_id": "u1", "amount": "100", "amount_decimal": decimal("100"), "currency": "JPY",
                "gateway": "stripe", "status": "pending", "version": 1_i64, "created_at": at, "updated_at": at,
            }
        );
        let user = json!({ "id": "x1", "email": "a@b.example", "name": "Ann", "status": "active", "version": 1 });
        assert_eq!(
            document("user", "created", user.clone()),
            doc! {
                "_id": "x1", "email": "a@b.example", "name": "Ann", "status": "active", "version": 1_i64,
                "created_at": at, "updated_at": at,
            }
        );
        assert_eq!(document("user", "deleted", user), doc! { "_id": "x1", "version": 2_i64, "deleted_at": at });
    }
}
