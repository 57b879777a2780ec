//! The cache over HTTP.

use futures_util::{FutureExt, future::BoxFuture};
use poem_openapi::{
    ApiResponse, Object,
    types::{Any, Example},
};
use serde_json::Value;
use shared::{
    cache::CacheError,
    entity::{Entity, Id, Key, Kind, Visitor},
    repository::{Counts, Warming},
    specification::Specification,
    telemetry::one_line,
    violation::Violation,
};
use strum::VariantArray;

use super::super::problem::{Code, Problem};
use crate::repositories::{Repositories, RepositoryType};

const MOST_WARMED: u32 = 10_000;

/// What is to be cached: `ids`, or `where`.
#[derive(Clone, Object)]
#[oai(deny_unknown_fields, skip_serializing_if_is_none, example)]
pub(super) struct WarmRequest {
    pub(super) entity: Kind,
    #[oai(default, validator(min_items = 1, max_items = 10000))]
    ids: Option<Vec<Id>>,
    /// A condition. `{"all": []}` is fulfilled by everything.
    #[oai(default, rename = "where")]
    condition: Option<Any<Value>>,
    /// How many at the most, the newest first. Only with `where`.
    #[oai(default, validator(minimum(value = "1"), maximum(value = "10000")))]
    limit: Option<u32>,
}

impl Example for WarmRequest {
    fn example() -> Self {
        let condition = Some(Any(serde_json::json!({ "field": "status", "op": "eq", "value": "active" })));
        Self { entity: Kind::Product, ids: None, condition, limit: Some(1_000) }
    }
}

/// What came of it.
#[derive(Object)]
pub(super) struct Warmed {
    loaded: u64,
    /// There is no such entity.
    skipped: u64,
    /// It changed meanwhile.
    refused: u64,
}

/// What the cache did for this process since it began.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct CacheReport {
    /// Whether Redis answers.
    healthy: bool,
    entities: Vec<CacheCounts>,
}

/// Of one kind of entity.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct CacheCounts {
    entity: Kind,
    hits: u64,
    /// "There is no such entity", from the cache.
    negative_hits: u64,
    misses: u64,
    /// Read past the cache: Redis was away, or how old an entry may be had no bound.
    bypassed: u64,
    fills: u64,
    /// It changed between the read and the fill.
    refused_fills: u64,
    errors: u64,
    /// Of all reads through the cache. Missing where there was none.
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

#[derive(ApiResponse)]
pub(super) enum Forgotten {
    /// It is not cached any more.
    #[oai(status = 204)]
    Done,
}

pub(super) async fn report(repositories: &Repositories) -> CacheReport {
    let entity = |kind: &Kind| {
        let Counts { hits, negative_hits, misses, bypassed, fills, refused_fills, errors } =
            repositories.cache_stats().counts(*kind);
        let latency = repositories.latency(RepositoryType::Cached, *kind);
        let (p50_ms, p99_ms) = (latency.map(|it| it.p50_ms), latency.map(|it| it.p99_ms));
        CacheCounts {
            entity: *kind,
            hits,
            negative_hits,
            misses,
            bypassed,
            fills,
            refused_fills,
            errors,
            p50_ms,
            p99_ms,
        }
    };
    CacheReport {
        healthy: repositories.answers(RepositoryType::Cached).await,
        entities: Kind::VARIANTS.iter().map(entity).collect(),
    }
}

pub(super) async fn clear(repositories: &Repositories) -> Result<Forgotten, Problem> {
    repositories.cache().clear().await.map_err(|error| away(&error))?;
    Ok(Forgotten::Done)
}

pub(super) async fn forget(repositories: &Repositories, kind: Kind, id: Id) -> Result<Forgotten, Problem> {
    repositories.cache().forget(&Key { kind, id }).await.map_err(|error| away(&error))?;
    Ok(Forgotten::Done)
}

fn away(error: &CacheError) -> Problem {
    tracing::warn!(error = one_line(error), "the cache cannot be reached");
    Problem::new(Code::CacheUnavailable)
}

/// Warms the cache with entities of one kind.
pub(super) struct Warm<'a> {
    pub(super) request: WarmRequest,
    pub(super) repositories: &'a Repositories,
}

impl<'a> Visitor for Warm<'a> {
    type Output = BoxFuture<'a, Result<Warmed, Problem>>;

    fn visit<E: Entity>(self) -> Self::Output {
        async move {
            let warming = warming::<E>(self.request)?;
            self.repositories.cache().answers().await.map_err(|error| away(&error))?;
            let done = self.repositories.cached::<E>().inner().warm(warming).await?;
            Ok(Warmed { loaded: done.loaded, skipped: done.skipped, refused: done.refused })
        }
        .boxed()
    }
}

fn warming<E: Entity>(request: WarmRequest) -> Result<Warming<E>, Problem> {
    match (request.ids, request.condition) {
        (Some(ids), None) if request.limit.is_none() => Ok(Warming::Ids(ids)),
        (None, Some(Any(condition))) => {
            let specification = Specification::parse(&condition, "/where").map_err(Problem::invalid)?;
            Ok(Warming::Where(specification, request.limit.unwrap_or(MOST_WARMED)))
        }
        _ => {
            let rule = "either ids, or where with an optional limit".to_owned();
            Err(Problem::invalid(vec![Violation::at("", "not-allowed", rule)]))
        }
    }
}
