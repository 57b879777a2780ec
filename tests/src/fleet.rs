//! Several workers that share one outbox, and what is done to them while others write.
//!
//! The workers are real processes with the relay alone, so that one can be killed without the documents waiting for it.
//! One of them reaches MySQL and Kafka through proxies. Kafka is the test's own.

mod faults;
mod lanes;
mod report;

use shared::config::Config;
use sqlx::MySqlConnection;
use worker::app::Role;

pub use faults::{Fault, Phase, Script, run};
pub use report::Report;

use crate::{
    process::{Process, free_port},
    proxy::Proxy,
    servers::{KafkaShape, Proxied, Servers},
    stack::Stack,
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
    pub mysql: Proxy,
    pub kafka: Proxy,
    connection: MySqlConnection,
    _servers: Servers,
}

impl Fleet {
    /// All of them running, each with its share of the lanes.
    pub async fn start(lease_ms: u64) -> anyhow::Result<Self> {
        let mut config = Config::load(None)?;
        Stack::rename(&mut config);
        config.outbox.lease_ms = lease_ms;
        config.database.max_connections = 32;
        let proxied = Proxied { port: free_port()?, advertised: free_port()? };
        let shape = KafkaShape { proxied: Some(proxied), ..KafkaShape::default() };
        let servers = Servers::start_with(shape, &["kafka"], &mut config).await?;
        let mysql = Proxy::start(&config).await?;
        let kafka = Proxy::before(("127.0.0.1".to_owned(), proxied.port), proxied.advertised).await?;
        let stack = Stack::with_config(config).await?;
        let connection = stack.mysql().await?;
        let mut this = Self { stack, members: Vec::new(), mysql, kafka, connection, _servers: servers };
        for place in 0..SIZE {
            let member = this.begin(place).await?;
            this.members.push(member);
        }
        this.shared().await?;
        Ok(this)
    }

    /// Starts the worker of a place and waits until it is known.
    async fn begin(&mut self, place: usize) -> anyhow::Result<Member> {
        let mut config = self.stack.config.clone();
        if place == BEHIND {
            config = self.mysql.lead(&config);
            config.kafka.brokers = format!("127.0.0.1:{}", self.kafka.port());
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
    pub async fn finish(self) -> anyhow::Result<()> {
        for member in self.members {
            member.process.terminate().await?;
        }
        self.stack.finish().await
    }
}
