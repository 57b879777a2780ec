//! The only writer: one transaction that stores entities together with the events that tell of them.
//!
//! Locks are taken in one order: the entity's row first, the outbox rows last, so that of one entity the ids of the
//! outbox are in the order of the commits.

mod tokens;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use sqlx::{Executor, MySql, MySqlConnection, MySqlPool, QueryBuilder, Transaction, types::Text};
use thiserror::Error;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use tokens::Tokens;

use crate::{
    cache::{Cache, Changed},
    database::{self, Constraint},
    entity::{Action, Entity, Id, Key, Kind, Version},
    event::{Event, EventType, Origin},
    outbox,
    timestamp::Timestamp,
};

#[derive(Debug, Error)]
pub enum WriteError {
    #[error("an entity with this id exists")]
    Exists,
    /// By the name of the unique index, which is that of its field.
    #[error("another entity has the same {index}")]
    Taken { index: String },
    /// By the name of the foreign key, which is that of its table and its field.
    #[error("what {foreign_key} refers to does not exist")]
    Unknown { foreign_key: String },
    #[error("{foreign_key} refers to it")]
    InUse { foreign_key: String },
    /// The version that was to be replaced is not the present one, or the entity is gone.
    #[error("the entity was changed meanwhile")]
    Stale,
    #[error("the event could not be written")]
    Event(#[from] serde_json::Error),
    /// The topic would not take it.
    #[error("the event of {key} has {bytes} bytes, more than {limit}")]
    EventTooLarge { key: Key, bytes: usize, limit: usize },
    #[error("the database refused the change")]
    Database(#[source] sqlx::Error),
}

/// Why several entities could not be stored.
#[derive(Debug, Error)]
pub enum CreateError {
    #[error("the item {index} was refused")]
    Item { index: usize, source: WriteError },
    #[error(transparent)]
    Write(#[from] WriteError),
}

pub(crate) enum CommitError {
    /// It met another transaction and is not committed.
    Conflict,
    /// The commit was sent and its answer did not come: the change may be stored or not.
    Unknown { changed: Vec<Changed>, source: Option<sqlx::Error> },
}

pub struct UnitOfWork {
    transaction: Transaction<'static, MySql>,
    origin: Origin,
    transaction_id: Uuid,
    /// In the order of the changes; their `transaction_size` is set by the commit.
    events: Vec<Event>,
    tokens: Tokens,
    /// A statement met another transaction: whatever the change makes of the error, the whole is done again.
    conflict: bool,
}

impl UnitOfWork {
    #[expect(clippy::disallowed_methods, reason = "the one place that begins a transaction")]
    pub(crate) async fn begin(
        pool: &MySqlPool,
        cache: &Cache,
        tracker: &TaskTracker,
        origin: Origin,
    ) -> Result<Self, WriteError> {
        Ok(Self {
            transaction: pool.begin().await.map_err(WriteError::Database)?,
            origin,
            transaction_id: Uuid::now_v7(),
            events: Vec::new(),
            tokens: Tokens::new(cache.clone(), tracker.clone()),
            conflict: false,
        })
    }

    /// Stores new entities at version 1 or, where an id was used before, at the version that follows; all or none. They
    /// are returned in their order.
    ///
    /// Row by row in the order of their ids, so that two batches cannot wait for each other and the one that is refused
    /// is known.
    pub async fn create_many<E: Entity>(&mut self, new: Vec<E>) -> Result<Vec<E>, CreateError> {
        let mut order: Vec<usize> = (0..new.len()).collect();
        order.sort_unstable_by_key(|index| new[*index].id().clone());
        for index in order {
            self.insert(&new[index]).await.map_err(|source| CreateError::Item { index, source })?;
        }
        let created = self.continue_lives(new).await?;
        for entity in &created {
            self.record(Action::Created, entity, entity.version(), None)?;
        }
        Ok(created)
    }

    async fn insert<E: Entity>(&mut self, new: &E) -> Result<(), WriteError> {
        self.tokens.request(new.key());
        let insert =
            sqlx::query(E::INSERT).bind(new.id()).bind(new.version()).bind(new.created_at()).bind(new.updated_at());
        let inserted = new.bind_fields(insert).execute(&mut *self.transaction).await;
        inserted.map(|_| ()).map_err(|error| self.failed(error))
    }

    /// Lets the versions of ids that were deleted go on. Only after the INSERT, which has waited for a deletion in
    /// progress: a new statement sees what that left.
    async fn continue_lives<E: Entity>(&mut self, mut inserted: Vec<E>) -> Result<Vec<E>, WriteError> {
        let retired = self.retired_versions(E::KIND, inserted.iter().map(Entity::id)).await?;
        for entity in &mut inserted {
            if let Some(version) = retired.get(entity.id()) {
                let replaced = entity.version();
                entity.stamp(version.next(), entity.updated_at());
                self.write_over(entity, replaced).await?;
            }
        }
        Ok(inserted)
    }

    /// Reads an entity without holding it: only what does not change may be relied on.
    pub async fn read<E: Entity>(&mut self, id: &Id) -> Result<Option<E>, WriteError> {
        let mut select: QueryBuilder<MySql> = QueryBuilder::new(E::SELECT);
        select.push(" WHERE id = ").push_bind(id);
        let found = select.build_query_as().fetch_optional(&mut *self.transaction).await;
        found.map_err(|error| self.failed(error))
    }

    /// Reads an entity and holds its row until the transaction ends.
    pub async fn lock<E: Entity>(&mut self, id: &Id) -> Result<Option<E>, WriteError> {
        self.tokens.request(Key { kind: E::KIND, id: id.clone() });
        let mut select: QueryBuilder<MySql> = QueryBuilder::new(E::SELECT);
        select.push(" WHERE id = ").push_bind(id).push(" FOR UPDATE");
        let found = select.build_query_as().fetch_optional(&mut *self.transaction).await;
        found.map_err(|error| self.failed(error))
    }

    /// Reads entities and holds their rows, taken in the order of their ids. Those that do not exist are left out.
    pub async fn lock_many<'a, E: Entity>(&mut self, ids: impl Iterator<Item = &'a Id>) -> Result<Vec<E>, WriteError> {
        let ids: BTreeSet<&Id> = ids.collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        for id in &ids {
            self.tokens.request(Key { kind: E::KIND, id: (*id).clone() });
        }
        let mut select: QueryBuilder<MySql> = QueryBuilder::new(E::SELECT);
        select.push(" WHERE id IN ");
        database::push_list(&mut select, ids.into_iter());
        select.push(" ORDER BY id FOR UPDATE");
        let found = select.build_query_as().fetch_all(&mut *self.transaction).await;
        found.map_err(|error| self.failed(error))
    }

    /// Stores a changed entity at the version that follows the one it carries.
    ///
    /// # Errors
    /// [`WriteError::Stale`] if the stored version is another.
    pub async fn update<E: Entity>(&mut self, mut changed: E, reason: Option<&str>) -> Result<E, WriteError> {
        let replaced = changed.version();
        // Never back, also where this machine's clock is behind that of the last writer.
        let now = Timestamp::now().max(changed.updated_at());
        changed.stamp(replaced.next(), now);
        self.write_over(&changed, replaced).await?;
        self.record(Action::Updated, &changed, changed.version(), reason)?;
        Ok(changed)
    }

    /// Deletes an entity and retires its id at the next version, which is also the event's.
    ///
    /// # Errors
    /// [`WriteError::Stale`] if the stored version is another.
    pub async fn delete<E: Entity>(&mut self, entity: E) -> Result<(), WriteError> {
        let deleted = sqlx::query(E::DELETE)
            .bind(entity.id())
            .bind(entity.version())
            .execute(&mut *self.transaction)
            .await
            .map_err(|error| self.failed(error))?;
        if deleted.rows_affected() == 0 {
            return Err(WriteError::Stale);
        }
        let version = entity.version().next();
        sqlx::query("INSERT INTO retired_ids (kind, id, version) VALUES (?, ?, ?) ON DUPLICATE KEY UPDATE version = ?")
            .bind(Text(E::KIND))
            .bind(entity.id())
            .bind(version)
            .bind(version)
            .execute(&mut *self.transaction)
            .await
            .map_err(|error| self.failed(error))?;
        self.record(Action::Deleted, &entity, version, None)
    }

    /// Where [`roll_back_to_savepoint`](Self::roll_back_to_savepoint) leads back to.
    pub(crate) async fn set_savepoint(&mut self) -> Result<(), WriteError> {
        self.run("SAVEPOINT before_work").await
    }

    /// Undoes what was changed since, and forgets its events.
    pub(crate) async fn roll_back_to_savepoint(&mut self) -> Result<(), WriteError> {
        self.run("ROLLBACK TO SAVEPOINT before_work").await?;
        self.events.clear();
        Ok(())
    }

    /// How long the next statements wait for a lock.
    pub(crate) async fn set_lock_wait_seconds(&mut self, seconds: u32) -> Result<(), WriteError> {
        let set = sqlx::query("SET SESSION innodb_lock_wait_timeout = ?").bind(seconds);
        let set = set.execute(&mut *self.transaction).await;
        set.map(|_| ()).map_err(|error| self.failed(error))
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), WriteError> {
        let run = self.transaction.execute(sqlx::raw_sql(statement)).await;
        run.map(|_| ()).map_err(|error| self.failed(error))
    }

    /// Lets the whole be done again in a new transaction.
    pub(crate) fn demand_retry(&mut self) {
        self.conflict = true;
    }

    /// For what belongs to an entity and lies in another table. The caller tells [`failed`](Self::failed) of errors.
    pub(crate) fn connection(&mut self) -> &mut MySqlConnection {
        &mut self.transaction
    }

    /// What an error of a statement means; remembers that the transaction met another one.
    pub(crate) fn failed(&mut self, error: sqlx::Error) -> WriteError {
        // `database.read_timeout_ms` cuts off a locking read too: what it waited for so long is another transaction.
        self.conflict |= database::is_conflict(&error) || database::took_too_long(&error);
        match database::constraint(&error) {
            Some(Constraint::Unique { index }) if index == "PRIMARY" => WriteError::Exists,
            Some(Constraint::Unique { index }) => WriteError::Taken { index },
            Some(Constraint::Missing { foreign_key }) => WriteError::Unknown { foreign_key },
            Some(Constraint::InUse { foreign_key }) => WriteError::InUse { foreign_key },
            None => WriteError::Database(error),
        }
    }

    /// Appends the events; nothing may be changed after that.
    pub(crate) async fn append_events(&mut self, max_payload_bytes: usize) -> Result<(), WriteError> {
        let size = self.events.len();
        if size == 0 {
            return Ok(());
        }
        for event in &mut self.events {
            event.transaction_size = size;
        }
        let appended = outbox::append(&mut self.transaction, &self.events, &self.origin.trace, max_payload_bytes).await;
        appended.map_err(|error| match error {
            outbox::AppendError::Json(error) => WriteError::Event(error),
            outbox::AppendError::TooLarge { key, bytes, limit } => WriteError::EventTooLarge { key, bytes, limit },
            outbox::AppendError::Database(error) => self.failed(error),
        })
    }

    /// Commits. What is changed is stored and announced, or neither.
    pub(crate) async fn commit(self, limit: Duration) -> Result<(Vec<Changed>, Tokens), CommitError> {
        let changed = self.events.into_iter().map(Changed::from).collect();
        // A token that comes after COMMIT is sent is none: it could let a state into the cache that is older.
        let tokens = self.tokens.close();
        match tokio::time::timeout(limit, self.transaction.commit()).await {
            Ok(Ok(())) => Ok((changed, tokens)),
            Ok(Err(error)) if database::is_conflict(&error) => Err(CommitError::Conflict),
            Ok(Err(error)) => Err(CommitError::Unknown { changed, source: Some(error) }),
            Err(_) => Err(CommitError::Unknown { changed, source: None }),
        }
    }

    /// Undoes everything now; dropping does so only when the connection is used again.
    pub(crate) async fn roll_back(self, limit: Duration) {
        // Where it is not answered, the pool drops the connection and MySQL rolls back by itself.
        let _ = tokio::time::timeout(limit, self.transaction.rollback()).await;
    }

    /// True when the transaction met another one and may be done again from its beginning.
    pub(crate) fn met_conflict(&self) -> bool {
        self.conflict
    }

    async fn write_over<E: Entity>(&mut self, entity: &E, replaced: Version) -> Result<(), WriteError> {
        let update = sqlx::query(E::UPDATE).bind(entity.version()).bind(entity.updated_at());
        let update = entity.bind_fields(update).bind(entity.id()).bind(replaced);
        let updated = update.execute(&mut *self.transaction).await.map_err(|error| self.failed(error))?;
        // The driver counts the rows that matched, so none means another version or no row.
        if updated.rows_affected() == 0 { Err(WriteError::Stale) } else { Ok(()) }
    }

    async fn retired_versions<'a>(
        &mut self,
        kind: Kind,
        ids: impl Iterator<Item = &'a Id>,
    ) -> Result<HashMap<Id, Version>, WriteError> {
        let mut select: QueryBuilder<MySql> = QueryBuilder::new("SELECT id, version FROM retired_ids WHERE kind = ");
        select.push_bind(Text(kind)).push(" AND id IN ");
        database::push_list(&mut select, ids);
        select.push(" FOR UPDATE");
        let found: sqlx::Result<Vec<_>> = select.build_query_as().fetch_all(&mut *self.transaction).await;
        Ok(found.map_err(|error| self.failed(error))?.into_iter().collect())
    }

    fn record<E: Entity>(
        &mut self,
        action: Action,
        entity: &E,
        version: Version,
        reason: Option<&str>,
    ) -> Result<(), WriteError> {
        self.events.push(Event {
            specversion: Event::SPECVERSION,
            event_type: EventType { kind: E::KIND, action },
            id: Uuid::now_v7(),
            source: Event::SOURCE,
            subject: format!("{}/{}", E::PLURAL, entity.id()),
            time: Timestamp::now(),
            datacontenttype: Event::DATACONTENTTYPE,
            kind: E::KIND,
            entity_id: entity.id().clone(),
            version,
            recipient: entity.owner().cloned(),
            actor: self.origin.actor.clone(),
            request_id: self.origin.request_id.clone(),
            reason: reason.map(str::to_owned),
            transaction_id: self.transaction_id,
            transaction_size: 0,
            data: serde_json::value::to_raw_value(entity)?,
        });
        Ok(())
    }
}
