//! An order ends once, whoever ends it: by cancellation, expiry or deletion, all at once and beside its payment.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail, ensure};
use futures_util::future::{join_all, try_join_all};
use harness::{client::Client, ledger, stack::Stack};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use shared::{
    bell::Bell,
    cache::Cache,
    change::ChangeError,
    entity::{Action, ExpireOrder, Kind},
    event::{Event, Origin},
    lifecycle::Lifecycle,
    redis::Redis,
    store::{Store, TransactError},
};

use crate::shop::{
    ORDERS, PAYMENTS, PRODUCTS, create, create_users, order, patient_stack, payment_of, product, stock_of,
};

const LANES: usize = 4;
const ROUNDS: usize = 20;

#[derive(Clone, Copy, Debug)]
enum Attempt {
    Cancel,
    Delete,
    Expire,
    /// Creates another payment.
    Pay,
    /// Takes the payment that was there before the round to processing.
    Process,
}

/// One order of seven pieces of a product of its own, and perhaps a payment of it.
struct Round {
    client: Client,
    store: Store,
    id: String,
    has_payment: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_comes_back_exactly_once() -> anyhow::Result<()> {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let stack = patient_stack().await?;
    let (api, client) = stack.start_api().await?;
    create_users(&client, &["ann"]).await?;
    let lifecycle = Lifecycle::new();
    let store = store(&stack, &lifecycle)?;
    let lanes = (0..LANES).map(|lane| {
        let mut random = StdRng::seed_from_u64(seed + lane as u64);
        let (client, store) = (client.clone(), store.clone());
        async move {
            for number in 0..ROUNDS {
                let (id, has_payment) = (format!("r{lane}-{number}"), random.random());
                let round = Round { client: client.clone(), store: store.clone(), id, has_payment };
                round.run(&mut random).await.with_context(|| format!("round {}", round.id))?;
            }
            anyhow::Ok(())
        }
    });
    try_join_all(lanes).await?;

    let events = ledger::outbox(&stack).await?;
    ledger::check_events(events.iter())?;
    assert!(ledger::pieces(&stack).await?.values().all(|pieces| *pieces == 100));
    println!("{:?}", check_ends(&events)?);
    lifecycle.stop();
    api.stop().await?;
    stack.discard().await
}

/// What the worker's scheduler uses.
fn store(stack: &Stack, lifecycle: &Lifecycle) -> anyhow::Result<Store> {
    let config = &stack.config;
    let redis = Redis::new(&config.redis)?;
    let cache = Cache::new(redis.clone(), &config.redis.prefix, &config.cache);
    let bell = Bell::start(redis, &config.redis.prefix, lifecycle);
    Ok(Store::new(config, cache, bell, lifecycle.clone()))
}

impl Round {
    async fn run(&self, random: &mut StdRng) -> anyhow::Result<()> {
        let Self { client, id, .. } = self;
        create(client, PRODUCTS, &product(id, 100)).await?;
        create(client, ORDERS, &order(id, "ann", &[(id, 7)])).await?;
        if self.has_payment {
            create(client, PAYMENTS, &payment_of(&format!("{id}-p"), "ann", id)).await?;
        }
        let mut attempts = vec![Attempt::Cancel, Attempt::Expire, Attempt::Expire];
        attempts.extend([if self.has_payment { Attempt::Process } else { Attempt::Delete }; 2]);
        if random.random() {
            attempts.push(Attempt::Pay);
        }
        if random.random() {
            attempts.remove(0);
        }
        rand::seq::SliceRandom::shuffle(attempts.as_mut_slice(), random);
        for ended in join_all(attempts.iter().map(|attempt| self.attempt(*attempt))).await {
            ended.with_context(|| format!("{attempts:?}"))?;
        }

        let found = client.get(&format!("{ORDERS}/{id}")).await?;
        let holds = match found.body["status"].as_str() {
            Some("pending" | "confirmed") => 7,
            Some("cancelled") => 0,
            None if found.status == 404 => 0,
            other => bail!("an order is {other:?}"),
        };
        let stock = stock_of(client, id).await?;
        ensure!(stock == Some(100 - holds), "{attempts:?}: {stock:?} pieces beside the order {}", found.body);
        Ok(())
    }

    async fn attempt(&self, attempt: Attempt) -> anyhow::Result<()> {
        let Self { client, id, .. } = self;
        let order = format!("{ORDERS}/{id}");
        let answer = match attempt {
            Attempt::Cancel => client.patch(&order, &json!({ "status": "cancelled" })).await?,
            Attempt::Delete => client.delete(&order).await?,
            Attempt::Expire => return self.expire().await,
            Attempt::Pay => client.post(PAYMENTS, &payment_of(&format!("{id}-q"), "ann", id)).await?,
            Attempt::Process => client.patch(&format!("{PAYMENTS}/{id}-p"), &json!({ "status": "processing" })).await?,
        };
        let fits = match (attempt, answer.status.as_u16()) {
            (Attempt::Cancel, 200 | 404)
            | (Attempt::Delete, 204 | 404)
            | (Attempt::Pay, 201)
            | (Attempt::Process, 200) => true,
            (Attempt::Delete, 409) => answer.code() == "in-use",
            (Attempt::Pay | Attempt::Process, 409) => answer.code() == "order-closed",
            // The order is deleted.
            (Attempt::Pay, 422) => answer.body["errors"][0]["code"] == "unknown-reference",
            _ => false,
        };
        ensure!(fits, "{attempt:?} was answered {answer:?}");
        Ok(())
    }

    async fn expire(&self) -> anyhow::Result<()> {
        match self.store.transact(Origin::default(), ExpireOrder(self.id.parse()?)).await {
            Ok(_) | Err(TransactError::Refused(ChangeError::NotFound)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What ended the orders. None expires that is being paid, and of a cancelled one no payment goes to processing.
///
/// The events of an order and those of its payments are in the order of their commits: both hold the order's row.
fn check_ends(events: &[Event]) -> anyhow::Result<BTreeMap<&'static str, usize>> {
    let (mut ends, mut paid) = (BTreeMap::new(), BTreeSet::new());
    let mut counts = BTreeMap::new();
    for event in events {
        let data: Value = serde_json::from_str(event.data.get())?;
        let status = data["status"].as_str().unwrap_or_default();
        let end = match (event.kind, event.event_type.action, status) {
            (Kind::Order, Action::Deleted, _) => "deleted",
            (Kind::Order, Action::Updated, "cancelled") if event.reason.as_deref() == Some("expired") => "expired",
            (Kind::Order, Action::Updated, "cancelled") => "cancelled",
            (Kind::Payment, Action::Updated, "processing") => {
                let order = data["order_id"].as_str().unwrap_or_default().to_owned();
                // Told once more that it is processing, it takes no step.
                ensure!(paid.contains(&order) || !ends.contains_key(&order), "{order} was ended and then paid");
                paid.insert(order);
                continue;
            }
            _ => continue,
        };
        let order = event.entity_id.to_string();
        ensure!(end != "expired" || !paid.contains(&order), "{order} was being paid and expired");
        // A cancelled order may be deleted, and told once more that it is cancelled.
        let earlier = ends.insert(order.clone(), end);
        ensure!(earlier.is_none() || end != "expired", "{order} was {earlier:?} and then {end}");
        *counts.entry(end).or_default() += 1;
    }
    counts.insert("paid", paid.len());
    Ok(counts)
}
