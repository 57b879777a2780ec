//! Reads the outbox in a task of its own, so that the next rows come while others are in flight.

use std::time::Duration;

use shared::{
    config, database,
    lane::Lanes,
    lifecycle::Lifecycle,
    outbox::{self, HeldEntity, Page, PageLimit, Place},
};
use sqlx::MySqlConnection;
use thiserror::Error;
use tokio::{sync::mpsc, time::Instant};

#[derive(Debug, Error)]
pub(super) enum ReadError {
    #[error("the outbox could not be read")]
    Database(#[from] sqlx::Error),
    #[error("MySQL did not answer in time")]
    Timeout,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Page {
        place: Place,
        limit: PageLimit,
    },
    /// Which entities of these lanes are held by parked events, and over how many partitions the lanes are spread.
    Held {
        lanes: Lanes,
    },
}

#[derive(Debug)]
pub(super) enum Answer {
    Page { page: Page, took: Duration },
    Held { lanes: Lanes, entities: Vec<HeldEntity>, partitions: u16 },
}

pub(super) struct Read {
    pub(super) answer: Result<Answer, ReadError>,
    /// Which server the present connection is to; None until one stood.
    pub(super) server: Option<String>,
    /// Whether the connection is another than that of the read before.
    pub(super) reconnected: bool,
}

/// One question at a time.
pub(super) struct Reader {
    questions: mpsc::Sender<Question>,
    answers: mpsc::Receiver<Read>,
    busy: bool,
}

impl Reader {
    /// `limit` is the time that one answer may take: on a connection whose other end vanished it would never come.
    pub(super) fn start(settings: config::Database, limit: Duration, lifecycle: &Lifecycle) -> Self {
        let (questions, mut asked) = mpsc::channel(1);
        let (answered, answers) = mpsc::channel(1);
        lifecycle.spawn(async move {
            let mut link = Link { settings, connection: None, server: None };
            // Ends with the relay that asks.
            while let Some(question) = asked.recv().await {
                let reconnected = link.connection.is_none();
                let answer = match tokio::time::timeout(limit, link.answer(question)).await {
                    Ok(answer) => answer.map_err(ReadError::Database),
                    Err(_) => Err(ReadError::Timeout),
                };
                // The connection may be in the middle of an answer.
                if !matches!(&answer, Ok(Answer::Held { .. } | Answer::Page { page: Page { cut: false, .. }, .. })) {
                    link.connection = None;
                }
                let read = Read { answer, server: link.server.clone(), reconnected };
                if answered.send(read).await.is_err() {
                    break;
                }
            }
        });
        Self { questions, answers, busy: false }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Only while it is not busy.
    pub(super) fn ask(&mut self, question: Question) {
        self.busy = self.questions.try_send(question).is_ok();
    }

    /// Never ends while nothing was asked.
    pub(super) async fn answered(&mut self) -> Read {
        match self.answers.recv().await {
            Some(read) if self.busy => {
                self.busy = false;
                read
            }
            _ => std::future::pending().await,
        }
    }
}

struct Link {
    settings: config::Database,
    connection: Option<MySqlConnection>,
    server: Option<String>,
}

impl Link {
    async fn answer(&mut self, question: Question) -> sqlx::Result<Answer> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let mut connection = database::connection(&self.settings).await?;
                self.server = Some(outbox::server_uuid(&mut connection).await?);
                none.insert(connection)
            }
        };
        Ok(match question {
            Question::Page { place, limit } => {
                let began = Instant::now();
                Answer::Page { page: outbox::page(connection, place, limit).await?, took: began.elapsed() }
            }
            Question::Held { lanes } => {
                let partitions = outbox::pinned_partitions(connection).await?.ok_or(sqlx::Error::RowNotFound)?;
                Answer::Held { lanes, entities: outbox::held_entities(connection, lanes).await?, partitions }
            }
        })
    }
}
