//! MySQL: the pool, the migrations, and what its errors mean.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{
    Connection, Executor, MySql, MySqlConnection, MySqlPool, QueryBuilder,
    migrate::Migrate,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};
use thiserror::Error;

use crate::{config, lane::LANES};

/// In the binary, so that `migrate` needs no files.
static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations");

/// The session every connection runs with. Writers and the relay read committed rows: under REPEATABLE READ the
/// relay's scan blocks inserts, and a read-then-update sees an old snapshot.
const SESSION: &str = "SET SESSION transaction_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 5";
/// As [`SESSION`] sets it.
pub(crate) const LOCK_WAIT_SECONDS: u32 = 5;

/// How long a connection may take to answer when it is given back.
const RELEASE_LIMIT: Duration = Duration::from_secs(1);

#[must_use]
pub fn options(settings: &config::Database) -> MySqlConnectOptions {
    let options = MySqlConnectOptions::new()
        .host(&settings.host)
        .port(settings.port)
        .username(&settings.username)
        .database(&settings.name);
    // To MySQL an empty password is another thing than none.
    match settings.password.expose_secret() {
        "" => options,
        password => options.password(password),
    }
}

/// A pool that connects when it is first used, so that a process starts with MySQL away.
#[must_use]
pub fn pool(settings: &config::Database) -> MySqlPool {
    let read_timeout_ms = settings.read_timeout_ms;
    MySqlPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(Duration::from_millis(settings.acquire_timeout_ms))
        .after_release(|connection, _| {
            // A future that was dropped may have left its connection in the middle of an answer, or half dead. The
            // pool would ask it without a limit and meanwhile hold its place.
            Box::pin(async move {
                match tokio::time::timeout(RELEASE_LIMIT, connection.ping()).await {
                    Ok(answered) => answered.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
        .after_connect(move |connection, _| {
            Box::pin(async move {
                connection.execute(SESSION).await?;
                // Of reads alone. A change has the time of its transaction: its locking reads are done again.
                sqlx::query("SET SESSION max_execution_time = ?").bind(read_timeout_ms).execute(connection).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options(settings))
}

/// A connection outside the pool, for what must not wait for one.
pub async fn connection(settings: &config::Database) -> sqlx::Result<MySqlConnection> {
    let mut connection = MySqlConnection::connect_with(&options(settings)).await?;
    connection.execute(SESSION).await?;
    Ok(connection)
}

/// MySQL's numbers for: too many connections (of all, of the user, from the host), shutting down, read-only,
/// interrupted, too slow, killed, no such database or table yet, no room.
const UNAVAILABLE: [u16; 15] =
    [1040, 1203, 1226, 1129, 1053, 1290, 1836, 1317, 3024, 3169, 1049, 1146, 1021, 1114, 1037];

/// True when MySQL is away or refuses everything, not just this statement: a later attempt may succeed.
#[must_use]
pub fn is_unavailable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        other => error_number(other).is_some_and(|number| UNAVAILABLE.contains(&number)),
    }
}

/// True when the transaction met another (deadlock, lock wait, TiDB's write conflicts) and may be done again.
#[must_use]
pub fn is_conflict(error: &sqlx::Error) -> bool {
    matches!(error_number(error), Some(1213 | 1205 | 8002 | 8022 | 9007))
}

/// True when a statement that must not wait would have had to, for a row that another transaction holds.
#[must_use]
pub(crate) fn is_held_by_another(error: &sqlx::Error) -> bool {
    error_number(error) == Some(3572)
}

/// True when a read took longer than it may.
#[must_use]
pub(crate) fn took_too_long(error: &sqlx::Error) -> bool {
    error_number(error) == Some(3024)
}

/// A rule of the schema that a statement broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Constraint {
    /// `PRIMARY`, or the name of the unique index.
    Unique { index: String },
    /// What the foreign key refers to does not exist.
    Missing { foreign_key: String },
    /// What was to be deleted is referred to by the foreign key.
    InUse { foreign_key: String },
}

/// The rule that was broken, if that is what the error says. MySQL names it only in its message:
/// `Duplicate entry '…' for key 'products.sku'`, or the constraint between backquotes behind the word `CONSTRAINT`.
pub(crate) fn constraint(error: &sqlx::Error) -> Option<Constraint> {
    let message = error.as_database_error()?.message();
    let foreign_key = || Some(message.split_once("CONSTRAINT `")?.1.split_once('`')?.0.to_owned());
    match error_number(error)? {
        1062 => {
            let key = message.rsplit_once("for key '")?.1.trim_end_matches('\'');
            let index = key.rsplit_once('.').map_or(key, |(_, index)| index).to_owned();
            Some(Constraint::Unique { index })
        }
        1452 => Some(Constraint::Missing { foreign_key: foreign_key()? }),
        1451 => Some(Constraint::InUse { foreign_key: foreign_key()? }),
        _ => None,
    }
}

/// Pushes `(?, ?, …)`, padded with the last value to the next power of two, so that a handful of statements is
/// prepared, once. Not for an empty list.
pub(crate) fn push_list<'a, T>(statement: &mut QueryBuilder<MySql>, values: impl Iterator<Item = T>)
where
    T: Clone + sqlx::Encode<'a, MySql> + sqlx::Type<MySql>,
{
    let values: Vec<T> = values.collect();
    let padding = values.last().into_iter().cycle().take(padded_len(values.len()) - values.len());
    statement.push("(");
    let mut list = statement.separated(", ");
    for value in values.iter().chain(padding) {
        list.push_bind(value.clone());
    }
    statement.push(")");
}

/// How many placeholders a list of so many values gets.
pub(crate) fn padded_len(values: usize) -> usize {
    values.next_power_of_two()
}

fn error_number(error: &sqlx::Error) -> Option<u16> {
    let database = error.as_database_error()?;
    Some(database.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?.number())
}

#[derive(Debug, Error)]
pub enum MigrateError {
    #[error("the database could not be created")]
    Create(#[source] sqlx::Error),
    #[error("MySQL could not be reached")]
    Connect(#[source] sqlx::Error),
    #[error("the migrations of {MIGRATIONS_TABLE} could not be looked at")]
    Look(#[source] sqlx::Error),
    #[error("a migration failed")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Pinned(#[from] PinnedError),
}

/// The migrator's own.
const MIGRATIONS_TABLE: &str = "_sqlx_migrations";

/// Brings the schema up to date, also where an earlier attempt was cut off. Two at a time are safe: the second waits.
pub async fn migrate(settings: &config::Database, create_database: bool) -> Result<(), MigrateError> {
    if create_database {
        create(settings).await.map_err(MigrateError::Create)?;
    }
    let mut connection = connection(settings).await.map_err(MigrateError::Connect)?;
    // The migrator takes the same lock once more, as MySQL allows a session.
    connection.lock().await?;
    connection.ensure_migrations_table(MIGRATIONS_TABLE).await?;
    // Under the lock, what did not succeed was cut off: migrations can be done again from their beginning.
    sqlx::query("DELETE FROM _sqlx_migrations WHERE success = FALSE")
        .execute(&mut connection)
        .await
        .map_err(MigrateError::Look)?;
    MIGRATIONS.run(&mut connection).await?;
    connection.unlock().await?;
    check_pinned(&mut connection).await?;
    Ok(())
}

async fn create(settings: &config::Database) -> sqlx::Result<()> {
    let mut connection = MySqlConnection::connect_with(&options(settings).database("")).await?;
    // A name cannot be a parameter; the configuration allows only letters, digits, `_` and `-` in it.
    let statement =
        format!("CREATE DATABASE IF NOT EXISTS `{}` CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin", settings.name);
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statement))).await?;
    Ok(())
}

#[derive(Debug, Error)]
pub enum PinnedError {
    #[error("the settings of the database could not be read (run `sluice-worker migrate`)")]
    Read(#[source] sqlx::Error),
    #[error("the database is made for {found} outbox lanes, this binary for {LANES}")]
    Lanes { found: u64 },
}

/// Refuses a database whose rows were distributed by another rule than this binary's.
pub async fn check_pinned(connection: &mut MySqlConnection) -> Result<(), PinnedError> {
    let found: u64 = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'lanes'")
        .fetch_one(connection)
        .await
        .map_err(PinnedError::Read)?;
    if found == u64::from(LANES) { Ok(()) } else { Err(PinnedError::Lanes { found }) }
}
