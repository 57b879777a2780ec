//! Keeps this worker's lanes: renews their leases, takes those that fall to it, gives up those that do not, in a task
//! and on a connection of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use shared::{
    config, database,
    lane::{Lane, Lanes},
    lifecycle::Lifecycle,
    outbox::{Lease, Outlook},
    telemetry::one_line,
};
use sqlx::MySqlConnection;
use tokio::{sync::watch, time::Instant};

use super::{
    authority::{Authority, boottime_ms},
    doorbell::Doorbell,
    share,
    trouble::Trouble,
};

/// The leases are renewed so many times in their duration.
const RENEWALS: u32 = 4;
/// Behind the end of another worker's lease, so much later it is looked whether its lanes are free.
const BEHIND_A_LEASE: Duration = Duration::from_millis(50);
/// At a stop: how long the lanes may take to become quiet. Those that do not are left to run out.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// The lanes that may be drained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// With their epochs.
    pub(super) lanes: BTreeMap<Lane, u64>,
    /// Grows whenever lanes are not in it any more.
    pub(super) generation: u64,
    /// Grows whenever a lane was lost: what the producer still holds of it must not be sent.
    pub(super) losses: u64,
    /// There will be no other.
    pub(super) ended: bool,
}

impl Claim {
    /// The lanes that were nobody else's since an earlier claim that had them.
    pub(super) fn kept_since(&self, earlier: &Self) -> Lanes {
        let kept = self.lanes.iter().filter(|(lane, epoch)| earlier.lanes.get(lane) == Some(epoch));
        kept.map(|(lane, _)| *lane).collect()
    }
}

/// The lanes of which nothing is on its way, as of a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quiet {
    pub(super) generation: u64,
    pub(super) lanes: Lanes,
}

pub(super) struct Keeper {
    pub(super) lease: Lease,
    pub(super) settings: config::Database,
    /// So many neighbouring lanes stay together.
    pub(super) granularity: usize,
    pub(super) authority: Authority,
    pub(super) doorbell: Arc<Doorbell>,
    pub(super) trouble: Trouble,
    pub(super) lifecycle: Lifecycle,
}

impl Keeper {
    /// Begins to keep lanes. What is given up waits until the relay says that it is quiet.
    pub(super) fn start(self) -> (watch::Receiver<Claim>, watch::Sender<Quiet>) {
        let (claims, claimed) = watch::channel(Claim::default());
        let (quiet, quieted) = watch::channel(Quiet::default());
        let lifecycle = self.lifecycle.clone();
        let keeping = Keeping {
            keeper: self,
            connection: None,
            owned: BTreeMap::new(),
            claim: Claim::default(),
            claims,
            quiet: quieted,
            known: false,
            renewed: None,
        };
        lifecycle.spawn(keeping.run());
        (claimed, quiet)
    }
}

struct Keeping {
    keeper: Keeper,
    connection: Option<MySqlConnection>,
    /// With their epochs, those that are being given up included.
    owned: BTreeMap<Lane, u64>,
    claim: Claim,
    claims: watch::Sender<Claim>,
    quiet: watch::Receiver<Quiet>,
    /// Whether the others were told that this worker is there.
    known: bool,
    renewed: Option<Renewal>,
}

/// The last one.
#[derive(Clone, Copy)]
struct Renewal {
    at: Instant,
    /// What the others were told then.
    stopping: bool,
}

impl Keeping {
    async fn run(mut self) {
        let interval = self.interval();
        let mut give_up_at = None;
        loop {
            let stopping = self.keeper.lifecycle.is_stopping();
            let wait = match tokio::time::timeout(interval, self.tick(stopping)).await {
                Ok(Ok(next)) => {
                    next.min(self.renewed.map_or(interval, |last| interval.saturating_sub(last.at.elapsed())))
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = one_line(&error), "the leases of the outbox could not be renewed");
                    self.connection = None;
                    interval / 4
                }
                // The connection is in the middle of an answer and of no more use.
                Err(_) => {
                    self.connection = None;
                    interval / 4
                }
            };
            if stopping {
                let until = *give_up_at.get_or_insert_with(|| Instant::now() + STOP_LIMIT);
                if self.owned.is_empty() || Instant::now() >= until {
                    break;
                }
            }
            self.wait(wait, stopping).await;
        }
        if !self.owned.is_empty() {
            tracing::warn!(lanes = self.owned.len(), "lanes were not given back; their leases run out");
        }
        self.keeper.authority.end();
        self.claim.ended = true;
        self.publish();
    }

    fn interval(&self) -> Duration {
        self.keeper.lease.duration / RENEWALS
    }

    /// Until something happened, or so long.
    async fn wait(&mut self, longest: Duration, stopping: bool) {
        let stopped = async {
            if stopping {
                std::future::pending::<()>().await;
            } else {
                self.keeper.lifecycle.stopped().await;
            }
        };
        #[expect(clippy::disallowed_methods, reason = "the stop is waited for too")]
        let longest = tokio::time::sleep(longest);
        tokio::select! {
            () = longest => {}
            () = stopped => {}
            () = self.keeper.doorbell.ownership.notified() => {}
            changed = self.quiet.changed() => if changed.is_err() {
                // The relay is gone, which only a panic does: nothing is on its way any more.
                self.quiet = watch::channel(Quiet { generation: u64::MAX, lanes: Lanes::ALL }).1;
            },
        }
    }

    /// Renews, gives back, takes; answers with when to look again at the latest.
    async fn tick(&mut self, stopping: bool) -> sqlx::Result<Duration> {
        let lease = self.keeper.lease.clone();
        let (sent_ms, sent_at) = (boottime_ms(), Instant::now());
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => database::connection(&self.keeper.settings).await?,
        };
        // Each of these waits for the disk, and whoever is rung to take lanes over should not: others wait for it.
        let is_due = self.renewed.is_none_or(|last| last.at.elapsed() >= self.interval() / 2);
        if is_due || self.renewed.is_some_and(|last| last.stopping != stopping) {
            lease.beat(&mut connection, stopping, self.keeper.trouble.get().as_deref()).await?;
        }
        // Also where it knows of none: see `notice_gains`.
        if is_due {
            lease.renew(&mut connection).await?;
        }
        let outlook = lease.look(&mut connection).await?;
        self.notice_losses(&outlook);
        self.notice_gains(&outlook);
        if is_due {
            self.keeper.authority.extend(sent_ms, lease.duration);
        }
        let at = self.renewed.filter(|_| !is_due).map_or(sent_at, |last| last.at);
        self.renewed = Some(Renewal { at, stopping });
        let wanted = self.wanted(&outlook, stopping);
        self.give_back(&mut connection, wanted).await?;
        let taken = self.takeable(&outlook, wanted);
        if !taken.is_empty() {
            lease.acquire(&mut connection, taken).await?;
            let outlook = lease.look(&mut connection).await?;
            self.notice_gains(&outlook);
        }
        self.claim(wanted);
        if stopping && self.owned.is_empty() {
            lease.leave(&mut connection).await?;
        }
        self.connection = Some(connection);
        if !std::mem::replace(&mut self.known, true) {
            self.keeper.doorbell.ring_ownership().await;
        }
        Ok(self.look_again(&outlook))
    }

    /// Lanes that another took while this worker did not renew.
    fn notice_losses(&mut self, outlook: &Outlook) {
        let before = self.owned.len();
        for state in &outlook.lanes {
            let mine = state.owner.as_ref() == Some(&self.keeper.lease.worker);
            if self.owned.get(&state.lane).is_some_and(|epoch| !mine || state.epoch != *epoch) {
                self.owned.remove(&state.lane);
            }
        }
        if self.owned.len() < before {
            tracing::warn!(lanes = before - self.owned.len(), "lanes of the outbox were lost to another worker");
            self.claim.losses += 1;
            self.claim.generation += 1;
            self.claim.lanes.retain(|lane, _| self.owned.contains_key(lane));
            // Before the authority is prolonged: it must not be that of lanes which are another's.
            self.publish();
        }
    }

    /// Lanes that are this worker's, also where it did not hear so: it may have lost the answer when it took them, and
    /// with its renewals nobody else ever could.
    fn notice_gains(&mut self, outlook: &Outlook) {
        let mine = outlook.lanes.iter().filter(|state| state.owner.as_ref() == Some(&self.keeper.lease.worker));
        self.owned.extend(mine.map(|state| (state.lane, state.epoch)));
    }

    fn wanted(&self, outlook: &Outlook, stopping: bool) -> Lanes {
        if stopping {
            return Lanes::NONE;
        }
        let paused = outlook.lanes.iter().filter(|it| it.paused).map(|it| it.lane).collect();
        share::of_worker(&self.keeper.lease.worker, &outlook.live, self.keeper.granularity).without(paused)
    }

    /// What is wanted and free; of groups of lanes only those that nobody else has a part of.
    fn takeable(&self, outlook: &Outlook, wanted: Lanes) -> Lanes {
        let group = |lane: Lane| lane.index() / self.keeper.granularity;
        let others = outlook.lanes.iter().filter(|it| !it.is_free() && !self.owned.contains_key(&it.lane));
        let others: BTreeSet<usize> = others.map(|it| group(it.lane)).collect();
        let mine = self.owned.keys().copied().collect();
        wanted.without(mine).iter().filter(|lane| !others.contains(&group(*lane))).collect()
    }

    /// Gives back what is not wanted, is not claimed and is quiet.
    async fn give_back(&mut self, connection: &mut MySqlConnection, wanted: Lanes) -> sqlx::Result<()> {
        let quiet = *self.quiet.borrow_and_update();
        if quiet.generation < self.claim.generation {
            return Ok(());
        }
        let leaving: Lanes = self.owned.keys().copied().filter(|lane| !self.claim.lanes.contains_key(lane)).collect();
        let free = leaving.intersection(quiet.lanes).without(wanted);
        if free.is_empty() {
            return Ok(());
        }
        self.keeper.lease.release(connection, free).await?;
        self.owned.retain(|lane, _| !free.contains(*lane));
        self.keeper.doorbell.ring_ownership().await;
        Ok(())
    }

    /// From now on exactly the owned lanes that are wanted may be drained.
    fn claim(&mut self, wanted: Lanes) {
        let lanes: BTreeMap<_, _> = self
            .owned
            .iter()
            .filter(|(lane, _)| wanted.contains(**lane))
            .map(|(lane, epoch)| (*lane, *epoch))
            .collect();
        if self.claim.lanes.iter().any(|(lane, epoch)| lanes.get(lane) != Some(epoch)) {
            self.claim.generation += 1;
        }
        if lanes != self.claim.lanes {
            tracing::info!(lanes = lanes.len(), owned = self.owned.len(), "lanes of the outbox");
        }
        self.claim.lanes = lanes;
        self.publish();
    }

    fn publish(&self) {
        self.keeper.doorbell.listen_for(self.claim.lanes.keys().copied().collect());
        self.claims.send_if_modified(|claim| {
            let changed = *claim != self.claim;
            if changed {
                claim.clone_from(&self.claim);
            }
            changed
        });
    }

    /// When the first lease of another worker runs out that is not renewed until then.
    fn look_again(&self, outlook: &Outlook) -> Duration {
        let others = outlook.lanes.iter().filter(|it| it.owner.is_some() && !self.owned.contains_key(&it.lane));
        let first = others.filter_map(|it| u64::try_from(it.left_us?).ok()).min();
        first.map_or(Duration::MAX, |left| Duration::from_micros(left) + BEHIND_A_LEASE)
    }
}
