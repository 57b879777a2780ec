//! The right to drain, as an instant at which it ends.
//!
//! It counts from the instant before the renewing statement was sent, so it ends before the lease does, whatever the
//! statement took; and by `CLOCK_BOOTTIME`, which goes on while the machine is suspended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Of the lease's duration, so long before its end the authority ends: for what is between a check and its effect.
const MARGIN_DIVISOR: u32 = 5;

/// Over all lanes that this worker owns. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Authority {
    /// In milliseconds of `CLOCK_BOOTTIME`; 0 where there is none.
    until_ms: Arc<AtomicU64>,
}

impl Authority {
    pub(super) fn holds(&self) -> bool {
        boottime_ms() < self.until_ms.load(Ordering::Acquire)
    }

    /// For the duration of a lease whose renewal was sent at that instant.
    pub(super) fn extend(&self, sent_ms: u64, lease: Duration) {
        let authority = lease / MARGIN_DIVISOR * (MARGIN_DIVISOR - 1);
        let authority_ms = u64::try_from(authority.as_millis()).unwrap_or(u64::MAX);
        self.until_ms.store(sent_ms.saturating_add(authority_ms), Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.until_ms.store(0, Ordering::Release);
    }
}

pub(super) fn boottime_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec.cast_unsigned() * 1_000 + now.tv_nsec.cast_unsigned() / 1_000_000
}
