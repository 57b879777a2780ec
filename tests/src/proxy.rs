//! A proxy between a process and a server that can be cut, and that knows one word of MySQL's: COMMIT.
//!
//! What happens to the next COMMIT is decided by the test, so that a connection can be lost, or a process killed, at the
//! one moment whose outcome nobody can tell.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use shared::config::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinSet,
};

use crate::wait;

/// `COM_QUERY` (3) with the word, as the driver sends it.
const COMMIT: &[u8] = b"\x03COMMIT";

/// What becomes of the next COMMIT; of those behind it nothing special.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is passed on, and so is everything else.
    Passes,
    /// It waits for [`Proxy::release`].
    Waits,
    /// The connection is cut before MySQL hears it: nothing is stored.
    IsCut,
    /// MySQL commits, and the connection is cut instead of an answer.
    IsNotAnswered,
    /// MySQL commits, and its answer is kept back for ever.
    IsAnsweredToNobody,
}

/// Ends with its value, and with it the connections that it kept.
pub struct Proxy {
    port: u16,
    control: Arc<Control>,
    _serving: JoinSet<()>,
}

struct Control {
    next: Mutex<Next>,
    /// Whether a COMMIT was met that did not just pass.
    met: Notify,
    released: Notify,
    /// Nobody gets through.
    cut: watch::Sender<bool>,
}

impl Control {
    async fn is_cut(&self) {
        // It ends with the proxy, which owns the sender.
        let _ = self.cut.subscribe().wait_for(|cut| *cut).await;
    }

    fn take_next(&self) -> Next {
        std::mem::replace(&mut *self.next.lock().unwrap_or_else(PoisonError::into_inner), Next::Passes)
    }
}

impl Proxy {
    /// Before the MySQL that the configuration names.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        Self::before((config.database.host.clone(), config.database.port), 0).await
    }

    /// Before a server, listening on the port; 0 for any.
    pub async fn before(server: (String, u16), port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let port = listener.local_addr()?.port();
        let control = Arc::new(Control {
            next: Mutex::new(Next::Passes),
            met: Notify::new(),
            released: Notify::new(),
            cut: watch::Sender::new(false),
        });
        let (mut serving, at_commit) = (JoinSet::new(), control.clone());
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, control) = (server.clone(), at_commit.clone());
                // Who loses a connection notices it; the proxy has nobody to tell.
                connections.spawn(async move {
                    tokio::select! {
                        biased;
                        () = control.is_cut() => {}
                        ended = relay(client, server, &control) => ended.unwrap_or_default(),
                    }
                });
            }
        });
        Ok(Self { port, control, _serving: serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The configuration of who is to reach MySQL through the proxy.
    #[must_use]
    pub fn lead(&self, config: &Config) -> Config {
        let mut led = config.clone();
        "127.0.0.1".clone_into(&mut led.database.host);
        led.database.port = self.port;
        led
    }

    /// Cuts every connection, and each new one at once.
    pub fn cut(&self) {
        self.control.cut.send_replace(true);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.control.cut.send_replace(false);
    }

    pub fn next_commit(&self, next: Next) {
        *self.control.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// Waits for the COMMIT that does not just pass.
    pub async fn has_met_it(&self) -> anyhow::Result<()> {
        tokio::time::timeout(wait::DEADLINE, self.control.met.notified()).await.context("there was no COMMIT")
    }

    /// Lets the COMMIT go on that waits.
    pub fn release(&self) {
        self.control.released.notify_one();
    }
}

async fn relay(client: TcpStream, server: (String, u16), control: &Control) -> anyhow::Result<()> {
    let server = TcpStream::connect(server).await?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut requests, mut answers) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            read = from_client.read(&mut requests) => {
                let request = &requests[..read?];
                ensure!(!request.is_empty(), "the client is done");
                let is_commit = request.windows(COMMIT.len()).any(|window| window == COMMIT);
                let next = if is_commit { control.take_next() } else { Next::Passes };
                if next == Next::Waits {
                    control.met.notify_one();
                    control.released.notified().await;
                }
                if next != Next::IsCut {
                    to_server.write_all(request).await?;
                }
                if matches!(next, Next::Passes | Next::Waits) {
                    continue;
                }
                if next != Next::IsCut {
                    // Its answer says that MySQL has committed.
                    ensure!(from_server.read(&mut answers).await? > 0, "MySQL did not answer");
                }
                control.met.notify_one();
                if next == Next::IsAnsweredToNobody {
                    std::future::pending::<()>().await;
                }
                return Ok(());
            }
            read = from_server.read(&mut answers) => {
                let answer = &answers[..read?];
                ensure!(!answer.is_empty(), "MySQL is done");
                to_client.write_all(answer).await?;
            }
        }
    }
}
