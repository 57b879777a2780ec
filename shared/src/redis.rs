//! The connection to Redis: every command ends in time, and none waits for a reconnection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    Client, IntoConnectionInfo, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use secrecy::ExposeSecret;
use thiserror::Error;

use crate::config;

/// After a failure commands are refused at once for so long; then one may try again.
const BREAK: Duration = Duration::from_millis(250);

/// What was sent must be acknowledged by the other end's kernel so soon.
const USER_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Error)]
pub enum CommandError {
    #[error("Redis answered with an error")]
    Command(#[from] RedisError),
    #[error("Redis did not answer in time")]
    Timeout,
    #[error("Redis was away a moment ago and is not asked again yet")]
    Broken,
}

/// A single Redis node. Cheap to clone; all clones share one connection and one breaker.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    connection: ConnectionManager,
    command_timeout: Duration,
    breaker: Arc<Breaker>,
}

impl Redis {
    /// Connects with the first command. Must be called within a runtime.
    ///
    /// # Errors
    /// If the address cannot be read.
    pub fn new(settings: &config::Redis) -> Result<Self, RedisError> {
        // A connection whose other end vanished would else be waited for until the kernel gives up, a quarter of an hour.
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(USER_TIMEOUT);
        let address = settings.url.expose_secret().into_connection_info()?.set_tcp_settings(tcp);
        let client = Client::open(address)?;
        let command_timeout = Duration::from_millis(settings.command_timeout_ms);
        let manager = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_min_delay(Duration::from_millis(10))
            .set_max_delay(Duration::from_millis(50))
            // Each caller limits the whole in `run`.
            .set_response_timeout(None)
            .set_connection_timeout(Some(Duration::from_millis(settings.connect_timeout_ms)));
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(client.clone(), manager)?,
            client,
            command_timeout,
            breaker: Arc::default(),
        })
    }

    /// The same with another limit of a command's time.
    #[must_use]
    pub fn with_timeout(self, command_timeout: Duration) -> Self {
        Self { command_timeout, ..self }
    }

    /// For a subscription, which needs a connection of its own.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Runs commands on the connection, at the longest for the configured time of one command.
    pub async fn run<T>(
        &self,
        commands: impl AsyncFnOnce(&mut ConnectionManager) -> Result<T, RedisError>,
    ) -> Result<T, CommandError> {
        if !self.breaker.allows() {
            return Err(CommandError::Broken);
        }
        let mut connection = self.connection.clone();
        match tokio::time::timeout(self.command_timeout, commands(&mut connection)).await {
            Ok(Ok(answer)) => {
                self.breaker.close();
                Ok(answer)
            }
            Ok(Err(error)) => {
                if error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() {
                    self.breaker.open();
                }
                Err(error.into())
            }
            Err(_) => {
                self.breaker.open();
                Err(CommandError::Timeout)
            }
        }
    }
}

/// Refuses for [`BREAK`] after a failure, then lets one command through to see.
struct Breaker {
    start: Instant,
    /// Milliseconds since `start` before which commands are refused; 0 when closed.
    closed_until_ms: AtomicU64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { start: Instant::now(), closed_until_ms: AtomicU64::new(0) }
    }
}

impl Breaker {
    fn allows(&self) -> bool {
        let until = self.closed_until_ms.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        // Whoever moves the mark is the one that tries.
        let now = self.now_ms();
        now >= until
            && self
                .closed_until_ms
                .compare_exchange(until, now + millis(BREAK), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    fn open(&self) {
        self.closed_until_ms.store(self.now_ms() + millis(BREAK), Ordering::Relaxed);
    }

    fn close(&self) {
        self.closed_until_ms.store(0, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        millis(self.start.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
