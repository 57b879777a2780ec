//! How long the relay waits for the bell before it looks anyway.

use std::time::Duration;

use shared::config::Outbox;

/// While the bell is known to work.
const WITH_BELL: Duration = Duration::from_secs(1);

pub(super) struct Idle {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Idle {
    pub(super) fn new(settings: &Outbox) -> Self {
        let least = Duration::from_millis(settings.poll_min_ms);
        Self { least, most: Duration::from_millis(settings.poll_max_ms), next: least }
    }

    /// After a read that found something or not, up to the end or not.
    pub(super) fn after(&mut self, found: bool, ended: bool, bell_works: bool) -> Duration {
        if found {
            self.next = self.least;
        }
        match (ended, bell_works) {
            (false, _) => Duration::ZERO,
            (true, true) => WITH_BELL,
            (true, false) if found => Duration::ZERO,
            (true, false) => {
                let wait = self.next;
                self.next = (wait * 2).min(self.most);
                wait
            }
        }
    }
}
