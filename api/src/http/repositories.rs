//! The repositories over HTTP: what they are, what they hold, how they do; queries, and the cache.

mod cache;
mod entities;
mod query;

use futures_util::future::join_all;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Path, payload::Json};
use shared::entity::Kind;
use strum::VariantArray;

use super::{
    State,
    cursor::CursorKeys,
    input::Input,
    problem::{Code, Problem},
    resource::ApiTags,
};
use crate::repositories::{Repositories, RepositoryType};
use cache::{CacheReport, WarmRequest, Warmed};
use entities::{EntityReport, Report};
use query::{QueryAnswer, QueryRequest, Run};

pub(super) struct RepositoryRoutes {
    repositories: Repositories,
}

impl RepositoryRoutes {
    pub(super) fn new(state: &State) -> Self {
        Self { repositories: state.repositories.clone() }
    }
}

/// The kinds of repositories.
#[derive(Object)]
struct RepositoryList {
    items: Vec<RepositorySummary>,
}

/// A kind of repository.
#[derive(Object)]
struct RepositorySummary {
    #[oai(rename = "type")]
    repository_type: RepositoryType,
    purpose: String,
    features: Vec<String>,
    use_cases: Vec<String>,
}

/// A kind of repository, and what this process knows of it.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct RepositoryReport {
    #[oai(rename = "type")]
    repository_type: RepositoryType,
    purpose: String,
    features: Vec<String>,
    use_cases: Vec<String>,
    /// Whether the store behind answers.
    healthy: bool,
    /// Of documents: how many milliseconds they are behind. Missing where that cannot be told.
    lag_ms: Option<u64>,
    entities: Vec<EntityReport>,
}

#[expect(clippy::unused_async, reason = "the framework awaits every handler")]
#[OpenApi(prefix_path = "/api/v1/repositories", tag = "ApiTags::Repositories")]
impl RepositoryRoutes {
    /// List the kinds of repositories
    #[oai(path = "/", method = "get", operation_id = "listRepositories")]
    async fn list(&self) -> Json<RepositoryList> {
        Json(RepositoryList { items: RepositoryType::VARIANTS.iter().copied().map(summary).collect() })
    }

    /// Tell of one kind
    ///
    /// Per entity what can be asked of it, its indexes, how much it holds and how long it takes to answer.
    #[oai(path = "/:type", method = "get", operation_id = "getRepository")]
    async fn tell(
        &self,
        /// `mysql`, `mongodb`, `cached` or `specification`.
        r#type: Path<String>,
    ) -> Result<Json<RepositoryReport>, Problem> {
        let of: RepositoryType = r#type.0.parse().map_err(|_| Problem::new(Code::NotFound))?;
        let healthy = self.repositories.answers(of).await;
        let lag_ms = match of {
            RepositoryType::Mongodb => self.repositories.projector_lag_ms().await,
            _ => None,
        };
        let reports =
            Kind::VARIANTS.iter().map(|kind| kind.visit(Report { of, healthy, repositories: &self.repositories }));
        let entities = join_all(reports).await;
        let RepositorySummary { repository_type, purpose, features, use_cases } = summary(of);
        Ok(Json(RepositoryReport { repository_type, purpose, features, use_cases, healthy, lag_ms, entities }))
    }

    /// Ask for entities, or for sums over groups of them
    ///
    /// The condition is a tree, checked against the entity's fields, and means the same in both stores. The answer
    /// names the store that it comes from and how far that is behind.
    #[oai(path = "/query", method = "post", operation_id = "queryRepository")]
    async fn query(
        &self,
        cursors: Data<&CursorKeys>,
        input: Input<QueryRequest>,
    ) -> Result<Json<QueryAnswer>, Problem> {
        let request = input.value;
        request
            .entity
            .visit(Run { request, repositories: &self.repositories, cursors: cursors.0.clone() })
            .await
            .map(Json)
    }

    /// What the cache did for this process
    #[oai(path = "/cache/stats", method = "get", operation_id = "getCacheStats")]
    async fn cache_stats(&self) -> Json<CacheReport> {
        Json(cache::report(&self.repositories).await)
    }

    /// Fill the cache
    ///
    /// With the entities that are named, or the newest that fulfil a condition. What changes meanwhile is not
    /// overwritten, and counts as refused.
    #[oai(path = "/cache/warm", method = "post", operation_id = "warmCache")]
    async fn warm(&self, input: Input<WarmRequest>) -> Result<Json<Warmed>, Problem> {
        let request = input.value;
        request.entity.visit(cache::Warm { request, repositories: &self.repositories }).await.map(Json)
    }

    /// Forget everything that is cached
    #[oai(path = "/cache", method = "delete", operation_id = "clearCache")]
    async fn clear(&self) -> Result<cache::Forgotten, Problem> {
        cache::clear(&self.repositories).await
    }

    /// Forget one entity that is cached
    #[oai(path = "/cache/:kind/:id", method = "delete", operation_id = "forgetCached")]
    async fn forget(
        &self,
        /// `user`, `product`, `order` or `payment`.
        kind: Path<String>,
        /// The entity's id.
        id: Path<String>,
    ) -> Result<cache::Forgotten, Problem> {
        let kind: Kind = kind.0.parse().map_err(|_| Problem::new(Code::NotFound))?;
        cache::forget(&self.repositories, kind, super::crud::known(&id.0)?).await
    }
}

fn summary(of: RepositoryType) -> RepositorySummary {
    let (purpose, features, use_cases): (_, &[&str], &[&str]) = match of {
        RepositoryType::Mysql => (
            "Primary transactional data storage",
            &["ACID compliance", "complex queries", "relationships"],
            &["user data", "payment records", "order management"],
        ),
        RepositoryType::Mongodb => (
            "Document-based storage for analytics",
            &["flexible schema", "aggregation", "full-text search"],
            &["product catalog", "audit logs", "analytics data"],
        ),
        RepositoryType::Cached => (
            "Performance optimization with Redis",
            &["TTL-based expiration", "cache invalidation by version, with leases"],
            &["frequently accessed data"],
        ),
        RepositoryType::Specification => (
            "Flexible query building",
            &["composite specifications", "type-safe queries", "the same meaning in SQL, BSON and memory"],
            &["complex search", "filtering", "reporting"],
        ),
    };
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    RepositorySummary {
        repository_type: of,
        purpose: purpose.to_owned(),
        features: texts(features),
        use_cases: texts(use_cases),
    }
}
