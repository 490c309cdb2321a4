//! How long one target took to begin its answers lately, and whether that is far longer than its peers took.

use std::time::Duration;

use meridian_types::LastMinute;
use tokio::time::Instant;

/// Samples below which a quantile says nothing.
pub const MIN_SAMPLES: u64 = 20;

/// A target is far slower than its peers if its median is this many times theirs ...
const FACTOR: f64 = 3.0;
/// ... and so much longer that people notice: among targets that begin within milliseconds a factor means nothing.
const NOTICED_MS: f64 = 200.0;

/// Times to first content of one target in the last minute.
#[derive(Debug, Default)]
pub struct FirstTokens {
    minute: LastMinute,
    start: Option<Instant>,
}

impl FirstTokens {
    /// Takes one sample.
    pub fn add(&mut self, sample: Duration, now: Instant) {
        let now = self.since_start(now);
        self.minute.add(sample, now);
    }

    /// The `q`-quantile in milliseconds; `None` with fewer than [`MIN_SAMPLES`].
    pub fn quantile_ms(&mut self, q: f64, now: Instant) -> Option<f64> {
        let now = self.since_start(now);
        let all = self.minute.sketch(now);
        all.quantile_ms(q).filter(|_| all.count() >= MIN_SAMPLES)
    }

    /// Forgets everything: what was slow before a pause says nothing of after it.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn since_start(&mut self, now: Instant) -> Duration {
        now.saturating_duration_since(*self.start.get_or_insert(now))
    }
}

/// Which of some peers begin their answers far later than the others, given the median of each; `None`: too few samples. A
/// target is measured against the median of the rest, so that it does not move the measure itself.
#[must_use]
pub fn far_slower(medians_ms: &[Option<f64>]) -> Vec<usize> {
    let slower = |(at, own): (usize, &Option<f64>)| {
        let own = (*own)?;
        let others = medians_ms.iter().enumerate().filter(|(other, _)| *other != at);
        let peers = median(others.filter_map(|(_, ms)| *ms).collect())?;
        (own >= peers * FACTOR && own - peers >= NOTICED_MS).then_some(at)
    };
    medians_ms.iter().enumerate().filter_map(slower).collect()
}

/// The lower one of two in the middle: a target has to be slower than half of its peers.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len().checked_sub(1)? / 2;
    values.get(middle).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_quantile_needs_samples_and_forgets_what_is_older_than_a_minute() {
        let start = Instant::now();
        let mut times = FirstTokens::default();
        for _ in 0..MIN_SAMPLES {
            assert_eq!(times.quantile_ms(0.5, start), None);
            times.add(Duration::from_millis(100), start);
        }
        let near = |ms: Option<f64>, truth: f64| (ms.unwrap() - truth).abs() < truth * 0.05;
        assert!(near(times.quantile_ms(0.95, start), 100.0));
        let later = start + Duration::from_secs(45);
        for _ in 0..MIN_SAMPLES {
            times.add(Duration::from_millis(900), later);
        }
        assert!(near(times.quantile_ms(0.5, later), 100.0), "half of them are old");
        assert!(near(times.quantile_ms(0.95, later), 900.0));
        let after = start + Duration::from_secs(75);
        assert!(near(times.quantile_ms(0.5, after), 900.0), "the old ones are forgotten");
        assert_eq!(times.quantile_ms(0.5, start + Duration::from_secs(600)), None);
        times.add(Duration::from_millis(1), start + Duration::from_secs(600));
        times.clear();
        assert_eq!(times.quantile_ms(0.5, start + Duration::from_secs(600)), None);
    }

    #[track_caller]
    fn check(medians_ms: &[f64], expected: &[usize]) {
        let medians: Vec<_> = medians_ms.iter().map(|ms| (*ms > 0.0).then_some(*ms)).collect();
        assert_eq!(far_slower(&medians), expected, "{medians_ms:?}");
    }

    #[test]
    fn only_who_is_far_slower_than_the_others_is_named() {
        check(&[], &[]);
        check(&[5000.0], &[]);
        check(&[300.0, 800.0], &[]);
        check(&[300.0, 900.0], &[1]);
        check(&[10.0, 200.0], &[]);
        check(&[300.0, 0.0], &[]);
        check(&[0.0, 9000.0], &[]);
        check(&[300.0, 320.0, 2000.0, 280.0], &[2]);
        check(&[300.0, 2000.0, 2100.0], &[1, 2]);
        check(&[300.0, 310.0, 2000.0, 2100.0, 2200.0], &[2, 3, 4]);
    }

    proptest! {
        #[test]
        fn never_all_and_never_the_fastest(medians in prop::collection::vec(prop::option::of(1.0f64..60_000.0), 0..12)) {
            let slow = far_slower(&medians);
            let known: Vec<f64> = medians.iter().flatten().copied().collect();
            prop_assert!(slow.is_empty() || slow.len() < known.len());
            let fastest = known.iter().copied().fold(f64::INFINITY, f64::min);
            for at in slow {
                prop_assert!(medians[at].unwrap() >= fastest * FACTOR);
            }
        }

        #[test]
        fn alike_ones_are_left_in_peace(ms in 1.0f64..30_000.0, spread in prop::collection::vec(1.0f64..2.9, 2..8)) {
            let medians: Vec<_> = spread.iter().map(|factor| Some(ms * factor)).collect();
            prop_assert_eq!(far_slower(&medians), Vec::<usize>::new());
        }
    }
}
