//! The repositories of this process: one of each kind for each entity, and how they do.

mod lag;

use shared::{
    cache::Cache,
    config,
    entity::{Entity, Kind},
    repository::{CacheStats, Cached, Documents, Latencies, Measured, MongoRepository, MySqlRepository, Quantiles},
};
use sqlx::MySqlPool;

use lag::Lag;

/// The entities of one kind as they are committed.
pub(crate) type MySql<E> = Measured<MySqlRepository<E>>;

/// A kind of repository, as clients name it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, poem_openapi::Enum, strum::VariantArray, strum::Display, strum::EnumString,
)]
#[oai(rename_all = "lowercase", rename = "RepositoryType")]
#[strum(serialize_all = "lowercase")]
pub(crate) enum RepositoryType {
    Mysql,
    Mongodb,
    Cached,
    Specification,
}

#[derive(Clone)]
pub(crate) struct Repositories {
    pool: MySqlPool,
    documents: Documents,
    cache: Cache,
    cache_stats: CacheStats,
    lag: Lag,
    mysql: Latencies,
    mongodb: Latencies,
    cached: Latencies,
}

impl Repositories {
    pub(crate) fn new(
        pool: MySqlPool,
        documents: Documents,
        cache: Cache,
        kafka: &config::Kafka,
        lifecycle: &shared::lifecycle::Lifecycle,
    ) -> Self {
        Self {
            lag: Lag::new(pool.clone(), kafka, lifecycle.clone()),
            pool,
            documents,
            cache,
            cache_stats: CacheStats::default(),
            mysql: Latencies::new("mysql"),
            mongodb: Latencies::new("mongodb"),
            cached: Latencies::new("cached"),
        }
    }

    pub(crate) fn mysql<E: Entity>(&self) -> MySql<E> {
        Measured::new(MySqlRepository::new(self.pool.clone()), self.mysql.clone())
    }

    pub(crate) fn mongodb<E: Entity>(&self) -> Measured<MongoRepository<E>> {
        Measured::new(MongoRepository::new(self.documents.clone()), self.mongodb.clone())
    }

    pub(crate) fn cached<E: Entity>(&self) -> Measured<Cached<MySqlRepository<E>>> {
        let inner = MySqlRepository::new(self.pool.clone());
        Measured::new(Cached::new(self.cache.clone(), inner, self.cache_stats.clone()), self.cached.clone())
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.cache
    }

    pub(crate) fn cache_stats(&self) -> &CacheStats {
        &self.cache_stats
    }

    pub(crate) fn documents(&self) -> &Documents {
        &self.documents
    }

    /// How long answers of one kind of repository took, of one kind of entity. None where nothing was asked yet.
    pub(crate) fn latency(&self, of: RepositoryType, kind: Kind) -> Option<Quantiles> {
        match of {
            RepositoryType::Mysql | RepositoryType::Specification => self.mysql.of(kind),
            RepositoryType::Mongodb => self.mongodb.of(kind),
            RepositoryType::Cached => self.cached.of(kind),
        }
    }

    /// How far the documents are behind, in milliseconds. None where it cannot be told.
    pub(crate) async fn projector_lag_ms(&self) -> Option<u64> {
        self.lag.milliseconds().await
    }

    /// Whether the store behind answers.
    pub(crate) async fn answers(&self, of: RepositoryType) -> bool {
        match of {
            RepositoryType::Mysql | RepositoryType::Specification => {
                sqlx::query("SELECT 1").execute(&self.pool).await.is_ok()
            }
            RepositoryType::Mongodb => self.documents.answer().await.is_ok(),
            RepositoryType::Cached => self.cache.answers().await.is_ok(),
        }
    }
}
