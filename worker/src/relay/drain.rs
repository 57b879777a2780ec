//! The loop that reads, publishes and deletes.
//!
//! It owns everything that is known of the rows on their way, in one task: so of each lane one task enqueues, in the
//! order of the ids. Reading, deleting, connecting and what concerns single entities run beside it and answer here.

mod publishing;
mod reading;

use std::{sync::Arc, time::Duration};

use shared::{config::Config, lane::Lanes, lifecycle::Lifecycle, outbox::Pending};
use tokio::{sync::watch, time::Instant};

use super::{
    authority::Authority,
    cursor::Cursor,
    deleter::Deleter,
    doorbell::Doorbell,
    flight::Flight,
    held::{Held, Outcome},
    idle::Idle,
    invalidation::Invalidator,
    link::Link,
    ownership::{Claim, Quiet},
    reader::Reader,
    versions::Versions,
};

/// At a stop: how long what is in flight may take to be acknowledged. What is not will be published again.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Acknowledgements that do not come for so long are trouble.
const SLOW: Duration = Duration::from_secs(3);

pub(super) struct Drain {
    pub(super) config: Config,
    pub(super) lifecycle: Lifecycle,
    pub(super) authority: Authority,
    pub(super) doorbell: Arc<Doorbell>,
    pub(super) claims: watch::Receiver<Claim>,
    pub(super) quiet: watch::Sender<Quiet>,
    pub(super) invalidator: Invalidator,
    pub(super) reader: Reader,
    pub(super) deleter: Deleter,
    pub(super) link: Link,
    pub(super) held: Held,
    pub(super) state: State,
}

/// What is known of the lanes and of the rows on their way.
pub(super) struct State {
    claim: Claim,
    /// Claimed lanes whose held entities are known.
    open: Lanes,
    /// The claim as of which they were asked for.
    asked: Claim,
    flight: Flight,
    cursor: Cursor,
    versions: Versions,
    idle: Idle,
    /// Read and not yet enqueued, the next one last: the producer's queue is full.
    waiting: Vec<Pending>,
    /// How many rows a read asks for.
    page_rows: u32,
    read_began: Instant,
    next_read: Instant,
    /// After a failure nothing is read before.
    not_before: Instant,
    /// When the producer last got something or reported something.
    progress: Instant,
    server: Option<String>,
    stopped_at: Option<Instant>,
}

impl State {
    pub(super) fn new(config: &Config) -> Self {
        let now = Instant::now();
        Self {
            claim: Claim::default(),
            open: Lanes::NONE,
            asked: Claim::default(),
            flight: Flight::new(),
            cursor: Cursor::new(now),
            versions: Versions::new(),
            idle: Idle::new(&config.outbox),
            waiting: Vec::new(),
            page_rows: config.outbox.batch_rows,
            read_began: now,
            next_read: now,
            not_before: now,
            progress: now,
            server: None,
            stopped_at: None,
        }
    }
}

impl Drain {
    /// Until the lanes are given back. Each round does all that can be done and then waits for anything to happen.
    pub(super) async fn run(mut self) {
        loop {
            self.follow_claim();
            if self.state.claim.ended {
                break;
            }
            self.collect_reports();
            self.collect_deleted();
            if !self.authority.holds() {
                self.let_go("the leases ran out");
            }
            self.give_up_at_stop();
            if self.authority.holds() {
                self.enqueue_waiting();
                self.ask();
            }
            self.tell_quiet();
            self.wait().await;
        }
        self.link.close().await;
    }

    async fn wait(&mut self) {
        let wake = self.wake_at();
        tokio::select! {
            () = self.link.happened() => {}
            () = self.deleter.done() => {}
            read = self.reader.answered() => self.take(read).await,
            outcome = self.held.outcome() => self.settle(outcome),
            changed = self.claims.changed() => if changed.is_err() {
                self.state.claim.ended = true;
            },
            () = self.doorbell.rung.notified() => self.state.next_read = Instant::now(),
            () = self.doorbell.requests.notified() => self.held.look_now(),
            () = tokio::time::sleep_until(wake) => {}
        }
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let slow = (self.state.flight.enqueued() > 0).then(|| self.state.progress + SLOW);
        let reading = self.readable().map(|_| self.read_at(now));
        let soonest = [slow, reading, self.link.next()].into_iter().flatten().min().unwrap_or(now + SLOW);
        // Never in a tight loop, whatever is due: what can be done was done.
        soonest.max(now + Duration::from_millis(1)).min(now + Duration::from_secs(1))
    }

    fn follow_claim(&mut self) {
        let claim = self.claims.borrow_and_update().clone();
        if claim == self.state.claim {
            return;
        }
        if claim.losses != self.state.claim.losses {
            self.let_go("lanes were lost");
        }
        let lanes: Lanes = claim.lanes.keys().copied().collect();
        let kept = claim.kept_since(&self.state.claim);
        self.state.open = self.state.open.intersection(kept);
        self.state.waiting.retain(|row| lanes.contains(row.lane));
        self.held.follow(&claim);
        if !lanes.without(kept).is_empty() {
            self.state.versions.forget();
            self.state.next_read = Instant::now();
        }
        if claim.lanes.is_empty() {
            self.link.has_nothing_left();
        }
        self.state.claim = claim;
    }

    /// What is not acknowledged by then will be published again.
    fn give_up_at_stop(&mut self) {
        if !self.lifecycle.is_stopping() {
            return;
        }
        let stopped_at = *self.state.stopped_at.get_or_insert_with(Instant::now);
        if stopped_at.elapsed() > STOP_GRACE && self.state.flight.enqueued() > 0 {
            self.let_go("stopped before everything was acknowledged");
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        self.held.settle(outcome, &self.state.claim);
        self.state.cursor.sweep_now(Instant::now());
    }

    /// Tells of which lanes, that are not claimed any more, nothing is on its way.
    fn tell_quiet(&mut self) {
        let claimed: Lanes = self.state.claim.lanes.keys().copied().collect();
        let unclaimed = Lanes::ALL.without(claimed);
        let lanes = self.state.flight.quiet(unclaimed).without(self.held.busy_lanes());
        self.deleter.hurry(lanes != unclaimed);
        let quiet = Quiet { generation: self.state.claim.generation, lanes };
        self.quiet.send_if_modified(|told| std::mem::replace(told, quiet) != quiet);
    }
}
