//! How the service is: for people, and for an orchestrator.

use poem_openapi::{ApiResponse, Enum, Object, OpenApi, payload::Json};

use super::resource::ApiTags;
use crate::health::StoreHealth;

pub(super) struct HealthRoutes {
    health: StoreHealth,
}

impl HealthRoutes {
    pub(super) fn new(health: StoreHealth) -> Self {
        Self { health }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
#[oai(rename = "StoreCondition")]
enum Condition {
    Up,
    /// Only its own duty suffers.
    Degraded,
    Down,
}

#[derive(Object)]
struct Stores {
    mysql: Condition,
    redis: Condition,
    kafka: Condition,
}

/// A summary for people.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct Summary {
    status: Condition,
    version: String,
    stores: Stores,
    /// What waits to be announced, as of the last few seconds; missing where that is not known.
    outbox: Option<Outbox>,
}

/// By the database's clock.
#[derive(Object)]
#[oai(rename = "OutboxBacklog")]
struct Outbox {
    /// How many events.
    depth: u64,
    /// Whether that is an estimate, as it is above 10,000.
    estimated: bool,
    /// For how long the first has waited.
    oldest_age_ms: u64,
    /// Whether changes are refused until it is less.
    exceeded: bool,
}

#[derive(ApiResponse)]
enum HealthAnswer {
    /// Requests are served; where the status is `degraded`, something else is missing.
    #[oai(status = 200)]
    Serving(Json<Summary>),
    /// MySQL is away: nothing can be read or written.
    #[oai(status = 503)]
    Down(Json<Summary>),
}

#[derive(ApiResponse)]
enum Probe {
    /// It is so.
    #[oai(status = 200)]
    Yes,
    /// It is not.
    #[oai(status = 503)]
    No,
}

#[expect(clippy::unused_async, reason = "the framework awaits every handler")]
#[OpenApi(tag = "ApiTags::Health")]
impl HealthRoutes {
    /// How the service and its stores are
    #[oai(path = "/health", method = "get", operation_id = "getHealth")]
    async fn health(&self) -> HealthAnswer {
        let condition = |up| if up { Condition::Up } else { Condition::Down };
        let (mysql, redis) = tokio::join!(self.health.mysql(), self.health.redis());
        let stores = Stores { mysql: condition(mysql), redis: condition(redis), kafka: condition(self.health.kafka()) };
        let all_up = [stores.mysql, stores.redis, stores.kafka].iter().all(|store| *store == Condition::Up);
        let status = match (mysql, all_up) {
            (false, _) => Condition::Down,
            (true, false) => Condition::Degraded,
            (true, true) => Condition::Up,
        };
        let backlog = &self.health.backlog;
        let outbox = backlog.last().map(|last| Outbox {
            depth: last.depth,
            estimated: last.estimated,
            oldest_age_ms: last.oldest_age_ms,
            exceeded: backlog.is_exceeded(),
        });
        let summary = Json(Summary { status, version: env!("CARGO_PKG_VERSION").to_owned(), stores, outbox });
        if mysql { HealthAnswer::Serving(summary) } else { HealthAnswer::Down(summary) }
    }

    /// Whether the process lives
    #[oai(path = "/livez", method = "get", operation_id = "getLiveness")]
    async fn live(&self) -> Probe {
        Probe::Yes
    }

    /// Whether requests should be sent here
    ///
    /// Not while it starts and not while it stops. A store that is away does not matter: it is away for all.
    #[oai(path = "/readyz", method = "get", operation_id = "getReadiness")]
    async fn ready(&self) -> Probe {
        if self.health.is_ready() { Probe::Yes } else { Probe::No }
    }
}
