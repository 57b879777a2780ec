//! The way to Kafka: makes a producer, and another after a failure, never in the loop that waits for it.

use std::time::Duration;

use rand::RngExt;
use shared::{config::Kafka, lifecycle::Lifecycle, telemetry::one_line};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    producer::{Producer, ProducerError, Report},
    trouble::Trouble,
};

const LEAST_PAUSE: Duration = Duration::from_millis(100);
const MOST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Link {
    producer: Option<Producer>,
    /// The pinned number; None until it is known.
    partitions: Option<u16>,
    making: Option<JoinHandle<Result<Producer, ProducerError>>>,
    /// The last one, while it closes.
    closing: Option<JoinHandle<()>>,
    failures: u32,
    not_before: Instant,
    client_error: Option<String>,
    trouble: Trouble,
    lifecycle: Lifecycle,
}

impl Link {
    pub(super) fn new(trouble: Trouble, lifecycle: Lifecycle) -> Self {
        Self {
            producer: None,
            partitions: None,
            making: None,
            closing: None,
            failures: 0,
            not_before: Instant::now(),
            client_error: None,
            trouble,
            lifecycle,
        }
    }

    pub(super) fn producer(&self) -> Option<&Producer> {
        self.producer.as_ref()
    }

    /// Begins to make a producer where there is none and it is time.
    pub(super) fn connect(&mut self, settings: &Kafka, now: Instant) {
        if self.producer.is_some() || self.making.is_some() || now < self.not_before {
            return;
        }
        let Some(partitions) = self.partitions else { return };
        let (settings, closing) = (settings.clone(), self.closing.take());
        self.making = Some(self.lifecycle.spawn(async move {
            if let Some(closing) = closing {
                // It ends in time, whatever it ends with.
                let _ = closing.await;
            }
            Producer::connect(&settings, partitions).await
        }));
    }

    pub(super) fn knows_partitions(&self) -> bool {
        self.partitions.is_some()
    }

    /// True where it is another number than before: the producer must go.
    pub(super) fn pin_partitions(&mut self, pinned: u16) -> bool {
        self.partitions.replace(pinned).is_some_and(|before| before != pinned)
    }

    /// When a producer should be made, where there is none.
    pub(super) fn next(&self) -> Option<Instant> {
        (self.producer.is_none() && self.making.is_none() && self.partitions.is_some()).then_some(self.not_before)
    }

    /// Ends when there are reports, or a producer was made or could not be.
    pub(super) async fn happened(&mut self) {
        if let Some(making) = &mut self.making {
            let made = making.await;
            self.making = None;
            match made {
                Ok(Ok(producer)) => self.producer = Some(producer),
                Ok(Err(error)) => self.back_off(one_line(&error)),
                Err(error) => self.back_off(one_line(&error)),
            }
        } else if let Some(producer) = &self.producer {
            producer.reports().arrived().await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    pub(super) fn reports(&mut self) -> Vec<Report> {
        let Some(producer) = &self.producer else { return Vec::new() };
        if let Some(error) = producer.reports().take_client_error() {
            self.client_error = Some(error);
        }
        producer.reports().take()
    }

    pub(super) fn delivers(&mut self) {
        self.failures = 0;
        self.client_error = None;
        self.trouble.over();
    }

    /// What could not be published was published by another worker, or is gone.
    pub(super) fn has_nothing_left(&mut self) {
        self.trouble.over();
    }

    /// What was enqueued is not acknowledged; the client tries for as long as it may.
    pub(super) fn is_slow(&self) {
        let reason = self.client_error.as_deref().unwrap_or("no reason is known");
        self.trouble.is(format!("Kafka does not acknowledge: {reason}"));
    }

    /// The next producer is made after a while: nothing of the events is at fault.
    pub(super) fn back_off(&mut self, error: String) {
        let longest = MOST_PAUSE.min(LEAST_PAUSE * 2_u32.saturating_pow(self.failures.min(10)));
        self.failures += 1;
        self.not_before = Instant::now() + longest.mul_f64(rand::rng().random_range(0.5..=1.0));
        self.trouble.is(error);
    }

    /// Forgets what the producer has not reported; true where there was one.
    pub(super) fn drop_producer(&mut self) -> bool {
        let Some(producer) = self.producer.take() else { return false };
        self.closing = Some(self.lifecycle.spawn(producer.discard()));
        true
    }

    pub(super) async fn close(mut self) {
        self.drop_producer();
        if let Some(closing) = self.closing {
            // It ends in time, whatever it ends with.
            let _ = closing.await;
        }
    }
}
