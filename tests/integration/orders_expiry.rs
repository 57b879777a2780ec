//! Orders that nobody pays in time, as the worker's scheduler cancels them.

use harness::{dump, ledger, stack::Stack, wait};
use shared::config::Config;
use sqlx::Connection;
use worker::app::Role;

use crate::shop::{ORDERS, PAYMENTS, PRODUCTS, create, create_users, order, payment_of, product, stock_of, walk};

/// Expires after a second, and looks each second.
async fn hasty() -> anyhow::Result<Stack> {
    let mut config = Config::load(None)?;
    Stack::rename(&mut config);
    config.orders.expire_after_seconds = 1;
    "* * * * * *".clone_into(&mut config.scheduler.expire_orders);
    Stack::with_config(config).await
}

/// The oldest order waits for a product that another transaction does not let go of; those behind it do not.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_held_holds_up_no_other() -> anyhow::Result<()> {
    let mut stack = hasty().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    for id in ["held", "free"] {
        create(&client, PRODUCTS, &product(id, 10)).await?;
        create(&client, ORDERS, &order(id, "ann", &[(id, 1)])).await?;
    }
    let mut holder = stack.mysql().await?;
    let mut holding = holder.begin().await?;
    sqlx::query("SELECT id FROM products WHERE id = 'held' FOR UPDATE").fetch_all(&mut *holding).await?;
    stack.config.database.transaction_timeout_ms = 500;
    let worker = stack.start_worker(&Role::ALL).await?;
    let expired = async |id: &str| {
        let path = format!("{ORDERS}/{id}");
        wait::until("it expires", async || Ok((client.get(&path).await?.body["status"] == "cancelled").then_some(())))
            .await
    };
    expired("free").await?;
    assert_eq!(client.get(&format!("{ORDERS}/held")).await?.body["status"], "pending");
    holding.rollback().await?;
    expired("held").await?;
    stack.settled().await?;
    worker.stop().await?;
    api.stop().await?;
    stack.finish().await
}

/// How often a tick was claimed, and the time of the last one in seconds.
async fn ticks(stack: &Stack) -> anyhow::Result<(u64, i64)> {
    let mut connection = stack.mysql().await?;
    let row =
        sqlx::query_as("SELECT fence, CAST(UNIX_TIMESTAMP(tick) AS SIGNED) FROM jobs WHERE name = 'expire-orders'");
    Ok(row.fetch_one(&mut connection).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn unpaid_orders_expire_and_two_schedulers_do_each_tick_once() -> anyhow::Result<()> {
    let stack = hasty().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    create(&client, PRODUCTS, &product("lamp", 100)).await?;
    for id in ["unpaid", "tried", "failed", "paying", "paid", "confirmed"] {
        create(&client, ORDERS, &order(id, "ann", &[("lamp", 10)])).await?;
        let path = format!("{PAYMENTS}/{id}");
        let steps: &[&str] = match id {
            "failed" => &["processing", "failed"],
            "paying" => &["processing"],
            "paid" => &["processing", "completed"],
            "tried" => &[],
            "confirmed" => {
                walk(&client, &format!("{ORDERS}/{id}"), &["confirmed"]).await?;
                continue;
            }
            _ => continue,
        };
        create(&client, PAYMENTS, &payment_of(id, "ann", id)).await?;
        walk(&client, &path, steps).await?;
    }
    // Only now: an order could expire before it is paid.
    let workers = [stack.start_worker(&Role::ALL).await?, stack.start_worker(&[Role::Scheduler]).await?];
    let status = async |id: &str| anyhow::Ok(client.get(&format!("{ORDERS}/{id}")).await?.body["status"].clone());
    for id in ["unpaid", "tried", "failed"] {
        wait::until("it expires", async || Ok((status(id).await? == "cancelled").then_some(()))).await?;
    }
    let (claims, second) = ticks(&stack).await?;
    wait::until("some ticks more", async || Ok((ticks(&stack).await?.0 >= claims + 3).then_some(()))).await?;
    let (later_claims, later_second) = ticks(&stack).await?;
    assert!(
        later_claims.cast_signed() - claims.cast_signed() <= later_second - second,
        "{} claims of the ticks from {second} to {later_second}",
        later_claims - claims
    );
    for (id, expected) in [("paying", "pending"), ("paid", "pending"), ("confirmed", "confirmed")] {
        assert_eq!(status(id).await?, expected, "{id}");
    }
    assert_eq!(stock_of(&client, "lamp").await?, Some(70));

    stack.settled().await?;
    let records = dump::topic(&stack.config.kafka).await?;
    let events = ledger::once(&records);
    ledger::check_events(events.iter().copied())?;
    let mut expired: Vec<_> = events.iter().filter(|event| event.reason.as_deref() == Some("expired")).collect();
    expired.sort_by_key(|event| &event.entity_id);
    assert_eq!(expired.iter().map(|event| event.entity_id.as_str()).collect::<Vec<_>>(), ["failed", "tried", "unpaid"]);
    assert!(expired.iter().all(|event| event.actor.as_deref() == Some("expire-orders")));

    for worker in workers {
        worker.stop().await?;
    }
    api.stop().await?;
    stack.finish().await
}
