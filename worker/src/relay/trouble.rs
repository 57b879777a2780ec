//! What keeps this worker from publishing, for `outbox status`.

use std::sync::{Arc, Mutex, PoisonError};

/// One line, without data. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    pub(super) fn is(&self, what: String) {
        let mut trouble = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&what) {
            tracing::warn!(trouble = what, "the relay cannot publish");
            *trouble = Some(what);
        }
    }

    pub(super) fn over(&self) {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some() {
            tracing::info!("the relay publishes again");
        }
    }

    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
