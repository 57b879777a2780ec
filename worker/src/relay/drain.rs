//! The loop that reads, publishes and deletes.
//!
//! It owns everything that is known of the rows on their way, in one task: so of each lane one task enqueues, in the
//! order of the ids. Reading, deleting, connecting and what concerns single entities run beside it and answer here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::error::KafkaError;
use shared::{
    config::Config,
    lane::{Lane, Lanes},
    lifecycle::Lifecycle,
    outbox::{Page, PageLimit, Pending, Place, RowId},
    telemetry::one_line,
};
use tokio::{sync::watch, time::Instant};

use super::{
    authority::Authority,
    cursor::{Cursor, Seen},
    deleter::Deleter,
    doorbell::Doorbell,
    flight::Flight,
    held::{Held, Outcome},
    idle::Idle,
    invalidation::Invalidator,
    link::Link,
    ownership::{Claim, Quiet},
    producer::{EnqueueError, Poison, Report},
    reader::{Answer, Question, Read, Reader},
    versions::Versions,
};

/// A full batch on its way and another being enqueued.
const BATCHES_ON_THEIR_WAY: usize = 2;
/// How far publishing may be ahead of deleting.
const BATCHES_KNOWN: usize = 8;
/// At a stop: how long what is in flight may take to be acknowledged. What is not will be published again.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Acknowledgements that do not come for so long are trouble.
const SLOW: Duration = Duration::from_secs(10);
/// After a read that failed.
const READ_PAUSE: Duration = Duration::from_millis(500);

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
        let kept: Lanes = self
            .state
            .claim
            .lanes
            .iter()
            .filter(|(lane, epoch)| claim.lanes.get(lane) == Some(epoch))
            .map(|it| *it.0)
            .collect();
        self.state.open = self.state.open.intersection(kept);
        self.state.waiting.retain(|row| lanes.contains(row.lane));
        self.held.follow(&claim);
        if !lanes.without(kept).is_empty() {
            self.state.versions.forget();
            self.state.next_read = Instant::now();
        }
        self.deleter.hurry(claim.lanes.len() < self.state.claim.lanes.len());
        self.state.claim = claim;
    }

    /// Drops the producer with all that it has not reported; it is read and published again, by whoever may.
    fn let_go(&mut self, reason: &str) {
        if self.link.drop_producer() {
            tracing::info!(reason, events = self.state.flight.enqueued(), "the producer is dropped");
        }
        self.state.flight.drop_producer();
        self.state.waiting.clear();
        self.state.cursor.sweep_now(Instant::now());
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

    fn collect_deleted(&mut self) {
        let deleted = self.deleter.take_deleted();
        self.state.flight.deleted(&deleted);
    }

    fn collect_reports(&mut self) {
        let reports = self.link.reports();
        if reports.is_empty() {
            if self.state.flight.enqueued() > 0 && self.state.progress.elapsed() > SLOW {
                self.link.is_slow();
            }
            return;
        }
        self.state.progress = Instant::now();
        let mut failures = Vec::new();
        let mut acknowledged: Vec<RowId> = Vec::with_capacity(reports.len());
        for Report { token, failure } in reports {
            match failure {
                None => acknowledged.extend(self.state.flight.acknowledge(token)),
                Some(error) => failures.extend(self.state.flight.row(token).map(|row| (row, error))),
            }
        }
        self.deleter.push(&acknowledged);
        if !failures.is_empty() {
            self.recover(&failures);
        } else if !acknowledged.is_empty() {
            self.link.delivers();
        }
    }

    /// A record behind the one that failed may be on its way: the producer goes. What is a record's own fault is tried
    /// again alone; anything else is waited out.
    fn recover(&mut self, failures: &[(RowId, KafkaError)]) {
        let suspects: Vec<RowId> =
            failures.iter().filter(|(_, error)| Poison::of(error).is_some()).map(|(row, _)| *row).collect();
        let error = failures.first().map(|(_, error)| one_line(error)).unwrap_or_default();
        self.let_go(&error);
        if suspects.is_empty() {
            self.link.back_off(error);
        }
        for (lane, rows) in by_lane(&suspects) {
            let acknowledged = self.state.flight.known_in(lane);
            self.held.try_singly(lane, rows, acknowledged, &self.state.claim);
        }
    }

    /// Enqueues what was read, in its order, until the producer's queue is full.
    fn enqueue_waiting(&mut self) {
        let Some(producer) = self.link.producer() else { return };
        while let Some(row) = self.state.waiting.pop() {
            if self.held.holds(&row) {
                continue;
            }
            // A worker that slept past its lease must not publish beside the next one.
            if !self.authority.holds() {
                self.state.waiting.push(row);
                return;
            }
            match producer.enqueue(&row, self.state.flight.next_token()) {
                Ok(()) => {
                    if self.state.flight.enqueued() == 0 {
                        self.state.progress = Instant::now();
                    }
                    self.state.flight.enqueue(row.row_id());
                }
                Err(EnqueueError::Full) => {
                    self.state.waiting.push(row);
                    return;
                }
                Err(EnqueueError::Poison(poison)) => self.held.park(row, poison, &self.state.claim),
                Err(EnqueueError::Producer(error)) => {
                    let error = one_line(&error);
                    self.let_go(&error);
                    self.link.back_off(error);
                    return;
                }
            }
        }
    }

    /// Asks for the next rows, where there is room for them and a reason to expect some.
    fn ask(&mut self) {
        let now = Instant::now();
        self.link.connect(&self.config.kafka, now);
        let lanes: Lanes = self.state.claim.lanes.keys().copied().collect();
        let unknown = !lanes.without(self.state.open).is_empty();
        if !self.reader.is_busy()
            && now >= self.state.not_before
            && (unknown || !self.link.knows_partitions() || self.held.wants_a_look(now))
        {
            self.reader.ask(Question::Held { lanes });
        }
        let Some(open) = self.readable().filter(|_| now >= self.read_at(now)) else { return };
        let limit = PageLimit { rows: self.state.page_rows, bytes: self.config.outbox.batch_bytes };
        self.state.read_began = now;
        self.state.flight.begin_read();
        let (after, proven) = self.state.cursor.begin_read(now);
        self.reader.ask(Question::Page { place: Place { lanes: open, after, proven }, limit });
    }

    /// The lanes that can be read now, where there is room for rows.
    fn readable(&self) -> Option<Lanes> {
        let batch = self.config.outbox.batch_rows as usize;
        let room = self.state.waiting.is_empty()
            && self.state.flight.enqueued() <= batch * (BATCHES_ON_THEIR_WAY - 1)
            && self.state.flight.len() <= batch * BATCHES_KNOWN;
        let lanes = self.state.open.without(self.held.waiting_lanes());
        (room && !self.reader.is_busy() && self.link.producer().is_some() && !lanes.is_empty()).then_some(lanes)
    }

    /// When there is a reason to read.
    fn read_at(&self, now: Instant) -> Instant {
        let State { cursor, versions, next_read, not_before, .. } = &self.state;
        let due = cursor.due(now).min(*next_read);
        versions.next().map_or(due, |wait| wait.min(due)).max(*not_before)
    }

    async fn take(&mut self, read: Read) {
        if read.server.is_some() && read.server != self.state.server {
            if self.state.server.is_some() {
                tracing::warn!("another MySQL server: everything is read anew");
                self.state.flight.forget_acknowledged();
            }
            self.state.server = read.server;
            self.state.cursor = Cursor::new(Instant::now());
        }
        if read.reconnected {
            self.state.cursor.sweep_now(Instant::now());
        }
        match read.answer {
            Ok(Answer::Page { page, took }) => self.take_page(page, took).await,
            Ok(Answer::Held { lanes, entities, partitions }) => {
                if self.link.pin_partitions(partitions) {
                    self.let_go("the topic was expanded");
                }
                let fresh = lanes.without(self.state.open);
                self.held.known(lanes, entities, &self.state.claim);
                self.state.open = lanes;
                if !fresh.is_empty() {
                    self.state.cursor.sweep_now(Instant::now());
                    self.state.next_read = Instant::now();
                }
            }
            Err(error) => {
                self.state.flight.end_read();
                tracing::warn!(error = one_line(&error), "the outbox could not be read");
                self.state.cursor.sweep_now(Instant::now());
                self.state.not_before = Instant::now() + READ_PAUSE;
            }
        }
    }

    async fn take_page(&mut self, page: Page, took: Duration) {
        let now = Instant::now();
        let (count, last) = (page.rows.len(), page.rows.last().map(|row| row.pending.id));
        let lanes: Lanes = self.state.claim.lanes.keys().copied().collect();
        let open = lanes.intersection(self.state.open).without(self.held.waiting_lanes());
        let mut again = None;
        let mut fresh = Vec::new();
        for row in page.rows {
            let pending = &row.pending;
            if self.state.flight.contains(&pending.event_id) || !open.contains(pending.lane) || self.held.holds(pending)
            {
                continue;
            }
            if self.state.versions.admits(&row, now) {
                fresh.push(row.pending);
            } else {
                again = again.or(Some(pending.id));
            }
        }
        self.state.flight.end_read();
        self.state.versions.end_read(self.state.read_began);
        self.state
            .cursor
            .end_read(Seen { last, settled: page.settled, ended: page.ended, read_at: page.read_at, took, again }, now);
        self.adapt(count, page.cut);
        self.state.next_read = now + self.state.idle.after(!fresh.is_empty(), page.ended, self.doorbell.works());
        self.invalidator.invalidate(&fresh).await;
        fresh.reverse();
        self.state.waiting = fresh;
    }

    /// A page that was cut for its bytes asks for fewer rows next time; small ones let the number grow again.
    fn adapt(&mut self, rows: usize, cut: bool) {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let most = self.config.outbox.batch_rows;
        self.state.page_rows = if cut { rows.max(1) } else { (self.state.page_rows * 2).min(most) };
    }

    fn settle(&mut self, outcome: Outcome) {
        self.held.settle(outcome, &self.state.claim);
        self.state.cursor.sweep_now(Instant::now());
    }

    /// Tells of which lanes, that are not claimed any more, nothing is on its way.
    fn tell_quiet(&mut self) {
        let claimed: Lanes = self.state.claim.lanes.keys().copied().collect();
        let lanes = self.state.flight.quiet(Lanes::ALL.without(claimed)).without(self.held.busy_lanes());
        let quiet = Quiet { generation: self.state.claim.generation, lanes };
        self.quiet.send_if_modified(|told| std::mem::replace(told, quiet) != quiet);
    }
}

fn by_lane(rows: &[RowId]) -> BTreeMap<Lane, Vec<RowId>> {
    let mut lanes: BTreeMap<Lane, Vec<RowId>> = BTreeMap::new();
    for row in rows {
        lanes.entry(row.lane).or_default().push(*row);
    }
    lanes
}
