//! From which id on the outbox is read.
//!
//! Ids are not in commit order: a row may appear behind those that were handled. So the cursor *trails*: it stands at
//! an id below which every row was inserted more than a second ago, and what is read again is filtered by event id.
//! Later still come only transactions that stayed open for more than a second; a sweep from the first row on finds them.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How long after its insertion a row may become visible and be found by the next read.
const TRAIL: Duration = Duration::from_secs(1);
/// How long it takes at the longest until a read begins at the first row.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
/// A sweep that takes long, as where an old read view keeps what was deleted, takes a twentieth of the time at most.
const SWEEP_SHARE: u32 = 20;
/// So finely are the instants kept at which ids were handled.
const STEP: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Cursor {
    trail: u64,
    /// The highest id that was read.
    high: u64,
    /// When which id was the highest: the oldest first, none older than [`TRAIL`] and a [`STEP`].
    marks: VecDeque<(Instant, u64)>,
    /// The lowest id that was read and has to be read again.
    again: Option<u64>,
    /// Where the read began that is under way.
    after: u64,
    sweep: Option<Sweep>,
    next_sweep: Instant,
}

#[derive(Debug)]
struct Sweep {
    at: u64,
    began: Instant,
}

/// What a page was, for the cursor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The page's last id; None where it had no row.
    pub(super) last: Option<u64>,
    pub(super) settled: u64,
    pub(super) ended: bool,
    /// The lowest id that was read and has to be read again.
    pub(super) again: Option<u64>,
}

impl Cursor {
    pub(super) fn new(now: Instant) -> Self {
        Self { trail: 0, high: 0, marks: VecDeque::new(), again: None, after: 0, sweep: None, next_sweep: now }
    }

    /// The next read begins at the first row.
    pub(super) fn sweep_now(&mut self, now: Instant) {
        self.sweep = None;
        self.next_sweep = now;
    }

    /// Whether reading has to go on even if nobody rang.
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    pub(super) fn next_sweep(&self) -> Instant {
        self.next_sweep
    }

    /// The id beyond which is to be read now.
    pub(super) fn begin_read(&mut self, now: Instant) -> u64 {
        if self.sweep.is_none() && now >= self.next_sweep {
            self.sweep = Some(Sweep { at: 0, began: now });
        }
        let trail = self.again.map_or(self.trail, |again| self.trail.min(again.saturating_sub(1)));
        self.after = self.sweep.as_ref().map_or(trail, |sweep| sweep.at);
        self.after
    }

    pub(super) fn end_read(&mut self, seen: Seen, now: Instant) {
        self.high = self.high.max(seen.last.unwrap_or_default());
        if let Some(sweep) = &mut self.sweep {
            match seen.last {
                Some(last) if !seen.ended && last < self.high => sweep.at = last,
                _ => {
                    self.next_sweep = now + SWEEP_INTERVAL.max((now - sweep.began) * SWEEP_SHARE);
                    self.sweep = None;
                }
            }
        }
        self.advance(seen.settled, now);
        let elsewhere = self.again.filter(|again| *again <= self.after);
        self.again = elsewhere.into_iter().chain(seen.again).min();
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

    fn page(last: u64, settled: u64) -> Seen {
        Seen { last: Some(last), settled, ended: false, again: None }
    }

    #[test]
    fn it_trails_young_rows_by_a_second_and_old_ones_not_at_all() {
        let start = Instant::now();
        let mut cursor = Cursor::new(start);
        assert_eq!(cursor.begin_read(start), 0);
        cursor.end_read(page(100, 90), start);
        assert_eq!(cursor.begin_read(start), 90, "rows 91 to 100 are less than a second old");
        let later = start + TRAIL;
        cursor.end_read(Seen { last: None, settled: 0, ended: true, again: None }, later);
        assert_eq!(cursor.begin_read(later), 100);
    }

    #[test]
    fn a_row_that_waits_is_read_again() {
        let start = Instant::now();
        let mut cursor = Cursor::new(start);
        cursor.begin_read(start);
        cursor.end_read(Seen { again: Some(42), ..page(100, 100) }, start);
        assert_eq!(cursor.begin_read(start), 41);
    }

    #[test]
    fn it_sweeps_page_by_page_and_then_not_for_five_seconds() {
        let start = Instant::now();
        let mut cursor = Cursor::new(start);
        cursor.begin_read(start);
        cursor.end_read(page(1_000, 1_000), start);
        let due = start + SWEEP_INTERVAL;
        assert_eq!(cursor.begin_read(due - STEP), 1_000);
        cursor.end_read(Seen { last: None, settled: 0, ended: true, again: None }, due - STEP);
        assert_eq!(cursor.begin_read(due), 0);
        cursor.end_read(page(400, 400), due);
        assert_eq!(cursor.begin_read(due), 400);
        cursor.end_read(page(1_001, 1_001), due);
        assert_eq!(cursor.begin_read(due + STEP), 1_001);
    }
}
