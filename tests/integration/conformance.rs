//! What every entity keeps to, written once and run for each: a suite is generic over [`harness::sample::Sample`].

mod addresses;
mod batch;
mod commit;
mod filters;
mod history;
mod idempotency;
mod life;
mod paging;
mod preconditions;
mod stock;

/// Makes a suite a test of each entity.
macro_rules! of_each_entity {
    ($suite:ident) => {
        mod $suite {
            use shared::entity::{Order, Payment, Product, User};

            #[tokio::test(flavor = "multi_thread")]
            async fn users() -> anyhow::Result<()> {
                super::$suite::<User>().await
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn products() -> anyhow::Result<()> {
                super::$suite::<Product>().await
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn orders() -> anyhow::Result<()> {
                super::$suite::<Order>().await
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn payments() -> anyhow::Result<()> {
                super::$suite::<Payment>().await
            }
        }
    };
}

use of_each_entity;
