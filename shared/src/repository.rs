//! Reading entities, whatever the store. Writing is the [unit of work](crate::unit_of_work)'s alone.

mod cached;
mod documents;
mod measured;
mod mongo;
mod mysql;

use thiserror::Error;

pub use cached::{CacheStats, Cached, Counts, WarmReport, Warming};
pub use documents::{DocumentIndex, Documents};
pub use measured::{Latencies, Measured, Quantiles};
pub use mongo::MongoRepository;
pub use mysql::{Index, MySqlRepository};

pub(crate) use documents::entity_of;

use crate::{
    database,
    entity::{Entity, Id},
    query::{Page, Query},
    specification::Specification,
};

/// What the log calls lines about reading entities, so that one word finds them: `grep Repository logs/app.log`.
pub const LOG_TARGET: &str = "Repository";

#[derive(Debug, Error)]
pub enum ReadError {
    #[error("MySQL could not be read")]
    MySql(#[source] sqlx::Error),
    #[error("MongoDB could not be read")]
    Mongodb(#[from] mongodb::error::Error),
    /// Or of the audit trail.
    #[error("a document is not of its form")]
    Document(#[source] mongodb::bson::error::Error),
    #[error("an entity could not be written as JSON")]
    Json(#[source] serde_json::Error),
    #[error("the documents could not be read in time")]
    Timeout,
    #[error("a read panicked")]
    Panicked,
    /// It was given up, so that others are served.
    #[error("the query took too long")]
    TooExpensive,
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        if database::took_too_long(&error) { Self::TooExpensive } else { Self::MySql(error) }
    }
}

/// The entities of one kind in one store.
pub trait Repository<E: Entity>: Send + Sync {
    fn get(&self, id: &Id) -> impl Future<Output = Result<Option<E>, ReadError>> + Send;

    fn find(&self, query: &Query<E>) -> impl Future<Output = Result<Page<E>, ReadError>> + Send;

    fn count(&self, specification: &Specification<E>) -> impl Future<Output = Result<u64, ReadError>> + Send;

    fn exists(&self, id: &Id) -> impl Future<Output = Result<bool, ReadError>> + Send;
}
