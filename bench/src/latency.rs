//! Times in microseconds, with three digits.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

const DIGITS: u8 = 3;

/// In milliseconds.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new(DIGITS)?)
}

pub(crate) fn record(times: &mut Histogram<u64>, time: Duration) -> anyhow::Result<()> {
    Ok(times.record(u64::try_from(time.as_micros())?)?)
}

impl From<&Histogram<u64>> for Percentiles {
    fn from(times: &Histogram<u64>) -> Self {
        let at = |quantile| crate::drain::millis(Duration::from_micros(times.value_at_quantile(quantile)));
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}
