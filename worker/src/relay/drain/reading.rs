//! Of the loop: asks for rows and decides which of them are published now.

use std::time::Duration;

use shared::{
    lane::Lanes,
    outbox::{Page, PageLimit, Place},
    telemetry::one_line,
};
use tokio::time::Instant;

use super::{
    super::{
        cursor::{Cursor, Seen},
        reader::{Answer, Question, Read},
    },
    Drain, State,
};

/// A full batch on its way and another being enqueued.
const BATCHES_ON_THEIR_WAY: usize = 2;
/// How far publishing may be ahead of deleting.
const BATCHES_KNOWN: usize = 8;
/// After a read that failed.
const READ_PAUSE: Duration = Duration::from_millis(500);

impl Drain {
    /// Asks for the next rows, where there is room for them and a reason to expect some.
    pub(super) fn ask(&mut self) {
        let now = Instant::now();
        self.link.connect(&self.config.kafka, now);
        let lanes: Lanes = self.state.claim.lanes.keys().copied().collect();
        let unknown = !lanes.without(self.state.open).is_empty();
        if !self.reader.is_busy()
            && now >= self.state.not_before
            && (unknown || !self.link.knows_partitions() || self.held.wants_a_look(now))
        {
            self.held.asked();
            self.state.asked.clone_from(&self.state.claim);
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
    pub(super) fn readable(&self) -> Option<Lanes> {
        let batch = self.config.outbox.batch_rows as usize;
        let room = self.state.waiting.is_empty()
            && self.state.flight.enqueued() <= batch * (BATCHES_ON_THEIR_WAY - 1)
            && self.state.flight.len() <= batch * BATCHES_KNOWN;
        let lanes = self.state.open.without(self.held.waiting_lanes());
        (room && !self.reader.is_busy() && self.link.producer().is_some() && !lanes.is_empty()).then_some(lanes)
    }

    /// When there is a reason to read.
    pub(super) fn read_at(&self, now: Instant) -> Instant {
        let State { cursor, versions, next_read, not_before, .. } = &self.state;
        let due = cursor.due(now).min(*next_read);
        versions.next().map_or(due, |wait| wait.min(due)).max(*not_before)
    }

    pub(super) async fn take(&mut self, read: Read) {
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
                // What another worker had meanwhile is asked for again.
                let known = lanes.intersection(self.state.claim.kept_since(&self.state.asked));
                let fresh = known.without(self.state.open);
                self.held.known(known, entities, &self.state.claim);
                self.state.open = known;
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
        if fresh.is_empty() && again.is_none() && page.ended && self.state.flight.enqueued() == 0 {
            self.link.has_nothing_left();
        }
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
}
