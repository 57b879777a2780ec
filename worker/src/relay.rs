//! The relay: drains the outbox to Kafka, each entity in order.
//!
//! Several workers share the lanes by lease ([`ownership`]). Of its lanes a worker reads what is pending ([`reader`],
//! [`cursor`]), tells the cache ([`invalidation`]), publishes with an idempotent producer ([`producer`], [`link`]) and
//! deletes by explicit id what Kafka has acknowledged ([`deleter`]); [`drain`] is the loop that holds it together and
//! [`flight`] what is on its way. A row leaves the outbox only after Kafka has acknowledged it, so a crash at any point
//! costs a duplicate and never an event. A record that Kafka will not take waits for an operator ([`held`],
//! [`singly`]), with what is behind it of its entity.

mod authority;
mod cursor;
mod deleter;
mod doorbell;
mod drain;
mod flight;
mod held;
mod idle;
mod invalidation;
mod link;
mod ownership;
mod producer;
mod reader;
mod share;
mod singly;
mod transactional;
mod trouble;
mod versions;

use std::time::Duration;

use shared::{
    cache::Cache,
    config::{Config, Delivery},
    lane::LANES_IN_A_GROUP,
    lifecycle::Lifecycle,
    outbox::Lease,
    redis::Redis,
};

use authority::Authority;
use deleter::Deleter;
use doorbell::Doorbell;
use drain::{Drain, State};
use held::Held;
use invalidation::Invalidator;
use link::Link;
use ownership::Keeper;
use reader::Reader;
use singly::Singly;
use transactional::Transactional;
use trouble::Trouble;

/// Runs until the process stops and the lanes are given back; whatever fails is tried again.
pub(crate) async fn run(config: Config, redis: Redis, cache: Cache, lifecycle: Lifecycle, worker: String) {
    let lease = Lease { worker: worker.clone(), duration: Duration::from_millis(config.outbox.lease_ms) };
    let transactional = config.kafka.delivery == Delivery::Transactional;
    let (authority, trouble, limit) = (Authority::default(), Trouble::default(), lease.duration);
    let doorbell = Doorbell::start(redis, &config.redis.prefix, &lifecycle);
    let keeper = Keeper {
        lease,
        settings: config.database.clone(),
        granularity: if transactional { LANES_IN_A_GROUP.into() } else { 1 },
        authority: authority.clone(),
        doorbell: doorbell.clone(),
        trouble: trouble.clone(),
        lifecycle: lifecycle.clone(),
    };
    let (claims, quiet) = keeper.start();
    let invalidator = Invalidator(cache);
    if transactional {
        let shared = transactional::Shared { config, worker, authority, doorbell, trouble, invalidator, lifecycle };
        Transactional { shared, claims, quiet }.run().await;
        return;
    }
    let singly = Singly {
        config: config.clone(),
        authority: authority.clone(),
        lifecycle: lifecycle.clone(),
        invalidator: invalidator.clone(),
        doorbell: doorbell.clone(),
    };
    let drain = Drain {
        authority,
        doorbell,
        claims,
        quiet,
        invalidator,
        reader: Reader::start(config.database.clone(), limit, &lifecycle),
        deleter: Deleter::start(config.database.clone(), limit, &lifecycle),
        link: Link::new(trouble, lifecycle.clone()),
        held: Held::new(singly, worker),
        state: State::new(&config),
        config,
        lifecycle,
    };
    drain.run().await;
}
