//! What happened since the last report, in bounded space.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_llm::FailureClass;
use tokio::time::Instant;

/// Buckets grow by this factor from 1 ms, so that a quantile is wrong by less than 8 %.
const GROWTH: f64 = 1.15;
/// 1.15^100 ms is 20 minutes: longer than any deadline.
const BUCKETS: usize = 100;

/// Counts since the last report.
pub(crate) struct Window {
    pub(crate) since: Instant,
    pub(crate) started: u64,
    pub(crate) finished: u64,
    pub(crate) shed: u64,
    pub(crate) errors: BTreeMap<FailureClass, u64>,
    pub(crate) first_token: Sketch,
    /// Of the finished ones, together.
    pub(crate) time_in_flight: Duration,
}

impl Window {
    /// An empty window that begins now.
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            started: 0,
            finished: 0,
            shed: 0,
            errors: BTreeMap::new(),
            first_token: Sketch::default(),
            time_in_flight: Duration::ZERO,
        }
    }

    /// Milliseconds that a finished request stayed, on average; 0 if none has finished.
    pub(crate) fn mean_duration_ms(&self) -> f64 {
        if self.finished == 0 { 0.0 } else { self.time_in_flight.as_secs_f64() * 1000.0 / self.finished as f64 }
    }
}

/// A histogram of durations with logarithmic buckets.
pub(crate) struct Sketch {
    counts: [u32; BUCKETS],
}

impl Default for Sketch {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl Sketch {
    /// Adds one sample.
    pub(crate) fn add(&mut self, sample: Duration) {
        let ms = (sample.as_secs_f64() * 1000.0).max(1.0);
        let bucket = ((ms.ln() / GROWTH.ln()) as usize).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }

    /// The `q`-quantile in milliseconds, `q` in `[0, 1]`; 0 without samples.
    pub(crate) fn quantile_ms(&self, q: f64) -> f64 {
        let total: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        let rank = (q * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if total > 0 && seen >= rank {
                // The geometric middle of the bucket.
                return GROWTH.powf(bucket as f64 + 0.5);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_the_truth() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.quantile_ms(0.5), 0.0);
        for ms in 1..=1000 {
            sketch.add(Duration::from_millis(ms));
        }
        for (q, truth) in [(0.5, 500.0), (0.99, 990.0)] {
            let error = (sketch.quantile_ms(q) - truth).abs() / truth;
            assert!(error < 0.08, "{q}: {}", sketch.quantile_ms(q));
        }
        let mut extremes = Sketch::default();
        extremes.add(Duration::ZERO);
        assert!(extremes.quantile_ms(1.0) < 1.2);
        extremes.add(Duration::from_secs(1_000_000));
        assert!(extremes.quantile_ms(1.0) > 900_000.0);
    }
}
