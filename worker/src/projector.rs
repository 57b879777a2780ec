//! The projector: keeps the documents and the audit trail in MongoDB in step with the events.
//!
//! A document never goes back a version: the guard is inside the update. Reads exclude tombstones, the documents that
//! have a `deleted_at`.

mod document;
mod indexes;
mod write;

use std::{collections::HashMap, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use mongodb::{
    Client, Database,
    bson::Document,
    options::{ClientOptions, WriteConcern},
};
use secrecy::ExposeSecret;
use shared::{config::Mongodb, entity::Kind, lifecycle::Lifecycle};
use thiserror::Error;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout_at},
};

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
    #[error("a write panicked")]
    Panicked,
}

pub(crate) struct Projector {
    database: Database,
    timeout: Duration,
    lifecycle: Lifecycle,
    /// Writes that took too long. They are awaited before anything else is written, so that they cannot pile up.
    unfinished: Vec<JoinHandle<Result<(), ProjectError>>>,
}

impl Projector {
    /// Connects with the first write.
    pub(crate) async fn new(settings: &Mongodb, lifecycle: Lifecycle) -> mongodb::error::Result<Self> {
        let timeout = Duration::from_millis(settings.timeout_ms);
        let mut options = ClientOptions::parse(settings.uri.expose_secret()).await?;
        options.app_name.get_or_insert_with(|| "sluice-worker".to_owned());
        options.server_selection_timeout.get_or_insert(timeout);
        options.write_concern = Some(WriteConcern::majority());
        let database = Client::with_options(options)?.database(&settings.database);
        Ok(Self { database, timeout, lifecycle, unfinished: Vec::new() })
    }

    /// Makes the indexes of what is written, beside the writing.
    pub(crate) fn make_indexes(&self) {
        self.lifecycle.spawn(indexes::make(self.database.clone(), self.lifecycle.clone()));
    }

    /// Runs writes to their end, beside each other. The driver does not bear being dropped in the middle, so only the
    /// waiting has a limit.
    async fn write(&mut self, writes: Vec<BoxFuture<'static, Result<(), ProjectError>>>) -> Result<(), ProjectError> {
        self.unfinished.extend(writes.into_iter().map(|write| self.lifecycle.spawn(write)));
        let deadline = Instant::now() + self.timeout;
        let mut written = Ok(());
        while let Some(write) = self.unfinished.last_mut() {
            let Ok(ended) = timeout_at(deadline, write).await else { return Err(ProjectError::Timeout) };
            self.unfinished.pop();
            written = written.and(ended.unwrap_or(Err(ProjectError::Panicked)));
        }
        written
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
        // What an earlier attempt left running is done with first.
        self.write(Vec::new()).await?;
        let mut writes = vec![write::audit(self.database.clone(), entries).boxed()];
        for (kind, documents) in documents {
            writes.push(write::documents(self.database.clone(), kind.plural(), documents).boxed());
        }
        self.write(writes).await
    }
}
