//! What clients did, and what they were told.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use reqwest::Method;
use serde_json::Value;
use shared::entity::{Action, Kind};
use uuid::Uuid;

use crate::client::{Answer, Client};

/// All that clients did to the entities of a stack.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub operations: Vec<Operation>,
}

/// One request to change one entity.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The request's own id, which its event carries.
    pub request_id: String,
    pub write: Write,
    pub outcome: Outcome,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Write {
    pub method: Method,
    pub kind: Kind,
    pub id: String,
    pub idempotency_key: Option<String>,
    /// The members that the entity has afterwards; `Null` where it is to be deleted.
    pub body: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered 2xx, with the version, but for a deletion.
    Acknowledged { status: u16, version: Option<u64> },
    /// It was answered 4xx, or not sent at all: there is no effect.
    Refused { status: Option<u16> },
    /// It was sent and not answered, or answered 5xx: done or not done.
    Unknown,
}

impl Write {
    #[must_use]
    pub fn new(method: Method, kind: Kind, id: &str, body: Value) -> Self {
        Self { method, kind, id: id.to_owned(), idempotency_key: None, body }
    }

    #[must_use]
    pub fn action(&self) -> Action {
        match self.method {
            Method::POST => Action::Created,
            Method::DELETE => Action::Deleted,
            _ => Action::Updated,
        }
    }

    /// As records are keyed: `user:ann`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}:{}", self.kind, self.id)
    }

    fn path(&self) -> String {
        let collection = format!("/api/v1/{}", self.kind.plural());
        if self.method == Method::POST { collection } else { format!("{collection}/{}", self.id) }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request_id, write, outcome } = self;
        write!(formatter, "{} {} ({request_id}): {outcome:?}", write.method, write.key())
    }
}

/// Writes down what many clients do at once. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Notes>>);

#[derive(Default)]
struct Notes {
    operations: Vec<Operation>,
    acknowledged: usize,
    unknown: usize,
}

/// An operation that has begun.
#[derive(Clone, Copy)]
pub struct Begun(usize);

impl Recorder {
    /// How many changes were answered 2xx.
    #[must_use]
    pub fn done(&self) -> usize {
        self.notes().acknowledged
    }

    /// How many changes may have been done or not.
    #[must_use]
    pub fn cut(&self) -> usize {
        self.notes().unknown
    }

    #[must_use]
    pub fn history(&self) -> History {
        History { operations: self.notes().operations.clone() }
    }

    /// Sends a change and notes what comes of it. A request without an answer is noted as well.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send(&self, client: &Client, write: Write) -> anyhow::Result<Answer> {
        let request_id = Uuid::now_v7().to_string();
        let mut headers = vec![("X-Request-Id", request_id.as_str())];
        let key = write.idempotency_key.clone();
        headers.extend(key.as_deref().map(|key| ("Idempotency-Key", key)));
        let (method, path, body) = (write.method.clone(), write.path(), write.body.clone());
        let begun = self.begin(request_id.clone(), write);
        let answered = client.ask(method, &path, &headers, &body).await;
        match &answered {
            Ok(answer) => self.end(begun, Outcome::of(answer)),
            Err(error) => {
                let is_sent = !error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect);
                self.end(begun, if is_sent { Outcome::Unknown } else { Outcome::Refused { status: None } });
            }
        }
        answered
    }

    /// Notes what is about to be asked for, under the request's id. Its outcome is unknown until it has ended.
    #[must_use]
    pub fn begin(&self, request_id: String, write: Write) -> Begun {
        let mut notes = self.notes();
        notes.operations.push(Operation { request_id, write, outcome: Outcome::Unknown });
        notes.unknown += 1;
        Begun(notes.operations.len() - 1)
    }

    pub fn end(&self, Begun(index): Begun, outcome: Outcome) {
        let mut notes = self.notes();
        match outcome {
            Outcome::Unknown => return,
            Outcome::Acknowledged { .. } => notes.acknowledged += 1,
            Outcome::Refused { .. } => {}
        }
        notes.unknown -= 1;
        notes.operations[index].outcome = outcome;
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcome {
    fn of(answer: &Answer) -> Self {
        let status = answer.status.as_u16();
        match status {
            200..300 => Self::Acknowledged { status, version: answer.body["version"].as_u64() },
            400..500 => Self::Refused { status: Some(status) },
            _ => Self::Unknown,
        }
    }
}
