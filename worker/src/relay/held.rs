//! The entities that are held by parked events, and the lanes that wait while suspects are tried.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use shared::{
    lane::{Lane, Lanes},
    outbox::{Fence, HeldEntity, Pending, RowId},
};
use tokio::{sync::mpsc, time::Instant};
use uuid::Uuid;

use super::{
    ownership::Claim,
    producer::Poison,
    singly::{Singly, tried_again},
};

/// How often an operator's request is looked for where nobody rang.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// More poison than that in a minute is no accident of single events.
const MOST_POISON_A_MINUTE: usize = 10;
const MINUTE: Duration = Duration::from_mins(1);
const PAUSE_REASON: &str = "more than 10 poison events in a minute";
/// After work on single entities failed.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What became of the work on single entities.
pub(super) enum Outcome {
    /// The suspects of the lane are published or parked; or it is all tried again, where that failed.
    Tried { lane: Lane, held: Vec<HeldEntity> },
    /// The entity's poison is parked; if not, it is found again.
    Parked { entity: HeldEntity, parked: bool },
    /// These are held no more.
    Released { lifted: Vec<HeldEntity> },
}

pub(super) struct Held {
    singly: Singly,
    worker: String,
    entities: HashSet<HeldEntity>,
    /// Those of them that an answer to the last question may not know yet.
    since_asked: HashSet<HeldEntity>,
    /// Whose poison is being parked.
    parking: HashSet<HeldEntity>,
    /// Lanes whose suspects are being tried.
    trying: Lanes,
    /// Lanes of which parked events are being published.
    releasing: Lanes,
    poisons: HashMap<Lane, VecDeque<Instant>>,
    next_look: Instant,
    outcomes: mpsc::Receiver<Outcome>,
    finished: mpsc::Sender<Outcome>,
}

impl Held {
    pub(super) fn new(singly: Singly, worker: String) -> Self {
        let (finished, outcomes) = mpsc::channel(64);
        Self {
            singly,
            worker,
            entities: HashSet::new(),
            since_asked: HashSet::new(),
            parking: HashSet::new(),
            trying: Lanes::NONE,
            releasing: Lanes::NONE,
            poisons: HashMap::new(),
            next_look: Instant::now(),
            outcomes,
            finished,
        }
    }

    /// Whether the row's entity is held.
    pub(super) fn holds(&self, row: &Pending) -> bool {
        if self.entities.is_empty() && self.parking.is_empty() {
            return false;
        }
        let entity = row.entity();
        self.entities.contains(&entity) || self.parking.contains(&entity)
    }

    /// Lanes that are not to be read.
    pub(super) fn waiting_lanes(&self) -> Lanes {
        self.trying
    }

    /// Lanes that are not quiet.
    pub(super) fn busy_lanes(&self) -> Lanes {
        let parking: Lanes = self.parking.iter().map(|entity| entity.lane).collect();
        Lanes(self.trying.0 | self.releasing.0 | parking.0)
    }

    pub(super) fn follow(&mut self, claim: &Claim) {
        self.entities.retain(|entity| claim.lanes.contains_key(&entity.lane));
    }

    pub(super) fn wants_a_look(&self, now: Instant) -> bool {
        !self.entities.is_empty() && self.releasing.is_empty() && now >= self.next_look
    }

    pub(super) fn look_now(&mut self) {
        self.next_look = Instant::now();
    }

    /// The outbox is asked: what is parked from now on may not be in its answer.
    pub(super) fn asked(&mut self) {
        self.since_asked.clear();
    }

    /// What the outbox says of these lanes.
    pub(super) fn known(&mut self, lanes: Lanes, entities: Vec<HeldEntity>, claim: &Claim) {
        self.next_look = Instant::now() + LOOK_INTERVAL;
        self.entities.retain(|entity| !lanes.contains(entity.lane));
        // What is not there any more was discarded, with nothing behind it.
        self.entities.extend(entities);
        self.entities.extend(self.since_asked.drain());
        self.follow(claim);
        let mine = self.entities.iter().filter(|entity| self.releasing.is_empty() && lanes.contains(entity.lane));
        let work: Vec<_> = mine.filter_map(|entity| Some((self.fence(entity.lane, claim)?, entity.clone()))).collect();
        if work.is_empty() {
            return;
        }
        self.releasing = work.iter().map(|(fence, _)| fence.lane).collect();
        let (singly, finished) = (self.singly.clone(), self.finished.clone());
        self.singly.lifecycle.clone().spawn(async move {
            let lifted = release_all(&singly, work).await;
            // The relay is gone otherwise.
            let _ = finished.send(Outcome::Released { lifted }).await;
        });
    }

    /// The row is broken: it waits for an operator, and its entity with it.
    pub(super) fn park(&mut self, row: Pending, poison: Poison, claim: &Claim) {
        let entity = row.entity();
        let Some(fence) = self.fence(entity.lane, claim) else { return };
        if !self.parking.insert(entity.clone()) {
            return;
        }
        let pause = self.is_too_much(entity.lane);
        let (singly, finished) = (self.singly.clone(), self.finished.clone());
        self.singly.lifecycle.clone().spawn(async move {
            let parked = if pause {
                singly.pause_lane(&fence, PAUSE_REASON).await
            } else {
                singly.park(&fence, &row, poison).await
            };
            if let Err(error) = &parked {
                tried_again(error);
            }
            if parked.is_err() || pause {
                singly.lifecycle.pause(RETRY_PAUSE).await;
            }
            // The relay is gone otherwise.
            let _ = finished.send(Outcome::Parked { entity, parked: parked.is_ok() && !pause }).await;
        });
    }

    /// The lane waits while its suspects are tried alone.
    pub(super) fn try_singly(&mut self, lane: Lane, suspects: Vec<RowId>, acknowledged: HashSet<Uuid>, claim: &Claim) {
        let Some(fence) = self.fence(lane, claim) else { return };
        if self.trying.contains(lane) {
            return;
        }
        self.trying.insert(lane);
        let pause = self.is_too_much(lane);
        let (singly, finished) = (self.singly.clone(), self.finished.clone());
        self.singly.lifecycle.clone().spawn(async move {
            let tried = if pause {
                singly.pause_lane(&fence, PAUSE_REASON).await.map(|()| Vec::new())
            } else {
                singly.try_suspects(&fence, &suspects, &acknowledged).await
            };
            let held = match tried {
                Ok(held) => held,
                Err(error) => {
                    tried_again(&error);
                    singly.lifecycle.pause(RETRY_PAUSE).await;
                    Vec::new()
                }
            };
            // The relay is gone otherwise.
            let _ = finished.send(Outcome::Tried { lane, held }).await;
        });
    }

    pub(super) async fn outcome(&mut self) -> Outcome {
        match self.outcomes.recv().await {
            Some(outcome) => outcome,
            // It holds a sender itself.
            None => std::future::pending().await,
        }
    }

    pub(super) fn settle(&mut self, outcome: Outcome, claim: &Claim) {
        match outcome {
            Outcome::Tried { lane, held } => {
                self.trying.remove(lane);
                self.since_asked.extend(held.iter().cloned());
                self.entities.extend(held);
            }
            Outcome::Parked { entity, parked } => {
                self.parking.remove(&entity);
                if parked {
                    self.since_asked.insert(entity.clone());
                    self.entities.insert(entity);
                }
            }
            Outcome::Released { lifted } => {
                self.releasing = Lanes::NONE;
                for entity in lifted {
                    self.entities.remove(&entity);
                }
            }
        }
        self.follow(claim);
    }

    fn fence(&self, lane: Lane, claim: &Claim) -> Option<Fence> {
        Some(Fence { worker: self.worker.clone(), lane, epoch: *claim.lanes.get(&lane)? })
    }

    fn is_too_much(&mut self, lane: Lane) -> bool {
        let now = Instant::now();
        let poisons = self.poisons.entry(lane).or_default();
        while poisons.pop_front_if(|at| *at + MINUTE <= now).is_some() {}
        poisons.push_back(now);
        poisons.len() > MOST_POISON_A_MINUTE
    }
}

async fn release_all(singly: &Singly, work: Vec<(Fence, HeldEntity)>) -> Vec<HeldEntity> {
    let mut lifted = Vec::new();
    let mut producer = None;
    let released = async {
        let mut connection = singly.connection().await?;
        for (fence, entity) in work {
            if singly.release(&mut producer, &mut connection, &fence, &entity).await? {
                lifted.push(entity);
            }
        }
        Ok(())
    };
    if let Err(error) = released.await {
        tried_again(&error);
    }
    if let Some(producer) = producer {
        producer.discard().await;
    }
    lifted
}
