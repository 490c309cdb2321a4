//! Quantiles of durations in bounded space.

use std::time::Duration;

/// Buckets grow by this factor from 1 ms, so that a quantile is wrong by less than 8 %.
const GROWTH: f64 = 1.15;
/// 1.15^100 ms is 20 minutes: longer than any deadline.
const BUCKETS: usize = 100;

/// A histogram of durations with logarithmic buckets.
#[derive(Debug, Clone)]
pub struct Sketch {
    counts: [u32; BUCKETS],
}

impl Default for Sketch {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl Sketch {
    /// Adds one sample.
    pub fn add(&mut self, sample: Duration) {
        let ms = (sample.as_secs_f64() * 1000.0).max(1.0);
        let bucket = ((ms.ln() / GROWTH.ln()) as usize).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds all samples of another.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count = count.saturating_add(more);
        }
    }

    /// How many samples there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The `q`-quantile in milliseconds, `q` in `[0, 1]`; 0 without samples.
    #[must_use]
    pub fn quantile_ms(&self, q: f64) -> f64 {
        let total = self.count();
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
        extremes.merge(&sketch);
        assert_eq!(extremes.count(), 1002);
    }
}
