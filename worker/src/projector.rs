//! The projector: keeps the documents and the audit trail in MongoDB in step with the events.
//!
//! A document never goes back a version: the guard is inside the update. Reads exclude tombstones, the documents that
//! have a `deleted_at`.

mod document;
mod write;

use std::{collections::HashMap, time::Duration};

use mongodb::{Client, Database, bson::Document, options::ClientOptions};
use secrecy::ExposeSecret;
use shared::{config::Mongodb, entity::Kind, lifecycle::Lifecycle};
use thiserror::Error;

use crate::{
    consumer::{Effect, Record},
    newest,
};

#[derive(Debug, Error)]
pub(crate) enum ProjectError {
    #[error("the event {event_id} does not carry its entity")]
    Data { event_id: uuid::Uuid, source: document::DocumentError },
    #[error("MongoDB refused the write")]
    Mongodb(#[from] mongodb::error::Error),
    #[error("MongoDB refused documents of {collection}: code {code}")]
    Refused { collection: &'static str, code: i32 },
    #[error("first writers of {collection} met again and again")]
    Contended { collection: &'static str },
    #[error("MongoDB did not answer in time")]
    Timeout,
}

pub(crate) struct Projector {
    database: Database,
    timeout: Duration,
    lifecycle: Lifecycle,
}

impl Projector {
    /// Connects with the first write.
    pub(crate) async fn new(settings: &Mongodb, lifecycle: Lifecycle) -> mongodb::error::Result<Self> {
        let timeout = Duration::from_millis(settings.timeout_ms);
        let mut options = ClientOptions::parse(settings.uri.expose_secret()).await?;
        options.app_name.get_or_insert_with(|| "sluice-worker".to_owned());
        options.server_selection_timeout.get_or_insert(timeout);
        let database = Client::with_options(options)?.database(&settings.database);
        Ok(Self { database, timeout, lifecycle })
    }

    /// Runs a write to its end: the driver does not bear being dropped in the middle, so only the waiting ends.
    async fn write<F>(&self, write: F) -> Result<(), ProjectError>
    where
        F: Future<Output = Result<(), ProjectError>> + Send + 'static,
    {
        match tokio::time::timeout(self.timeout, self.lifecycle.spawn(write)).await {
            Ok(Ok(written)) => written,
            Ok(Err(_)) | Err(_) => Err(ProjectError::Timeout),
        }
    }
}

impl Effect for Projector {
    const NAME: &'static str = "projector";
    type Error = ProjectError;

    async fn apply(&mut self, records: &[Record]) -> Result<(), ProjectError> {
        let mut documents: HashMap<Kind, Vec<Document>> = HashMap::new();
        let newest = newest::by_key(records.iter().map(|it| (it.event.key(), it.event.version, &it.event)));
        for (key, (_, event)) in newest {
            let document = document::of(event).map_err(|source| ProjectError::Data { event_id: event.id, source })?;
            documents.entry(key.kind).or_default().push(document);
        }
        let mut entries = Vec::with_capacity(records.len());
        for record in records {
            let entry = document::audit_entry(record);
            entries.push(entry.map_err(|source| ProjectError::Data { event_id: record.event.id, source })?);
        }
        let audit = self.write(write::audit(self.database.clone(), entries));
        let kinds = documents
            .into_iter()
            .map(|(kind, documents)| self.write(write::documents(self.database.clone(), kind.plural(), documents)));
        let (audit, kinds) = tokio::join!(audit, futures_util::future::try_join_all(kinds));
        audit.and(kinds.map(|_| ()))
    }
}
