//! Cancels orders that nobody paid in time.

use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use shared::{
    change::ChangeError,
    config::Orders,
    entity::{ExpireOrder, overdue},
    event::Origin,
    store::{Store, TransactError},
    telemetry::one_line,
};

use super::Job;

const CHUNK: u32 = 100;

pub(super) struct ExpireOrders {
    store: Store,
    age: TimeDelta,
}

#[derive(Debug, Default)]
pub(crate) struct Summary {
    #[expect(dead_code, reason = "shown by the log through Debug")]
    found: usize,
    #[expect(dead_code, reason = "shown by the log through Debug")]
    cancelled: usize,
    #[expect(dead_code, reason = "shown by the log through Debug")]
    failed: usize,
}

impl ExpireOrders {
    pub(super) fn new(store: Store, settings: &Orders) -> Self {
        Self { store, age: TimeDelta::seconds(settings.expire_after_seconds.into()) }
    }
}

impl Job for ExpireOrders {
    const NAME: &'static str = "expire-orders";
    const LIMIT: Duration = Duration::from_mins(1);
    type Summary = Summary;

    /// Each order in a transaction of its own: one that cannot be cancelled now holds up no other.
    async fn run_once(&self) -> anyhow::Result<Summary> {
        let (mut after, mut found, mut cancelled, mut failed) = (None, 0, 0, 0);
        loop {
            let mut connection = self.store.pool().acquire().await?;
            let orders = overdue(&mut connection, self.age, after.as_ref(), CHUNK).await.context("overdue orders")?;
            drop(connection);
            let Some(last) = orders.last() else { return Ok(Summary { found, cancelled, failed }) };
            after = Some(last.clone());
            found += orders.len();
            for (_, id) in orders {
                let origin = Origin { actor: Some(Self::NAME.to_owned()), ..Origin::default() };
                match self.store.transact(origin, ExpireOrder(id.clone())).await {
                    Ok(true) => cancelled += 1,
                    // Kept by a payment, or meanwhile confirmed or deleted.
                    Ok(false) | Err(TransactError::Refused(ChangeError::NotFound)) => {}
                    // The next tick tries again.
                    Err(error @ (TransactError::Refused(_) | TransactError::Conflict | TransactError::Timeout)) => {
                        tracing::warn!(%id, error = one_line(&error), "an order could not be expired");
                        failed += 1;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}
