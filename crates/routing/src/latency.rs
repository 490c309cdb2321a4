//! How long one target takes to answer: a peak-sensitive moving average that fades.
//!
//! Source: Finagle's Peak EWMA, <https://twitter.github.io/finagle/guide/Clients.html#power-of-two-choices-p2c-peak-ewma>:
//! a slow answer counts at once and in full, and is forgotten slowly. It is forgotten also when nobody asks: a target that is
//! shunned for one slow answer brings no other sample. Finagle fades towards nothing, so that what is long unasked draws
//! everybody; here its age is told, and the order decides what that is worth.

use std::time::Duration;

/// What is older has hardly a third of its weight.
const MEMORY: Duration = Duration::from_secs(10);

/// What is older than this says nothing: a twentieth of its weight is left. So often, at the least, a target that nobody asks
/// gets another chance.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// The average of one target, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct PeakEwma {
    ms: Option<f64>,
}

/// What is known of a target's pace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// The average when it was last sampled.
    pub ms: f64,
    /// How much of it still counts: 1 at once, less with each second since.
    pub weight: f64,
}

impl PeakEwma {
    /// Takes a sample, `since` after the one before.
    pub fn observe(&mut self, sample: Duration, since: Duration) {
        let sample = sample.as_secs_f64() * 1000.0;
        let old = weight(since);
        self.ms = Some(match self.ms {
            Some(mean) if sample < mean => mean * old + sample * (1.0 - old),
            _ => sample,
        });
    }

    /// What is known `since` after the last sample; `None` before the first, and once that is forgotten.
    #[must_use]
    pub fn pace(&self, since: Duration) -> Option<Pace> {
        let ms = self.ms.filter(|_| since < FORGOTTEN)?;
        Some(Pace { ms, weight: weight(since) })
    }
}

fn weight(age: Duration) -> f64 {
    (-age.as_secs_f64() / MEMORY.as_secs_f64()).exp()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let mut average = PeakEwma::default();
        assert_eq!(average.pace(Duration::ZERO), None);
        for (sample, since, expected) in [(100, 0, 100), (900, 1, 900), (100, 1, 824), (100, 10, 366), (100, 60, 101)] {
            average.observe(Duration::from_millis(sample), Duration::from_secs(since));
            let pace = average.pace(Duration::ZERO).unwrap();
            assert_eq!((pace.ms.round() as u64, pace.weight), (expected, 1.0), "{sample} {since}");
        }
    }

    #[test]
    fn what_nobody_samples_counts_less_and_less_and_then_not_at_all() {
        let mut average = PeakEwma::default();
        average.observe(Duration::from_secs(20), Duration::ZERO);
        let percent = |seconds| {
            let pace = average.pace(Duration::from_secs(seconds));
            pace.map(|pace| (pace.weight * 100.0).round() as u64)
        };
        assert_eq!([0, 10, 20, 29, 30, 3600].map(percent), [Some(100), Some(37), Some(14), Some(6), None, None]);
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
                let ms = average.pace(Duration::ZERO).map(|pace| pace.ms).unwrap_or_default();
                prop_assert!(ms >= sample as f64 - 1e-6 && ms <= highest as f64 + 1e-6);
            }
        }
    }
}
