//! Who listens to what. A frame is made once for all sockets; none of them waits for another.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use shared::entity::Id;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_util::sync::CancellationToken;

#[derive(Clone, Default)]
pub(crate) struct Hub(Arc<Listeners>);

#[derive(Default)]
struct Listeners {
    by_user: RwLock<HashMap<Id, HashMap<u64, Listener>>>,
    next_number: AtomicU64,
}

struct Listener {
    frames: mpsc::Sender<Arc<str>>,
    missed: CancellationToken,
}

/// A place in the hub, until it is dropped.
pub(crate) struct Subscription {
    pub(crate) frames: mpsc::Receiver<Arc<str>>,
    /// Cancelled when what follows would have a hole: a frame did not fit into the queue, or the tail lost its place.
    pub(crate) missed: CancellationToken,
    hub: Hub,
    user: Id,
    number: u64,
}

impl Hub {
    /// Begins to listen for a user's events, with room for so many frames.
    pub(crate) fn subscribe(&self, user: Id, queue_frames: usize) -> Subscription {
        let (sender, frames) = mpsc::channel(queue_frames);
        let missed = CancellationToken::new();
        let number = self.0.next_number.fetch_add(1, Ordering::Relaxed);
        let listener = Listener { frames: sender, missed: missed.clone() };
        let mut by_user = self.0.by_user.write().unwrap_or_else(PoisonError::into_inner);
        by_user.entry(user.clone()).or_default().insert(number, listener);
        Subscription { frames, missed, hub: self.clone(), user, number }
    }

    /// Gives a frame to every socket of its recipient, without waiting for any.
    pub(crate) fn publish(&self, recipient: &Id, frame: &Arc<str>) {
        let by_user = self.0.by_user.read().unwrap_or_else(PoisonError::into_inner);
        for listener in by_user.get(recipient).into_iter().flat_map(HashMap::values) {
            if !listener.missed.is_cancelled()
                && let Err(TrySendError::Full(_)) = listener.frames.try_send(frame.clone())
            {
                listener.missed.cancel();
            }
        }
    }

    /// Ends all subscriptions: something was published that they were not given.
    pub(crate) fn end_all(&self) {
        let by_user = self.0.by_user.read().unwrap_or_else(PoisonError::into_inner);
        by_user.values().flat_map(HashMap::values).for_each(|listener| listener.missed.cancel());
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut by_user = self.hub.0.by_user.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(listeners) = by_user.get_mut(&self.user) {
            listeners.remove(&self.number);
            if listeners.is_empty() {
                by_user.remove(&self.user);
            }
        }
    }
}
