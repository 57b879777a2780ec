//! A producer of a group of lanes, from `init_transactions` to its first failure.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    config::FromClientConfigAndContext,
    error::KafkaError,
    producer::{BaseRecord, Producer as _, ThreadedProducer},
};
use shared::{
    config::Config,
    kafka::{self, TopicError},
    outbox::{Pending, RowId},
};
use thiserror::Error;

use super::{
    super::{
        flight::Token,
        producer::{
            BATCH_BYTES, Context, EnqueueError, MESSAGE_MAX_BYTES, Poison, Report, Reports, check_partitions, close,
            send,
        },
    },
    progress::{self, ProgressError},
};

/// All groups of a worker together have 16 MiB.
const QUEUE_KBYTES: &str = "2048";
/// What is no event: the progress record.
const PROGRESS: Token = Token::MAX;

#[derive(Debug, Error)]
pub(super) enum SessionError {
    #[error("the transactional producer could not be made")]
    Producer(#[source] KafkaError),
    #[error(transparent)]
    Topic(#[from] TopicError),
    #[error(transparent)]
    Progress(#[from] ProgressError),
    #[error("the progress could not be written")]
    Json(#[from] serde_json::Error),
    #[error("the transaction failed")]
    Transaction(#[source] KafkaError),
    /// These are suspected of it.
    #[error("a record was refused")]
    Refused(Vec<(usize, Poison)>),
    #[error("a record was not taken: {0}")]
    Enqueue(#[from] EnqueueError),
    #[error("a thread of the client ended early")]
    Panicked(#[from] tokio::task::JoinError),
}

pub(super) struct Session {
    client: ThreadedProducer<Context>,
    reports: Arc<Reports>,
    topic: String,
    progress_topic: String,
    group: i32,
    partitions: u16,
    /// A commit takes no longer; then its outcome is unknown.
    limit: Duration,
}

impl Session {
    /// Fences every other producer of the group, ends what it had left open, and tells what it has committed.
    pub(super) async fn begin(
        config: &Config,
        group: u16,
        partitions: u16,
    ) -> Result<(Self, Vec<RowId>), SessionError> {
        let settings = config.kafka.clone();
        check_partitions(&settings, partitions).await?;
        let most = kafka::max_message_bytes(&settings).await;
        let (reports, lease_ms, group) = (Arc::new(Reports::default()), config.outbox.lease_ms, i32::from(group));
        let limit = Duration::from_millis(lease_ms);
        let mut client = kafka::client(&settings);
        client
            .set("transactional.id", format!("{}-relay-{group}", settings.group_prefix))
            .set("transaction.timeout.ms", lease_ms.to_string())
            .set("linger.ms", "0")
            .set("compression.type", "lz4")
            .set("queue.buffering.max.kbytes", QUEUE_KBYTES)
            .set("message.max.bytes", MESSAGE_MAX_BYTES)
            .set("batch.size", most.unwrap_or(BATCH_BYTES).min(BATCH_BYTES).to_string());
        let context = Context(reports.clone());
        tokio::task::spawn_blocking(move || {
            let client = ThreadedProducer::from_config_and_context(&client, context).map_err(SessionError::Producer)?;
            client.init_transactions(limit).map_err(SessionError::Producer)?;
            let committed = progress::last(&settings, group)?;
            let (topic, progress_topic) = (settings.topic, settings.progress_topic);
            Ok((Self { client, reports, topic, progress_topic, group, partitions, limit }, committed))
        })
        .await?
    }

    /// Publishes the rows, and that they are published, in one transaction. After an error the session is of no more
    /// use, and what became of the rows is for the next one to find out.
    pub(super) async fn publish(&self, rows: &[Pending]) -> Result<(), SessionError> {
        self.client.begin_transaction().map_err(SessionError::Transaction)?;
        for (token, row) in rows.iter().enumerate() {
            self.enqueue(row, token).await?;
        }
        let ids: Vec<RowId> = rows.iter().map(Pending::row_id).collect();
        let progress = progress::write(ids.iter())?;
        let key = self.group.to_string();
        let record = BaseRecord::with_opaque_to(&self.progress_topic, PROGRESS)
            .key(&key)
            .payload(&progress)
            .partition(self.group);
        self.client.send(record).map_err(|(error, _)| SessionError::Transaction(error))?;
        let (client, limit) = (self.client.clone(), self.limit);
        let committed = tokio::task::spawn_blocking(move || client.commit_transaction(limit)).await?;
        let suspects: Vec<_> = self.reports.take().iter().filter_map(suspect).collect();
        match committed {
            Ok(()) => Ok(()),
            Err(_) if !suspects.is_empty() => Err(SessionError::Refused(suspects)),
            Err(error) => Err(SessionError::Transaction(error)),
        }
    }

    async fn enqueue(&self, row: &Pending, token: Token) -> Result<(), EnqueueError> {
        loop {
            match send(&self.client, &self.topic, self.partitions, row, token) {
                Err(EnqueueError::Full) => {
                    // Room is made by deliveries; where none comes the transaction's timer ends this.
                    tokio::time::timeout(self.limit, self.reports.arrived()).await.map_err(|_| EnqueueError::Full)?;
                }
                sent => return sent,
            }
        }
    }

    /// What was not committed is aborted, by the next producer of the group.
    pub(super) async fn end(self) {
        close(self.client).await;
    }
}

fn suspect(report: &Report) -> Option<(usize, Poison)> {
    let poison = Poison::of(report.failure.as_ref()?)?;
    (report.token != PROGRESS).then_some((report.token, poison))
}
