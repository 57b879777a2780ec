//! Deletes what Kafka has acknowledged, off the path of the reads.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use shared::{
    config, database,
    lifecycle::Lifecycle,
    outbox::{self, RowId},
    telemetry::one_line,
};
use sqlx::MySqlConnection;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// How long acknowledged rows are gathered, so that a commit deletes many.
const GATHER: Duration = Duration::from_millis(20);
const MOST_AT_ONCE: usize = 4_000;
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// Bounded by what the relay has on its way. Dropping it ends the task.
pub(super) struct Deleter(Arc<Queue>);

#[derive(Default)]
struct Queue {
    acknowledged: Mutex<Vec<RowId>>,
    deleted: Mutex<Vec<RowId>>,
    more: Notify,
    done: Notify,
    /// Somebody waits for the last rows: they are not gathered.
    hurry: AtomicBool,
    ended: CancellationToken,
}

impl Deleter {
    /// `limit` is the time that one delete may take.
    pub(super) fn start(settings: config::Database, limit: Duration, lifecycle: &Lifecycle) -> Self {
        let queue = Arc::<Queue>::default();
        let mut link = Link { settings, limit, connection: None, server: None };
        let working = queue.clone();
        lifecycle.spawn(async move { working.ended.run_until_cancelled(working.delete_all(&mut link)).await });
        Self(queue)
    }

    pub(super) fn push(&self, rows: &[RowId]) {
        lock(&self.0.acknowledged).extend_from_slice(rows);
        self.0.more.notify_one();
    }

    /// Whether what comes is deleted at once.
    pub(super) fn hurry(&self, hurry: bool) {
        if !self.0.hurry.swap(hurry, Ordering::AcqRel) && hurry {
            self.0.more.notify_one();
        }
    }

    /// Rows that are not in the outbox any more, or that were acknowledged on a server that is none now.
    pub(super) fn take_deleted(&self) -> Vec<RowId> {
        std::mem::take(&mut lock(&self.0.deleted))
    }

    pub(super) async fn done(&self) {
        self.0.done.notified().await;
    }
}

impl Drop for Deleter {
    fn drop(&mut self) {
        self.0.ended.cancel();
    }
}

fn lock(rows: &Mutex<Vec<RowId>>) -> std::sync::MutexGuard<'_, Vec<RowId>> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    async fn delete_all(&self, link: &mut Link) {
        loop {
            self.gather().await;
            let batch = {
                let mut acknowledged = lock(&self.acknowledged);
                let count = acknowledged.len().min(MOST_AT_ONCE);
                acknowledged.drain(..count).collect::<Vec<_>>()
            };
            if batch.is_empty() {
                continue;
            }
            link.delete(&batch).await;
            lock(&self.deleted).extend(batch);
            self.done.notify_one();
        }
    }

    /// Until there is something and it is enough, or has waited long enough.
    async fn gather(&self) {
        let mut since = None;
        loop {
            let more = self.more.notified();
            let count = lock(&self.acknowledged).len();
            if count >= MOST_AT_ONCE || (count > 0 && self.hurry.load(Ordering::Acquire)) {
                return;
            }
            if count == 0 {
                more.await;
                continue;
            }
            let until = *since.get_or_insert_with(Instant::now) + GATHER;
            if tokio::time::timeout_at(until, more).await.is_err() {
                return;
            }
        }
    }
}

struct Link {
    settings: config::Database,
    limit: Duration,
    connection: Option<MySqlConnection>,
    server: Option<String>,
}

impl Link {
    /// Tries until the rows are gone, or the server is another one: there they may be pending, and are published again.
    async fn delete(&mut self, rows: &[RowId]) {
        loop {
            let failure = match tokio::time::timeout(self.limit, self.attempt(rows)).await {
                Ok(Ok(Outcome::Deleted)) => return,
                Ok(Ok(Outcome::OtherServer)) => {
                    tracing::warn!(rows = rows.len(), "another MySQL server: acknowledged rows are read again there");
                    return;
                }
                Ok(Err(error)) if database::is_conflict(&error) => continue,
                Ok(Err(error)) => one_line(&error),
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::warn!(error = failure, rows = rows.len(), "acknowledged rows could not be deleted yet");
            // It may be in the middle of an answer.
            self.connection = None;
            #[expect(clippy::disallowed_methods, reason = "the relay ends the task")]
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn attempt(&mut self, rows: &[RowId]) -> sqlx::Result<Outcome> {
        if let Some(connection) = &mut self.connection {
            outbox::delete(connection, rows).await?;
            return Ok(Outcome::Deleted);
        }
        let mut connection = database::connection(&self.settings).await?;
        let server = outbox::server_uuid(&mut connection).await?;
        let other = self.server.replace(server.clone()).is_some_and(|before| before != server);
        outbox::log_keys_only(&mut connection).await;
        let connection = self.connection.insert(connection);
        if other {
            return Ok(Outcome::OtherServer);
        }
        outbox::delete(connection, rows).await?;
        Ok(Outcome::Deleted)
    }
}

enum Outcome {
    Deleted,
    /// Nothing was deleted.
    OtherServer,
}
