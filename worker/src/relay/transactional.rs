//! The relay where `kafka.delivery` is `transactional`: a consumer that reads committed records only sees each event
//! once.
//!
//! Lanes are owned in groups, and a group's transactional id fences an older owner at the broker. The Kafka transaction
//! that carries events also writes which rows they were ([`progress`]): what was committed and not deleted is deleted by
//! the group's next producer before it publishes anything. Within a group nothing overlaps ([`group`]); the groups do.

mod group;
mod progress;
mod session;

use std::{collections::BTreeMap, sync::Arc};

use shared::lane::{LANE_GROUPS, LANES_IN_A_GROUP, Lane, Lanes};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::ownership::{Claim, Quiet};
use group::Group;
pub(super) use group::Shared;

pub(super) struct Transactional {
    pub(super) shared: Shared,
    pub(super) claims: watch::Receiver<Claim>,
    pub(super) quiet: watch::Sender<Quiet>,
}

/// A group that is being drained.
struct Running {
    lanes: BTreeMap<Lane, u64>,
    rung: Arc<Notify>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Transactional {
    /// Until the lanes are given back.
    pub(super) async fn run(mut self) {
        let mut running: BTreeMap<u16, Running> = BTreeMap::new();
        loop {
            let claim = self.claims.borrow_and_update().clone();
            if claim.ended {
                break;
            }
            self.follow(&claim, &mut running).await;
            let busy: Lanes = running.values().flat_map(|group| group.lanes.keys().copied()).collect();
            let quiet = Quiet { generation: claim.generation, lanes: Lanes::ALL.without(busy) };
            self.quiet.send_if_modified(|told| std::mem::replace(told, quiet) != quiet);
            let doorbell = self.shared.doorbell.clone();
            tokio::select! {
                changed = self.claims.changed() => if changed.is_err() { break },
                () = doorbell.rung.notified() => {}
                () = doorbell.requests.notified() => {}
            }
            for group in running.values() {
                group.rung.notify_one();
            }
        }
        for group in running.values() {
            group.stop.cancel();
        }
    }

    /// Stops the groups whose lanes are others now, and starts those that are not drained.
    async fn follow(&self, claim: &Claim, running: &mut BTreeMap<u16, Running>) {
        for number in 0..LANE_GROUPS {
            let lanes: BTreeMap<Lane, u64> = claim
                .lanes
                .iter()
                .filter(|(lane, _)| lane.index() / usize::from(LANES_IN_A_GROUP) == usize::from(number))
                .map(|(lane, epoch)| (*lane, *epoch))
                .collect();
            if running.get(&number).is_some_and(|group| group.lanes == lanes) {
                continue;
            }
            if let Some(group) = running.remove(&number) {
                group.stop.cancel();
                // A panic was reported; the group is not drained either way.
                let _ = group.task.await;
            }
            if !lanes.is_empty() {
                running.insert(number, self.start(number, lanes));
            }
        }
    }

    fn start(&self, number: u16, lanes: BTreeMap<Lane, u64>) -> Running {
        let (rung, stop) = (Arc::new(Notify::new()), CancellationToken::new());
        let group =
            Group { shared: self.shared.clone(), number, lanes: lanes.clone(), rung: rung.clone(), stop: stop.clone() };
        Running { lanes, rung, stop, task: self.shared.lifecycle.spawn(group.run()) }
    }
}
