//! The connection to the documents of MongoDB, for reading.

use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::{
    Client, Collection, Database, IndexModel,
    bson::{self, Document, doc},
    error::{CommandError, ErrorKind},
    options::ClientOptions,
};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;

use super::ReadError;
use crate::{config, entity::Entity, lifecycle::Lifecycle};

/// The server's code for a read that took longer than it may.
const TOOK_TOO_LONG: i32 = 50;

/// The database of the documents. Every read ends in time.
#[derive(Clone, Debug)]
pub struct Documents {
    database: Database,
    timeout: Duration,
    lifecycle: Lifecycle,
}

/// An index of a collection, as the server tells of it.
#[derive(Clone, Debug)]
pub struct DocumentIndex {
    pub name: String,
    /// In their order.
    pub fields: Vec<String>,
}

impl From<IndexModel> for DocumentIndex {
    fn from(IndexModel { keys, options, .. }: IndexModel) -> Self {
        let options = options.unwrap_or_default();
        // The keys of a text index are the server's own; the fields are what has a weight.
        let fields = options.weights.unwrap_or(keys).into_iter().map(|(field, _)| field).collect();
        Self { name: options.name.unwrap_or_default(), fields }
    }
}

impl Documents {
    /// Connects with the first read.
    ///
    /// # Errors
    /// If the address cannot be read.
    pub async fn new(settings: &config::Mongodb, app: &str, lifecycle: Lifecycle) -> mongodb::error::Result<Self> {
        let timeout = Duration::from_millis(settings.timeout_ms);
        let mut options = ClientOptions::parse(settings.uri.expose_secret()).await?;
        options.app_name.get_or_insert_with(|| app.to_owned());
        options.server_selection_timeout.get_or_insert(timeout);
        options.connect_timeout.get_or_insert(timeout);
        let database = Client::with_options(options)?.database(&settings.database);
        Ok(Self { database, timeout, lifecycle })
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// Whether the server answers.
    pub async fn answer(&self) -> Result<(), ReadError> {
        let database = self.database.clone();
        self.in_time(async move { database.run_command(doc! { "ping": 1 }).await }).await?;
        Ok(())
    }

    /// The documents that a pipeline makes of a collection.
    pub(crate) async fn aggregate(&self, name: &str, pipeline: Vec<Document>) -> Result<Vec<Document>, ReadError> {
        let (collection, timeout) = (self.collection(name), self.timeout);
        self.in_time(async move { collection.aggregate(pipeline).max_time(timeout).await?.try_collect().await }).await
    }

    /// The indexes of an entity's collection.
    pub async fn indexes<E: Entity>(&self) -> Result<Vec<DocumentIndex>, ReadError> {
        let collection = self.collection(E::PLURAL);
        let models = self.in_time(async move { collection.list_indexes().await?.try_collect::<Vec<_>>().await }).await;
        match models {
            Ok(models) => Ok(models.into_iter().map(DocumentIndex::from).collect()),
            // The collection comes with its first document.
            Err(ReadError::Mongodb(error)) if is_no_namespace(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Runs a read, and gives up waiting for it when its time is over. The driver does not bear being dropped in the
    /// middle, so the read itself goes on.
    pub(crate) async fn in_time<T: Send + 'static>(
        &self,
        read: impl Future<Output = mongodb::error::Result<T>> + Send + 'static,
    ) -> Result<T, ReadError> {
        // A little longer than the server may take, which tells more than silence does.
        let limit = self.timeout + self.timeout / 2;
        match tokio::time::timeout(limit, self.lifecycle.spawn(read)).await {
            Ok(Ok(Err(error))) if took_too_long(&error) => Err(ReadError::TooExpensive),
            Ok(Ok(read)) => Ok(read?),
            Ok(Err(_)) => Err(ReadError::Panicked),
            Err(_) => Err(ReadError::Timeout),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

fn took_too_long(error: &mongodb::error::Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(CommandError { code: TOOK_TOO_LONG, .. }))
}

fn is_no_namespace(error: &mongodb::error::Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(CommandError { code: 26, .. }))
}

/// The entity that a document is.
pub(crate) fn entity_of<E: DeserializeOwned>(mut document: Document) -> Result<E, ReadError> {
    if let Some(id) = document.remove("_id") {
        document.insert("id", id);
    }
    // By its bytes, as only that reader is not for people: dates are dates.
    let bytes = bson::serialize_to_vec(&document).map_err(ReadError::Document)?;
    bson::deserialize_from_slice(&bytes).map_err(ReadError::Document)
}
