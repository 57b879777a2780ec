//! Drains one group of lanes: read, publish in a transaction, delete, and again.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use shared::{
    config::Config,
    database,
    lane::{Lane, Lanes},
    lifecycle::Lifecycle,
    outbox::{self, Fence, HeldEntity, PageLimit, Parked, Pending, Place, RowId},
    telemetry::one_line,
};
use sqlx::MySqlConnection;
use thiserror::Error;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    super::{
        authority::Authority,
        cursor::{Cursor, Seen},
        doorbell::Doorbell,
        idle::Idle,
        invalidation::Invalidator,
        producer::{Poison, check},
        singly::park,
        trouble::Trouble,
        versions::Versions,
    },
    session::{Session, SessionError},
};

const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// How often an operator's request is looked for where nobody rang.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, Error)]
enum GroupError {
    #[error("MySQL could not be asked")]
    Database(#[from] sqlx::Error),
    #[error("MySQL did not answer in time")]
    Timeout,
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("an event could not be parked")]
    Park(#[from] outbox::ParkError),
    #[error("the leases ran out")]
    LeaseLost,
}

/// What all groups of a worker share.
#[derive(Clone)]
pub(in crate::relay) struct Shared {
    pub(in crate::relay) config: Config,
    pub(in crate::relay) worker: String,
    pub(in crate::relay) authority: Authority,
    pub(in crate::relay) doorbell: Arc<Doorbell>,
    pub(in crate::relay) trouble: Trouble,
    pub(in crate::relay) invalidator: Invalidator,
    pub(in crate::relay) lifecycle: Lifecycle,
}

pub(super) struct Group {
    pub(super) shared: Shared,
    pub(super) number: u16,
    /// With their epochs.
    pub(super) lanes: BTreeMap<Lane, u64>,
    /// Something was committed in its lanes, or an operator decided something.
    pub(super) rung: Arc<Notify>,
    pub(super) stop: CancellationToken,
}

/// What is known between two transactions.
struct Drained {
    connection: MySqlConnection,
    partitions: u16,
    cursor: Cursor,
    versions: Versions,
    idle: Idle,
    held: HashSet<HeldEntity>,
    next_look: Instant,
}

impl Group {
    /// Until it is stopped, between two transactions.
    pub(super) async fn run(self) {
        // Events that were refused among others, and are to be tried alone.
        let mut suspects = HashSet::new();
        while !self.stop.is_cancelled() {
            let Err(error) = self.drain(&mut suspects).await else { return };
            tracing::warn!(group = self.number, error = one_line(&error), "a group of lanes begins again");
            if !matches!(error, GroupError::Session(SessionError::Refused(_))) {
                self.shared.trouble.is(one_line(&error));
                // Stopped or not is looked at above.
                let _ = tokio::time::timeout(RETRY_PAUSE, self.stop.cancelled()).await;
            }
        }
    }

    async fn drain(&self, suspects: &mut HashSet<Uuid>) -> Result<(), GroupError> {
        self.check()?;
        let mut state = self.in_time(self.open()).await?;
        let (session, committed) = Session::begin(&self.shared.config, self.number, state.partitions).await?;
        let drained = self.drain_with(&session, &mut state, &committed, suspects).await;
        session.end().await;
        drained
    }

    async fn drain_with(
        &self,
        session: &Session,
        state: &mut Drained,
        committed: &[RowId],
        suspects: &mut HashSet<Uuid>,
    ) -> Result<(), GroupError> {
        self.delete(state, committed).await?;
        while !self.stop.is_cancelled() {
            self.check()?;
            if !state.held.is_empty() && Instant::now() >= state.next_look {
                self.release(session, state).await?;
            }
            let (batch, ended) = self.read(state, suspects).await?;
            if batch.is_empty() {
                let wait = state.idle.after(false, ended, self.shared.doorbell.works());
                let rung = self.stop.run_until_cancelled(self.rung.notified());
                if tokio::time::timeout(wait, rung).await.is_ok() {
                    state.next_look = Instant::now();
                }
                continue;
            }
            state.idle.after(true, ended, true);
            self.publish(session, state, &batch, suspects).await?;
        }
        Ok(())
    }

    async fn open(&self) -> sqlx::Result<Drained> {
        let mut connection = database::connection(&self.shared.config.database).await?;
        let partitions = outbox::pinned_partitions(&mut connection).await?.ok_or(sqlx::Error::RowNotFound)?;
        let held = outbox::held_entities(&mut connection, self.lanes()).await?;
        Ok(Drained {
            connection,
            partitions,
            cursor: Cursor::new(Instant::now()),
            versions: Versions::new(),
            idle: Idle::new(&self.shared.config.outbox),
            held: held.into_iter().collect(),
            next_look: Instant::now(),
        })
    }

    /// The next rows that can be published together: a suspect alone.
    async fn read(&self, state: &mut Drained, suspects: &HashSet<Uuid>) -> Result<(Vec<Pending>, bool), GroupError> {
        let settings = &self.shared.config.outbox;
        let now = Instant::now();
        let (after, proven) = state.cursor.begin_read(now);
        let place = Place { lanes: self.lanes(), after, proven };
        // A progress record of so many rows is well below what a topic takes.
        let limit = PageLimit { rows: settings.batch_rows, bytes: settings.batch_bytes / 8 };
        let page = self.in_time(outbox::page(&mut state.connection, place, limit)).await?;
        if page.cut {
            state.connection = self.in_time(database::connection(&self.shared.config.database)).await?;
        }
        let mut batch: Vec<Pending> = Vec::new();
        let (mut seen, mut again, mut broken) = (None, None, None);
        for row in page.rows {
            let pending = &row.pending;
            let alone = suspects.contains(&pending.event_id);
            if alone && !batch.is_empty() {
                again = again.or(Some(pending.id));
                break;
            }
            seen = Some(pending.id);
            if state.held.contains(&pending.entity()) {
                continue;
            }
            if let Err(poison) = check(pending) {
                broken = Some((row.pending, poison));
                break;
            }
            if !state.versions.admits(&row, now) {
                again = again.or(Some(pending.id));
                continue;
            }
            batch.push(row.pending);
            if alone {
                break;
            }
        }
        let ended = page.ended && again.is_none() && broken.is_none();
        let took = now.elapsed();
        let settled = page.settled.min(seen.unwrap_or_default());
        state.cursor.end_read(Seen { last: seen, settled, ended, read_at: page.read_at, took, again }, Instant::now());
        state.versions.end_read(now);
        if let Some((row, poison)) = broken {
            self.park(state, &row, poison, 1).await?;
            state.cursor.sweep_now(Instant::now());
            return Ok((batch, false));
        }
        Ok((batch, ended))
    }

    async fn publish(
        &self,
        session: &Session,
        state: &mut Drained,
        batch: &[Pending],
        suspects: &mut HashSet<Uuid>,
    ) -> Result<(), GroupError> {
        self.shared.invalidator.invalidate(batch).await;
        self.check()?;
        match session.publish(batch).await {
            Ok(()) => {
                self.shared.trouble.over();
                let ids: Vec<RowId> = batch.iter().map(Pending::row_id).collect();
                self.delete(state, &ids).await?;
                for row in batch {
                    suspects.remove(&row.event_id);
                }
                Ok(())
            }
            Err(SessionError::Refused(refused)) => {
                if let (&[(_, poison)], [row]) = (refused.as_slice(), batch) {
                    self.park(state, row, poison, 2).await?;
                    suspects.remove(&row.event_id);
                    return Err(SessionError::Refused(Vec::new()).into());
                }
                suspects.extend(refused.iter().filter_map(|(index, _)| Some(batch.get(*index)?.event_id)));
                Err(SessionError::Refused(refused).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes what an operator's decisions have freed.
    async fn release(&self, session: &Session, state: &mut Drained) -> Result<(), GroupError> {
        state.next_look = Instant::now() + LOOK_INTERVAL;
        for entity in state.held.clone() {
            loop {
                let rows = match self.in_time(outbox::next_to_release(&mut state.connection, &entity)).await? {
                    Parked::Held => break,
                    Parked::None => {
                        state.held.remove(&entity);
                        state.cursor.sweep_now(Instant::now());
                        break;
                    }
                    Parked::Releasable(rows) => rows,
                };
                for row in rows {
                    self.check()?;
                    if !self.release_one(session, state, &row).await? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// False where Kafka still refuses it.
    async fn release_one(&self, session: &Session, state: &mut Drained, row: &Pending) -> Result<bool, GroupError> {
        if let Err(poison) = check(row) {
            self.refuse_again(state, row, poison).await?;
            return Ok(false);
        }
        self.shared.invalidator.invalidate(std::slice::from_ref(row)).await;
        match session.publish(std::slice::from_ref(row)).await {
            Ok(()) => {
                self.delete(state, &[row.row_id()]).await?;
                Ok(true)
            }
            Err(SessionError::Refused(refused)) => {
                let poison = refused.first().map_or(Poison::Invalid, |(_, poison)| *poison);
                self.refuse_again(state, row, poison).await?;
                // The session is of no more use.
                Err(SessionError::Refused(refused).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn refuse_again(&self, state: &mut Drained, row: &Pending, poison: Poison) -> Result<(), GroupError> {
        let Some(fence) = self.fence(row.lane) else { return Err(GroupError::LeaseLost) };
        outbox::refused_again(&mut state.connection, &fence, row.event_id, &poison.to_string()).await?;
        Ok(())
    }

    async fn park(&self, state: &mut Drained, row: &Pending, poison: Poison, attempts: u32) -> Result<(), GroupError> {
        let Some(fence) = self.fence(row.lane) else { return Err(GroupError::LeaseLost) };
        park(&self.shared.invalidator, &mut state.connection, &fence, row, poison, attempts).await?;
        state.held.insert(row.entity());
        Ok(())
    }

    /// From wherever they are: rows that were parked are published in transactions too.
    async fn delete(&self, state: &mut Drained, rows: &[RowId]) -> Result<(), GroupError> {
        if rows.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = rows.iter().map(|row| row.event_id).collect();
        loop {
            let deleting = async {
                outbox::delete(&mut state.connection, rows).await?;
                if state.held.is_empty() { Ok(()) } else { outbox::delete_parked(&mut state.connection, &ids).await }
            };
            match self.in_time(deleting).await {
                Err(GroupError::Database(error)) if database::is_conflict(&error) => {}
                deleted => return deleted,
            }
        }
    }

    fn fence(&self, lane: Lane) -> Option<Fence> {
        Some(Fence { worker: self.shared.worker.clone(), lane, epoch: *self.lanes.get(&lane)? })
    }

    fn lanes(&self) -> Lanes {
        self.lanes.keys().copied().collect()
    }

    fn check(&self) -> Result<(), GroupError> {
        if self.shared.authority.holds() { Ok(()) } else { Err(GroupError::LeaseLost) }
    }

    /// On a connection whose other end vanished a step would wait for ever.
    async fn in_time<T>(&self, step: impl Future<Output = sqlx::Result<T>>) -> Result<T, GroupError> {
        let limit = Duration::from_millis(self.shared.config.outbox.lease_ms);
        Ok(tokio::time::timeout(limit, step).await.map_err(|_| GroupError::Timeout)??)
    }
}
