//! How fast a target begins to answer: a peak-sensitive moving average.
//!
//! Source: Finagle's Peak EWMA, <https://twitter.github.io/finagle/guide/Clients.html#power-of-two-choices-p2c-peak-ewma>:
//! a slow answer counts at once and in full, and is forgotten slowly.

use std::time::Duration;

/// What is older has hardly a third of its weight.
const MEMORY: Duration = Duration::from_secs(10);

/// The average of one target, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeakEwma {
    ms: Option<f64>,
}

impl PeakEwma {
    /// Takes a sample, `since` after the one before.
    pub fn observe(&mut self, sample: Duration, since: Duration) {
        let sample = sample.as_secs_f64() * 1000.0;
        let old = (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.ms = Some(match self.ms {
            Some(mean) if sample < mean => mean * old + sample * (1.0 - old),
            _ => sample,
        });
    }

    /// The average; `None` before the first sample.
    #[must_use]
    pub fn ms(&self) -> Option<f64> {
        self.ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let mut average = PeakEwma::default();
        assert_eq!(average.ms(), None);
        for (sample, since, expected) in [(100, 0, 100), (900, 1, 900), (100, 1, 824), (100, 10, 366), (100, 60, 101)] {
            average.observe(Duration::from_millis(sample), Duration::from_secs(since));
            assert_eq!(average.ms().unwrap().round() as u64, expected, "{sample} {since}");
        }
    }

    proptest! {
        #[test]
        fn it_stays_between_the_newest_and_the_highest_sample(
            samples in prop::collection::vec((1u64..10_000, 0u64..100_000), 1..50),
        ) {
            let mut average = PeakEwma::default();
            let mut highest = 0;
            for (sample, since) in samples {
                highest = highest.max(sample);
                average.observe(Duration::from_millis(sample), Duration::from_millis(since));
                let ms = average.ms().unwrap_or_default();
                prop_assert!(ms >= sample as f64 - 1e-6 && ms <= highest as f64 + 1e-6);
            }
        }
    }
}
