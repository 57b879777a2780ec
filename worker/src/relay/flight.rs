//! Which rows are on their way, by event id: what a read returns of them is not published again.
//!
//! ```text
//!     enqueued --acknowledged--> acknowledged --deleted--> gone --the read under way has ended--> (forgotten)
//!        +----- its producer was dropped -----> (forgotten, and read again)
//! ```
//!
//! A row that was deleted may still come in a read that began before the delete was committed.

use std::collections::{HashMap, HashSet};

use shared::{
    lane::{LANES, Lane, Lanes},
    outbox::RowId,
};
use uuid::Uuid;

/// Names a row to the producer that it was handed to.
pub(super) type Token = usize;

pub(super) struct Flight {
    enqueued: HashMap<Token, RowId>,
    next_token: Token,
    /// Everything that is filtered: enqueued, acknowledged or gone.
    known: HashMap<Uuid, Known>,
    /// Of each lane, how many rows are enqueued, or acknowledged and not deleted.
    unfinished: [usize; LANES as usize],
    reading: bool,
    /// Gone, and perhaps in the read that is under way.
    gone: Vec<Uuid>,
}

struct Known {
    lane: Lane,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Enqueued,
    Acknowledged,
    Gone,
}

impl Flight {
    pub(super) fn new() -> Self {
        Self {
            enqueued: HashMap::new(),
            next_token: 0,
            known: HashMap::new(),
            unfinished: [0; LANES as usize],
            reading: false,
            gone: Vec::new(),
        }
    }

    pub(super) fn contains(&self, event_id: &Uuid) -> bool {
        self.known.contains_key(event_id)
    }

    /// How many rows a read may return in vain.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn enqueued(&self) -> usize {
        self.enqueued.len()
    }

    /// The token with which the next row is to be enqueued.
    pub(super) fn next_token(&self) -> Token {
        self.next_token
    }

    /// The producer took the row under [`next_token`](Self::next_token).
    pub(super) fn enqueue(&mut self, row: RowId) {
        self.enqueued.insert(self.next_token, row);
        self.next_token += 1;
        self.known.insert(row.event_id, Known { lane: row.lane, state: State::Enqueued });
        self.unfinished[row.lane.index()] += 1;
    }

    /// None for what an earlier producer reports late.
    pub(super) fn acknowledge(&mut self, token: Token) -> Option<RowId> {
        let row = self.enqueued.remove(&token)?;
        self.known.insert(row.event_id, Known { lane: row.lane, state: State::Acknowledged });
        Some(row)
    }

    /// The row that the producer could not deliver.
    pub(super) fn row(&self, token: Token) -> Option<RowId> {
        self.enqueued.get(&token).copied()
    }

    /// The events of a lane that are not to be published again.
    pub(super) fn known_in(&self, lane: Lane) -> HashSet<Uuid> {
        self.known.iter().filter(|(_, known)| known.lane == lane).map(|(event_id, _)| *event_id).collect()
    }

    /// Forgets what the producer has not reported: it is to be read and published again.
    pub(super) fn drop_producer(&mut self) {
        for (_, row) in self.enqueued.drain() {
            self.known.remove(&row.event_id);
            self.unfinished[row.lane.index()] -= 1;
        }
    }

    /// Acknowledged rows that are not in the outbox any more.
    pub(super) fn deleted(&mut self, rows: &[RowId]) {
        for row in rows {
            let Some(known) = self.known.get_mut(&row.event_id).filter(|known| known.state == State::Acknowledged)
            else {
                continue;
            };
            self.unfinished[row.lane.index()] -= 1;
            if self.reading {
                known.state = State::Gone;
                self.gone.push(row.event_id);
            } else {
                self.known.remove(&row.event_id);
            }
        }
    }

    pub(super) fn begin_read(&mut self) {
        self.reading = true;
    }

    /// What the read returned has been filtered.
    pub(super) fn end_read(&mut self) {
        self.reading = false;
        for event_id in self.gone.drain(..) {
            self.known.remove(&event_id);
        }
    }

    /// MySQL has failed over: what was acknowledged there may be pending here, under ids that repeat.
    pub(super) fn forget_acknowledged(&mut self) {
        self.gone.clear();
        self.known.retain(|_, known| known.state == State::Enqueued);
        self.unfinished = [0; LANES as usize];
        for row in self.enqueued.values() {
            self.unfinished[row.lane.index()] += 1;
        }
    }

    /// Those of the lanes of which nothing is on its way.
    pub(super) fn quiet(&self, lanes: Lanes) -> Lanes {
        lanes.iter().filter(|lane: &Lane| self.unfinished[lane.index()] == 0).collect()
    }
}
