//! From which id on the outbox is read.
//!
//! Ids are not in commit order: a row may appear behind those that were handled. A *sweep* reads from the first row on
//! and finds every row that was committed by its beginning. It is what is done as long as it is cheap. It is not where
//! many rows were deleted and not yet purged: then the cursor *trails*. It stands at an id below which every row was
//! inserted more than a second ago; what is read again is filtered by event id, and later still come only transactions
//! that stayed open for more than a second. The next sweep finds those.

use std::{collections::VecDeque, time::Duration};

use chrono::NaiveDateTime;
use tokio::time::Instant;

/// How long after its insertion a row may become visible and be found by the next read.
const TRAIL: Duration = Duration::from_secs(1);
/// How long it takes at the longest until a read begins at the first row.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// A sweep that took no longer is as good as any read.
const CHEAP: Duration = Duration::from_millis(3);
/// One that took longer is not done again for so many times as long, though a row waits for it...
const REST: u32 = 3;
/// ...and for so many times as long where nothing does: an old read view may keep millions of rows that were deleted.
const LONG_REST: u32 = 20;
/// So finely are the instants kept at which ids were handled.
const STEP: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Cursor {
    trail: u64,
    /// Behind a page that had more behind it, where that was no sweep.
    next_page: Option<u64>,
    /// The highest id that was read.
    high: u64,
    /// When which id was the highest: the oldest first, none older than [`TRAIL`] and a [`STEP`].
    marks: VecDeque<(Instant, u64)>,
    /// The lowest id that was read and has to be read again.
    again: Option<u64>,
    /// Where the read began that is under way.
    after: u64,
    sweep: Option<Sweep>,
    /// When the last complete sweep began, by the database's clock.
    proven: Option<NaiveDateTime>,
    /// Whether that one was cheap.
    cheap: bool,
    /// When the next sweep may begin if it is wanted, and when it must.
    may_sweep: Instant,
    must_sweep: Instant,
}

#[derive(Debug, Default)]
struct Sweep {
    at: u64,
    /// By the database's clock; not known before its first row.
    began: Option<NaiveDateTime>,
    took: Duration,
}

/// What a page was, for the cursor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The page's last id; None where it had no row.
    pub(super) last: Option<u64>,
    pub(super) settled: u64,
    pub(super) ended: bool,
    pub(super) read_at: Option<NaiveDateTime>,
    pub(super) took: Duration,
    /// The lowest id that was read and has to be read again.
    pub(super) again: Option<u64>,
}

impl Cursor {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            trail: 0,
            next_page: None,
            high: 0,
            marks: VecDeque::new(),
            again: None,
            after: 0,
            sweep: None,
            proven: None,
            cheap: false,
            may_sweep: now,
            must_sweep: now,
        }
    }

    /// The next read begins at the first row.
    pub(super) fn sweep_now(&mut self, now: Instant) {
        self.sweep = None;
        self.next_page = None;
        self.may_sweep = now;
        self.must_sweep = now;
    }

    /// When it has to be read even if nobody rang.
    pub(super) fn due(&self, now: Instant) -> Instant {
        if self.sweep.is_some() { now } else { self.must_sweep }
    }

    /// The id beyond which is to be read now, and the instant by which everything committed was seen before: None for
    /// that of the read itself.
    pub(super) fn begin_read(&mut self, now: Instant) -> (u64, Option<NaiveDateTime>) {
        if self.sweep.is_none() && (self.cheap || now >= self.must_sweep) {
            self.sweep = Some(Sweep::default());
            self.next_page = None;
        }
        if let Some(sweep) = &self.sweep {
            self.after = sweep.at;
            return (self.after, sweep.began);
        }
        let first = self.again.map_or(self.trail, |again| self.trail.min(again.saturating_sub(1)));
        self.after = self.next_page.unwrap_or(first);
        (self.after, self.proven)
    }

    pub(super) fn end_read(&mut self, seen: Seen, now: Instant) {
        self.high = self.high.max(seen.last.unwrap_or_default());
        if let Some(mut sweep) = self.sweep.take() {
            sweep.took += seen.took;
            sweep.began = sweep.began.or(seen.read_at);
            match seen.last {
                Some(last) if !seen.ended && last < self.high => self.sweep = Some(Sweep { at: last, ..sweep }),
                _ => self.end_sweep(&sweep, now),
            }
        }
        self.next_page = seen.last.filter(|_| !seen.ended);
        self.advance(seen.settled, now);
        let elsewhere = self.again.filter(|again| *again <= self.after);
        self.again = elsewhere.into_iter().chain(seen.again).min();
        if seen.again.is_some() {
            self.must_sweep = self.must_sweep.min(self.may_sweep);
        }
    }

    fn end_sweep(&mut self, sweep: &Sweep, now: Instant) {
        self.proven = sweep.began.or(self.proven);
        self.cheap = sweep.took <= CHEAP;
        self.may_sweep = if self.cheap { now } else { now + sweep.took * REST };
        self.must_sweep = now + SWEEP_INTERVAL.max(sweep.took * LONG_REST);
    }

    fn advance(&mut self, settled: u64, now: Instant) {
        self.trail = self.trail.max(settled);
        while let Some((_, id)) = self.marks.pop_front_if(|(at, _)| *at + TRAIL <= now) {
            self.trail = self.trail.max(id);
        }
        if self.marks.back().is_none_or(|(at, id)| *at + STEP <= now && *id < self.high) {
            self.marks.push_back((now, self.high));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Seen =
        Seen { last: None, settled: 0, ended: true, read_at: None, took: Duration::ZERO, again: None };

    /// The last one.
    fn page(last: u64, settled: u64, took: Duration) -> Seen {
        let read_at = chrono::DateTime::from_timestamp(1, 0).map(|at| at.naive_utc());
        Seen { last: Some(last), settled, ended: true, read_at, took, again: None }
    }

    #[test]
    fn it_sweeps_while_that_is_cheap() {
        let start = Instant::now();
        let mut cursor = Cursor::new(start);
        assert_eq!(cursor.begin_read(start), (0, None));
        cursor.end_read(page(100, 90, CHEAP), start);
        assert_eq!(cursor.begin_read(start), (0, None));
    }

    #[test]
    fn it_trails_young_rows_by_a_second_and_old_ones_not_at_all() {
        let start = Instant::now();
        let mut cursor = Cursor::new(start);
        cursor.begin_read(start);
        cursor.end_read(page(100, 90, CHEAP * 10), start);
        let (after, proven) = cursor.begin_read(start);
        assert_eq!(after, 90, "rows 91 to 100 are less than a second old");
        assert!(proven.is_some());
        let later = start + TRAIL;
        cursor.end_read(NOTHING, later);
        assert_eq!(cursor.begin_read(later).0, 100);
    }

    #[test]
    fn a_row_that_waits_is_read_again_and_by_a_sweep() {
        let start = Instant::now();
        let mut cursor = Cursor::new(start);
        cursor.begin_read(start);
        cursor.end_read(Seen { again: Some(42), ..page(100, 100, CHEAP * 10) }, start);
        assert_eq!(cursor.begin_read(start).0, 41);
        cursor.end_read(Seen { again: Some(42), ..page(100, 100, CHEAP) }, start);
        let allowed = cursor.due(start);
        assert!(allowed < start + SWEEP_INTERVAL);
        assert_eq!(cursor.begin_read(allowed).0, 0);
        cursor.end_read(page(100, 100, CHEAP * 10), allowed);
        assert_eq!(cursor.begin_read(allowed).0, 100);
    }

    #[test]
    fn it_sweeps_page_by_page_and_then_not_for_five_seconds() {
        let (start, long) = (Instant::now(), CHEAP * 10);
        let mut cursor = Cursor::new(start);
        cursor.begin_read(start);
        cursor.end_read(page(1_000, 1_000, long), start);
        let due = start + SWEEP_INTERVAL;
        assert_eq!(cursor.begin_read(due - STEP).0, 1_000);
        cursor.end_read(NOTHING, due - STEP);
        assert_eq!(cursor.begin_read(due).0, 0);
        cursor.end_read(Seen { ended: false, ..page(400, 400, long) }, due);
        assert_eq!(cursor.begin_read(due).0, 400);
        cursor.end_read(page(1_001, 1_001, long), due);
        assert_eq!(cursor.begin_read(due + STEP).0, 1_001);
    }

    #[test]
    fn a_full_page_is_followed_by_the_next_one() {
        let start = Instant::now();
        let mut cursor = Cursor::new(start);
        cursor.begin_read(start);
        cursor.end_read(Seen { ended: false, ..page(400, 0, CHEAP * 10) }, start);
        assert_eq!(cursor.begin_read(start).0, 400);
        cursor.end_read(page(500, 0, CHEAP * 10), start);
        assert_eq!(cursor.begin_read(start).0, 0, "all of these are less than a second old");
    }
}
