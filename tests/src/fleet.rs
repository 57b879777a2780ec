//! Several workers that share one outbox, and what is done to them while others write.
//!
//! The workers are real processes with the relay alone, so that one can be killed without the documents waiting for it.
//! One of them reaches MySQL and Kafka through proxies. Kafka is the test's own.

mod brokers;
mod faults;
mod lanes;
mod report;

use std::{
    fmt,
    time::{Duration, Instant},
};

use shared::config::{Config, Delivery};
use sqlx::MySqlConnection;
use tokio_util::sync::CancellationToken;
use worker::app::Role;

pub use brokers::NODES;
pub use faults::{Fault, Phase, Script, run};
pub use report::{Report, Suffered};

use crate::{
    checker::{Recorder, Rule, Verdict, check},
    dump::{Dumps, Record},
    process::{Process, free_port},
    proxy::Proxy,
    servers::{KafkaShape, Proxied, Servers},
    stack::Stack,
    steady::{self, Pace},
    wait,
};

pub const SIZE: usize = 3;
/// The one behind the proxies.
pub const BEHIND: usize = 0;

/// A worker, and the name under which it owns lanes.
pub struct Member {
    pub process: Process,
    pub name: String,
}

pub struct Fleet {
    pub stack: Stack,
    pub members: Vec<Member>,
    pub servers: Servers,
    mysql: Proxy,
    /// Where it was asked for.
    kafka: Option<Proxy>,
    connection: MySqlConnection,
}

/// What clients and stores tell after a load has ended and everything has arrived.
pub struct Outcome {
    /// That were made.
    pub changes_per_second: f64,
    /// After the last change.
    pub settled_in: Duration,
    pub records: Vec<Record>,
    pub verdict: Verdict,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes_per_second: rate, settled_in, records, verdict } = self;
        let lost = verdict.count(&[Rule::WriteIsAnnounced, Rule::NoHole, Rule::OutboxIsEmpty, Rule::NothingIsParked]);
        let (out_of_order, all) = (verdict.count(&[Rule::InOrder]), verdict.violations.len());
        write!(
            formatter,
            "{} records at {rate:.0} changes/s, settled after {settled_in:.1?}; lost {lost}, out of order \
             {out_of_order}, violations {all}, duplicates {}",
            records.len(),
            verdict.duplicates
        )
    }
}

impl Fleet {
    /// All of them running, each with its share of the lanes; one reaches Kafka through a proxy.
    pub async fn start(lease: Duration, delivery: Delivery) -> anyhow::Result<Self> {
        let proxied = Proxied { port: free_port()?, advertised: free_port()? };
        let kafka = Proxy::before(("127.0.0.1".to_owned(), proxied.port), proxied.advertised).await?;
        let shape = KafkaShape { proxied: Some(proxied), ..KafkaShape::default() };
        Self::start_on(shape, Some(kafka), lease, delivery).await
    }

    /// As [`start`](Self::start), with three brokers and no proxy before them.
    pub async fn start_replicated(lease: Duration) -> anyhow::Result<Self> {
        let shape = KafkaShape { replicated: true, ..KafkaShape::default() };
        Self::start_on(shape, None, lease, Delivery::AtLeastOnce).await
    }

    async fn start_on(
        shape: KafkaShape,
        kafka: Option<Proxy>,
        lease: Duration,
        delivery: Delivery,
    ) -> anyhow::Result<Self> {
        let mut config = Config::load(None)?;
        Stack::rename(&mut config);
        config.outbox.lease_ms = u64::try_from(lease.as_millis())?;
        config.database.max_connections = 32;
        config.kafka.delivery = delivery;
        config.kafka.replication_factor = if shape.replicated { 3 } else { 1 };
        let servers = Servers::start_with(shape, &["kafka"], &mut config).await?;
        let mysql = Proxy::start(&config).await?;
        let stack = Stack::with_config(config).await?;
        let connection = stack.mysql().await?;
        let mut this = Self { stack, members: Vec::new(), servers, mysql, kafka, connection };
        for place in 0..SIZE {
            let member = this.begin(place).await?;
            this.members.push(member);
        }
        this.shared().await?;
        Ok(this)
    }

    /// Lets something happen while changes are made, and judges what is told afterwards.
    ///
    /// The documents are written in the test's process.
    pub async fn judge<T>(
        mut self,
        pace: Pace,
        happening: impl AsyncFnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<(T, Outcome)> {
        // Minutes of backlog take a while to become documents.
        const SETTLING: Duration = Duration::from_mins(10);
        let others = self.stack.start_worker(&[Role::Invalidator, Role::Projector]).await?;
        let (recorder, end) = (Recorder::default(), CancellationToken::new());
        let config = self.stack.config.clone();
        let happening = async {
            // Whatever becomes of it: the writers end.
            let _end = end.clone().drop_guard();
            happening(&mut self).await
        };
        let (rate, happened) = tokio::join!(steady::write(&config, pace, &recorder, &end), happening);
        let (changes_per_second, happened) = (rate?, happened?);
        let ended = Instant::now();
        self.stack.settled_within(SETTLING).await?;
        let settled_in = ended.elapsed();
        let dumps = Dumps::take(&self.stack).await?;
        let verdict = check(Some(&recorder.history()), &dumps);
        others.stop().await?;
        self.finish().await?;
        Ok((happened, Outcome { changes_per_second, settled_in, records: dumps.records, verdict }))
    }

    /// Starts the worker of a place and waits until it is known.
    async fn begin(&mut self, place: usize) -> anyhow::Result<Member> {
        let mut config = self.stack.config.clone();
        if place == BEHIND {
            config = self.mysql.lead(&config);
            if let Some(kafka) = &self.kafka {
                config.kafka.brokers = format!("127.0.0.1:{}", kafka.port());
            }
        }
        let known = lanes::workers(&mut self.connection).await?;
        let process = Process::worker_of(&config, &[Role::Relay]).await?;
        let name = wait::until("the worker is known", async || {
            Ok(lanes::workers(&mut self.connection).await?.into_iter().find(|name| !known.contains(name)))
        })
        .await?;
        Ok(Member { process, name })
    }

    /// Waits until every member has lanes, and they have all.
    async fn shared(&mut self) -> anyhow::Result<()> {
        let members: Vec<&str> = self.members.iter().map(|member| member.name.as_str()).collect();
        wait::until("the lanes are shared", async || {
            let owners = lanes::live_owners(&mut self.connection).await?;
            let all = owners.iter().all(|owner| owner.as_deref().is_some_and(|owner| members.contains(&owner)));
            let each = members.iter().all(|member| owners.iter().any(|owner| owner.as_deref() == Some(member)));
            Ok((all && each).then_some(()))
        })
        .await
    }

    /// Stops what still runs and throws everything away.
    async fn finish(self) -> anyhow::Result<()> {
        for member in self.members {
            member.process.terminate().await?;
        }
        self.stack.finish().await
    }
}
