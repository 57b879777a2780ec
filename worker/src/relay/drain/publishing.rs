//! Of the loop: hands rows to the producer and learns what became of them.

use rdkafka::error::KafkaError;
use shared::{
    outbox::{self, RowId},
    telemetry::one_line,
};
use tokio::time::Instant;

use super::{
    super::producer::{EnqueueError, Poison, Report},
    Drain, SLOW,
};

impl Drain {
    /// Drops the producer with all that it has not reported; it is read and published again, by whoever may.
    pub(super) fn let_go(&mut self, reason: &str) {
        if self.link.drop_producer() {
            tracing::info!(reason, events = self.state.flight.enqueued(), "the producer is dropped");
        }
        self.state.flight.drop_producer();
        self.state.waiting.clear();
        self.state.cursor.sweep_now(Instant::now());
    }

    pub(super) fn collect_deleted(&mut self) {
        let deleted = self.deleter.take_deleted();
        self.state.flight.deleted(&deleted);
    }

    pub(super) fn collect_reports(&mut self) {
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
        for (lane, rows) in outbox::by_lane(&suspects) {
            let acknowledged = self.state.flight.known_in(lane);
            self.held.try_singly(lane, rows, acknowledged, &self.state.claim);
        }
    }

    /// Enqueues what was read, in its order, until the producer's queue is full.
    pub(super) fn enqueue_waiting(&mut self) {
        let Some(producer) = self.link.producer() else { return };
        while let Some(row) = self.state.waiting.pop() {
            if self.held.holds(&row) {
                continue;
            }
            // A worker that slept past its lease must not publish beside the next one. In this order: lanes that were lost
            // are told before the authority over the others is prolonged.
            if !self.authority.holds() || self.claims.has_changed().unwrap_or(true) {
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
}
