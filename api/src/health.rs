//! What the API knows of itself and of its stores.

use std::time::Duration;

use shared::{lifecycle::Lifecycle, redis::Redis};
use sqlx::MySqlPool;

use crate::{backlog::Gauge, notifications::tail::Tail};

const LIMIT: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct StoreHealth {
    pub(crate) pool: MySqlPool,
    pub(crate) redis: Redis,
    pub(crate) tail: Tail,
    pub(crate) backlog: Gauge,
    pub(crate) lifecycle: Lifecycle,
}

impl StoreHealth {
    pub(crate) async fn mysql(&self) -> bool {
        let asked = tokio::time::timeout(LIMIT, sqlx::query("SELECT 1").execute(&self.pool)).await;
        matches!(asked, Ok(Ok(_)))
    }

    pub(crate) async fn redis(&self) -> bool {
        let asked = self.redis.run(async |connection| redis::cmd("PING").exec_async(connection).await);
        asked.await.is_ok()
    }

    /// Whether changes reach the sockets.
    pub(crate) fn kafka(&self) -> bool {
        self.tail.is_following()
    }

    /// Whether requests should come: the tail has found its place, or knows that Kafka is away.
    pub(crate) fn is_ready(&self) -> bool {
        !self.tail.is_starting() && !self.lifecycle.is_stopping()
    }
}
