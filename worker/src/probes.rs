//! Where an orchestrator asks how the worker is: `/livez`, `/readyz`.

use std::{io::ErrorKind, net::SocketAddr};

use anyhow::Context;
use poem::{
    EndpointExt, Route, Server, get, handler,
    http::StatusCode,
    listener::{Acceptor, Listener, TcpAcceptor, TcpListener},
    web::Data,
};
use shared::{config::Worker, lifecycle::Lifecycle, telemetry::one_line};
use tokio_util::sync::CancellationToken;

pub(crate) struct Probes {
    acceptor: TcpAcceptor,
    address: SocketAddr,
}

impl Probes {
    pub(crate) async fn bind(settings: &Worker) -> anyhow::Result<Self> {
        let acceptor = TcpListener::bind((settings.host.clone(), settings.port)).into_acceptor().await;
        let acceptor = acceptor.with_context(|| {
            format!("configuration: worker.port: cannot listen on {}:{}", settings.host, settings.port)
        })?;
        let local = acceptor.local_addr();
        let address = local.first().and_then(|address| address.as_socket_addr().copied());
        let address = address.ok_or_else(|| std::io::Error::from(ErrorKind::AddrNotAvailable))?;
        Ok(Self { acceptor, address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process stops. Cancel the answer when the worker is ready.
    pub(crate) fn serve(self, lifecycle: &Lifecycle) -> CancellationToken {
        let ready = CancellationToken::new();
        let routes = Route::new().at("/livez", get(live)).at("/readyz", get(is_ready));
        let routes = routes.data(ready.clone()).data(lifecycle.clone());
        let stop = lifecycle.clone();
        lifecycle.spawn(async move {
            let server = Server::new_with_acceptor(self.acceptor);
            if let Err(error) =
                server.run_with_graceful_shutdown(routes, async move { stop.stopped().await }, None).await
            {
                tracing::error!(error = one_line(&error), "the probes are not answered any more");
            }
        });
        ready
    }
}

#[handler]
fn live() -> &'static str {
    "ok"
}

#[handler]
fn is_ready(Data(ready): Data<&CancellationToken>, Data(lifecycle): Data<&Lifecycle>) -> (StatusCode, &'static str) {
    if ready.is_cancelled() && !lifecycle.is_stopping() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}
