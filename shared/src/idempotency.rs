//! Requests that may be repeated: the answer is stored in the transaction of its work, so there is one effect and one
//! answer for a key, whatever is lost or repeated on the way.
//!
//! A row that is committed holds an answer. While its transaction runs, others see nothing and wait for nothing: they
//! are told that the key is in use. A crash before the commit leaves no row.

use sqlx::FromRow;
use thiserror::Error;

use crate::{
    database,
    store::Change,
    unit_of_work::{UnitOfWork, WriteError},
};

/// What tells a request apart.
#[derive(Clone, Debug)]
pub struct Key {
    /// Who sent it; keys of others are others.
    pub principal: String,
    /// As it was sent: 1 to 255 visible ASCII characters.
    pub name: String,
    /// SHA-256 of method, path and body.
    pub fingerprint: [u8; 32],
}

/// What is answered, in the first place and again.
#[derive(Clone, Debug, FromRow)]
pub struct Answer {
    pub status: u16,
    pub etag: Option<String>,
    pub location: Option<String>,
    pub body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    Done(Answer),
    /// The first answer again; nothing was done now.
    Replayed(Answer),
}

#[derive(Debug, Error)]
pub enum IdempotencyError<E> {
    #[error("the key was used for another request")]
    Reused,
    #[error("the first request with the key is still running")]
    InUse,
    #[error("the change was refused")]
    Change(E),
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// A change that is made once for its key.
pub struct Idempotent<C, F> {
    pub key: Key,
    pub change: C,
    /// The answer to what became of the change; None where the same request may end in another way next time.
    pub answer: F,
}

impl<C, F> Change for Idempotent<C, F>
where
    C: Change,
    F: Fn(Result<&C::Output, &C::Error>) -> Option<Answer> + Send + Sync,
{
    type Output = Outcome;
    type Error = IdempotencyError<C::Error>;

    async fn apply(&self, work: &mut UnitOfWork) -> Result<Outcome, IdempotencyError<C::Error>> {
        if let Some(answer) = self.stored(work).await? {
            return Ok(Outcome::Replayed(answer));
        }
        self.claim(work).await?;
        work.set_savepoint().await?;
        match self.change.apply(work).await {
            Ok(output) => {
                let Some(answer) = (self.answer)(Ok(&output)) else { return Err(WriteError::Stale.into()) };
                self.store(work, &answer).await?;
                Ok(Outcome::Done(answer))
            }
            // After a deadlock the transaction is gone, the key with it.
            Err(error) if work.met_conflict() => Err(IdempotencyError::Change(error)),
            Err(error) => {
                let Some(answer) = (self.answer)(Err(&error)) else { return Err(IdempotencyError::Change(error)) };
                work.roll_back_to_savepoint().await?;
                self.store(work, &answer).await?;
                Ok(Outcome::Done(answer))
            }
        }
    }
}

const SELECT: &str = "SELECT fingerprint, status, etag, location, body FROM idempotency_keys \
                      WHERE principal = ? AND name = ?";
const SELECT_HELD: &str = "SELECT fingerprint, status, etag, location, body FROM idempotency_keys \
                           WHERE principal = ? AND name = ? FOR UPDATE NOWAIT";

#[derive(FromRow)]
struct Row {
    fingerprint: Vec<u8>,
    #[sqlx(flatten)]
    answer: Answer,
}

impl<C: Change, F> Idempotent<C, F> {
    /// The answer to an earlier request with the key.
    async fn stored(&self, work: &mut UnitOfWork) -> Result<Option<Answer>, IdempotencyError<C::Error>> {
        for statement in [SELECT, SELECT_HELD] {
            let found = sqlx::query_as::<_, Row>(statement)
                .bind(&self.key.principal)
                .bind(&self.key.name)
                .fetch_optional(&mut *work.connection())
                .await;
            match found {
                Ok(None) => {}
                Ok(Some(row)) if row.fingerprint == self.key.fingerprint => return Ok(Some(row.answer)),
                Ok(Some(_)) => return Err(IdempotencyError::Reused),
                Err(error) if database::is_held_by_another(&error) => return Err(IdempotencyError::InUse),
                Err(error) => return Err(work.failed(error).into()),
            }
        }
        Ok(None)
    }

    /// Inserts the key without its answer, which no other transaction sees.
    async fn claim(&self, work: &mut UnitOfWork) -> Result<(), IdempotencyError<C::Error>> {
        // Who comes while another inserts it must not wait for that one's whole work.
        work.set_lock_wait_seconds(1).await?;
        let inserted = sqlx::query(
            "INSERT INTO idempotency_keys (principal, name, fingerprint, created_at) VALUES (?, ?, ?, UTC_TIMESTAMP(3))",
        )
        .bind(&self.key.principal)
        .bind(&self.key.name)
        .bind(self.key.fingerprint.as_slice())
        .execute(&mut *work.connection())
        .await;
        match inserted {
            Ok(_) => Ok(work.set_lock_wait_seconds(database::LOCK_WAIT_SECONDS).await?),
            Err(error) => {
                work.set_lock_wait_seconds(database::LOCK_WAIT_SECONDS).await?;
                if database::is_conflict(&error) {
                    return Err(IdempotencyError::InUse);
                }
                match work.failed(error) {
                    // It was committed meanwhile: a new transaction sees it.
                    WriteError::Exists => {
                        work.demand_retry();
                        Err(IdempotencyError::InUse)
                    }
                    error => Err(error.into()),
                }
            }
        }
    }

    async fn store(&self, work: &mut UnitOfWork, answer: &Answer) -> Result<(), WriteError> {
        let stored = sqlx::query(
            "UPDATE idempotency_keys SET status = ?, etag = ?, location = ?, body = ? WHERE principal = ? AND name = ?",
        )
        .bind(answer.status)
        .bind(&answer.etag)
        .bind(&answer.location)
        .bind(&answer.body)
        .bind(&self.key.principal)
        .bind(&self.key.name)
        .execute(&mut *work.connection())
        .await;
        stored.map(|_| ()).map_err(|error| work.failed(error))
    }
}
