//! What the errors of the layers below mean to a client. A 5xx says nothing about its cause; the log does.

use shared::{
    change::ChangeError,
    database,
    idempotency::IdempotencyError,
    repository::{LOG_TARGET, ReadError},
    store::TransactError,
    telemetry::one_line,
    unit_of_work::WriteError,
    violation::Violation,
};

use super::{Code, Problem};

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::TooExpensive => return Self::new(Code::QueryTooExpensive),
            ReadError::MySql(cause) if database::is_unavailable(cause) => Code::Unavailable,
            ReadError::MySql(_) => {
                tracing::error!(target: LOG_TARGET, error = one_line(&error), "MySQL refused a read");
                return Self::new(Code::Internal);
            }
            _ => Code::ReadModelUnavailable,
        };
        tracing::warn!(target: LOG_TARGET, error = one_line(&error), "a read failed");
        Self::new(code)
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        Self::from(&error)
    }
}

impl From<&ChangeError> for Problem {
    fn from(error: &ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Self::new(Code::NotFound),
            ChangeError::VersionMismatch { current } => {
                Self { current_version: Some(*current), ..Self::new(Code::VersionMismatch) }
            }
            ChangeError::VersionRequired => Self::new(Code::VersionRequired),
            ChangeError::Invalid(violations) => Self::invalid(violations.clone()),
            ChangeError::IllegalTransition { from, to, allowed } => Self {
                allowed_transitions: Some(allowed.clone()),
                ..Self::new(Code::IllegalTransition).with_detail(format!("from {from} there is no step to {to}"))
            },
            ChangeError::InsufficientStock(items) => Self::new(Code::InsufficientStock).with_violations(items.clone()),
            ChangeError::OrderClosed => Self::new(Code::OrderClosed),
            ChangeError::NotDeletable { status } => {
                Self::new(Code::NotDeletable).with_detail(format!("its status is {status}"))
            }
            ChangeError::Item { index, source } => of_write(source, &format!("/items/{index}")),
            ChangeError::Write(error) => of_write(error, ""),
        }
    }
}

impl<E> From<TransactError<E>> for Problem
where
    Self: From<E>,
{
    fn from(error: TransactError<E>) -> Self {
        match error {
            TransactError::Refused(error) => error.into(),
            TransactError::Failed(error) => of_write(&error, ""),
            TransactError::Conflict => Self::new(Code::Busy),
            TransactError::Timeout => Self::new(Code::Unavailable),
            TransactError::Panicked => Self::new(Code::Internal),
            TransactError::OutcomeUnknown(cause) => {
                let error = cause.map_or_else(|| "no answer in time".to_owned(), |cause| one_line(&cause));
                tracing::error!(error, "the outcome of a commit is unknown");
                Self::new(Code::OutcomeUnknown)
            }
        }
    }
}

impl<E> From<IdempotencyError<E>> for Problem
where
    Self: From<E>,
{
    fn from(error: IdempotencyError<E>) -> Self {
        match error {
            IdempotencyError::Reused => Self::new(Code::IdempotencyKeyReused),
            IdempotencyError::InUse => Self::new(Code::IdempotencyKeyInUse),
            IdempotencyError::Change(error) => error.into(),
            IdempotencyError::Write(error) => of_write(&error, ""),
        }
    }
}

/// Unique indexes are named after their field, foreign keys after their table and field.
fn of_write(error: &WriteError, at: &str) -> Problem {
    let violation =
        |field: &str, code: &str, detail: &str| vec![Violation::at(&format!("{at}/{field}"), code, detail.to_owned())];
    match error {
        WriteError::Exists => {
            Problem::new(Code::AlreadyExists).with_violations(violation("id", "taken", "an entity with this id exists"))
        }
        WriteError::Taken { index } => {
            let code = if index == "email" { Code::EmailTaken } else { Code::AlreadyExists };
            Problem::new(code).with_violations(violation(index, "taken", "another one has the same"))
        }
        WriteError::Unknown { foreign_key } => {
            let field = foreign_key.split_once('_').map_or(foreign_key.as_str(), |(_, field)| field);
            Problem::invalid(violation(field, "unknown-reference", "what it refers to does not exist"))
        }
        WriteError::InUse { foreign_key } => {
            let table = match foreign_key.split_once('_') {
                // The items of orders, which are no table to a client.
                Some(("order", _)) => "orders",
                Some((table, _)) => table,
                None => foreign_key,
            };
            Problem::new(Code::InUse).with_detail(format!("{table} refer to it"))
        }
        WriteError::Stale => Problem::new(Code::Busy),
        WriteError::Database(error) => of_database(error),
        WriteError::EventTooLarge { .. } => Problem::new(Code::EventTooLarge).with_detail(error.to_string()),
        WriteError::Event(error) => {
            tracing::error!(error = one_line(error), "an event could not be written");
            Problem::new(Code::Internal)
        }
    }
}

fn of_database(error: &sqlx::Error) -> Problem {
    if database::is_unavailable(error) {
        tracing::warn!(error = one_line(error), "MySQL is not available");
        Problem::new(Code::Unavailable)
    } else {
        tracing::error!(error = one_line(error), "MySQL refused a statement");
        Problem::new(Code::Internal)
    }
}
