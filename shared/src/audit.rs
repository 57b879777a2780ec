//! The audit trail, as the projector records it in MongoDB: who did what to an entity, when, and its state after it.

use futures_util::TryStreamExt;
use mongodb::bson::{Document, doc};
use serde::Deserialize;

use crate::{
    entity::{Action, Entity, Id, Version},
    repository::{Documents, ReadError, entity_of},
    timestamp::Timestamp,
};

const COLLECTION: &str = "audit_log";

/// One change.
#[derive(Clone, Debug, Deserialize)]
pub struct Entry {
    /// The event's id.
    #[serde(rename = "_id")]
    pub event_id: String,
    pub action: Action,
    pub version: Version,
    pub actor: Option<String>,
    pub request_id: Option<String>,
    #[serde(default)]
    pub reason: Option<String>,
    pub transaction_id: String,
    pub occurred_at: Timestamp,
    /// The entity after it; of a deletion its last state.
    pub after: Document,
}

impl Entry {
    /// The state after it, as REST shows it.
    pub fn state<E: Entity>(&self) -> Result<serde_json::Value, ReadError> {
        let entity: E = entity_of(self.after.clone())?;
        serde_json::to_value(entity).map_err(ReadError::Json)
    }
}

#[derive(Clone)]
pub struct AuditLog {
    documents: Documents,
}

impl AuditLog {
    #[must_use]
    pub fn new(documents: Documents) -> Self {
        Self { documents }
    }

    /// The newest changes of an entity below a version, the newest first.
    pub async fn newest_first<E: Entity>(
        &self,
        id: &Id,
        below: Option<Version>,
        limit: u32,
    ) -> Result<Vec<Entry>, ReadError> {
        let mut filter = doc! { "entity": E::KIND.to_string(), "entity_id": id.as_str() };
        if let Some(version) = below {
            filter.insert("version", doc! { "$lt": version.0.cast_signed() });
        }
        let (entries, timeout) =
            (self.documents.collection(COLLECTION).clone_with_type::<Entry>(), self.documents.timeout());
        let read = async move {
            let find = entries.find(filter).sort(doc! { "version": -1 });
            find.limit(limit.into()).max_time(timeout).await?.try_collect().await
        };
        self.documents.in_time(read).await
    }
}
