//! The API as one value: built, then run until it is told to stop.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use anyhow::Context;
use poem::{
    Server,
    listener::{Acceptor, Listener, TcpAcceptor, TcpListener},
};
use shared::{
    audit::AuditLog,
    bell::Bell,
    cache::Cache,
    change::Rules,
    config::Config,
    lifecycle::Lifecycle,
    redis::Redis,
    repository::{Documents, LOG_TARGET},
    search::ProductSearch,
    store::Store,
};
use strum::VariantArray;

use crate::{
    backlog::Gauge,
    health::StoreHealth,
    http::{self, State},
    notifications::{hub::Hub, tail::Tail, websocket::Sockets},
    repositories::{self, Repositories},
};

pub struct App {
    config: Config,
    state: State,
    acceptor: TcpAcceptor,
    address: SocketAddr,
    lifecycle: Lifecycle,
}

impl App {
    /// Makes everything and binds the port. No store has to be there.
    pub async fn build(config: Config, lifecycle: Lifecycle) -> anyhow::Result<Self> {
        let (host, port) = (config.server.host.clone(), config.server.port);
        let bound = TcpListener::bind((host.clone(), port)).into_acceptor().await;
        let acceptor = bound.with_context(|| format!("configuration: server.port: cannot listen on {host}:{port}"))?;
        let local = acceptor.local_addr();
        let address = local.first().and_then(|address| address.as_socket_addr().copied());
        let address = address.ok_or_else(|| std::io::Error::from(ErrorKind::AddrNotAvailable))?;
        Ok(Self { state: state(&config, &lifecycle).await?, config, acceptor, address, lifecycle })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the lifecycle stops and everything has ended, or the grace period has.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { config, state, acceptor, address, lifecycle } = self;
        let endpoint = http::endpoint(state, &config)?;
        let grace = Duration::from_secs(config.server.shutdown_grace_seconds);
        let repositories = repositories::RepositoryType::VARIANTS;
        tracing::info!(target: LOG_TARGET, ?repositories, "the repositories are made");
        tracing::info!(%address, "the API serves");
        let stop = lifecycle.clone();
        let serving = async {
            let server = Server::new_with_acceptor(acceptor);
            let ended =
                server.run_with_graceful_shutdown(endpoint, async move { stop.stopped().await }, Some(grace)).await;
            lifecycle.stop();
            ended
        };
        // Also of what the server does not know: transactions and sockets.
        let draining = async {
            lifecycle.stopped().await;
            lifecycle.drained(grace).await
        };
        let (served, drained) = tokio::join!(serving, draining);
        if !drained {
            tracing::warn!("not everything ended within server.shutdown_grace_seconds");
        }
        Ok(served?)
    }
}

/// The `OpenAPI` document as it is served.
pub async fn openapi(config: &Config) -> anyhow::Result<serde_json::Value> {
    let lifecycle = Lifecycle::new();
    let document = http::document(&state(config, &lifecycle).await?)?;
    lifecycle.stop();
    Ok(document)
}

async fn state(config: &Config, lifecycle: &Lifecycle) -> anyhow::Result<State> {
    let redis = Redis::new(&config.redis)?;
    let cache = Cache::new(redis.clone(), &config.redis.prefix, &config.cache);
    let bell = Bell::start(redis.clone(), &config.redis.prefix, lifecycle);
    let store = Store::new(config, cache.clone(), bell, lifecycle.clone());
    let documents = Documents::new(&config.mongodb, "sluice-api", lifecycle.clone());
    let documents = documents.await.context("configuration: mongodb.uri")?;
    let repositories = Repositories::new(store.pool().clone(), documents.clone(), cache, &config.kafka, lifecycle);
    let hub = Hub::default();
    let tail = Tail::start(config.kafka.clone(), hub.clone(), lifecycle);
    let backlog = Gauge::start(store.pool().clone(), &config.outbox, lifecycle);
    let health = StoreHealth {
        pool: store.pool().clone(),
        redis,
        tail: tail.clone(),
        backlog: backlog.clone(),
        lifecycle: lifecycle.clone(),
    };
    let sockets = Sockets::new(hub, tail, lifecycle.clone(), &config.notifications);
    let rules = Rules { unique_email: config.users.unique_email, require_version: config.http.require_if_match };
    Ok(State {
        store,
        repositories,
        audit: AuditLog::new(documents.clone()),
        search: ProductSearch::new(documents),
        rules,
        health,
        backlog,
        sockets,
    })
}
