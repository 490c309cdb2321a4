//! Latencies in bounded space, such that those of many nodes can be added up and still have true quantiles.

use std::time::Duration;

/// Each bucket is longer than the one before by this factor ...
const GROWTH: f64 = 1.1;
/// ... from 1 ms on; 1.1^140 ms is more than ten minutes, which is longer than anybody waits for an answer to begin.
const BUCKETS: usize = 140;

/// Slices of [`LastMinute`], each forgotten whole.
const SLICES: usize = 6;
const SLICE: Duration = Duration::from_secs(10);

/// A histogram of durations: bucket `i` counts those from `1.1^i` ms to below `1.1^(i + 1)` ms. All have the same buckets, so
/// that the sketch of several is the sum of their counts (DDSketch, <https://arxiv.org/abs/1908.10693>). 560 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencySketch {
    counts: [u32; BUCKETS],
}

impl Default for LatencySketch {
    fn default() -> Self {
        Self { counts: [0; BUCKETS] }
    }
}

impl LatencySketch {
    /// A quantile between 1 ms and ten minutes is wrong by at most this part of itself: 4.8 %. What is shorter counts as
    /// 1 ms, and what is longer as ten minutes.
    pub const RELATIVE_ERROR: f64 = (GROWTH - 1.0) / (GROWTH + 1.0);

    /// From the counts of the buckets `offset`, `offset + 1`, ...; `None`: there are not so many buckets.
    #[must_use]
    pub fn from_counts(offset: usize, counts: &[u32]) -> Option<Self> {
        let mut sketch = Self::default();
        let end = offset.checked_add(counts.len())?;
        sketch.counts.get_mut(offset..end)?.copy_from_slice(counts);
        Some(sketch)
    }

    /// The counts from the first bucket that holds something to the last, with the number of that first one.
    #[must_use]
    pub fn counts(&self) -> (usize, &[u32]) {
        let first = self.counts.iter().position(|count| *count > 0);
        let last = self.counts.iter().rposition(|count| *count > 0);
        let found = first.zip(last).and_then(|(first, last)| Some((first, self.counts.get(first..=last)?)));
        found.unwrap_or_default()
    }

    /// Adds one sample.
    pub fn add(&mut self, sample: Duration) {
        self.add_ms(sample.as_secs_f64() * 1000.0, 1);
    }

    /// Adds `times` samples of `ms` milliseconds.
    pub fn add_ms(&mut self, ms: f64, times: u32) {
        // The maximum of NaN and a number is the number, and the conversion saturates.
        let bucket = ((ms.max(1.0).ln() / GROWTH.ln()) as usize).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(times);
        }
    }

    /// Adds all samples of another.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
    }

    /// How many samples there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// The `q`-quantile in milliseconds, `q` in `[0, 1]`: of `n` samples the `ceil(q * n)`th. `None` without samples.
    #[must_use]
    pub fn quantile_ms(&self, q: f64) -> Option<f64> {
        let rank = (q * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        // Off by the same part at both ends of the bucket.
        Some(GROWTH.powf(bucket as f64) * (1.0 + Self::RELATIVE_ERROR))
    }
}

/// Latencies of the last fifty to sixty seconds: long enough for some samples where there is little traffic, short enough to
/// see it change. 3.4 kB. Times are told as since a beginning of the caller's choice, which does not move.
#[derive(Debug, Clone, Default)]
pub struct LastMinute {
    slices: [Slice; SLICES],
}

#[derive(Debug, Clone, Default)]
struct Slice {
    number: u64,
    sketch: LatencySketch,
}

impl LastMinute {
    /// Adds one sample.
    pub fn add(&mut self, sample: Duration, now: Duration) {
        if let Some(sketch) = self.current(now) {
            sketch.add(sample);
        }
    }

    /// Adds all samples of a sketch.
    pub fn merge(&mut self, sketch: &LatencySketch, now: Duration) {
        if let Some(current) = self.current(now) {
            current.merge(sketch);
        }
    }

    /// What is not forgotten yet.
    #[must_use]
    pub fn sketch(&self, now: Duration) -> LatencySketch {
        let number = number(now);
        let mut all = LatencySketch::default();
        for slice in self.slices.iter().filter(|slice| slice.number + SLICES as u64 > number) {
            all.merge(&slice.sketch);
        }
        all
    }

    fn current(&mut self, now: Duration) -> Option<&mut LatencySketch> {
        let number = number(now);
        let place = usize::try_from(number).unwrap_or_default() % SLICES;
        let slice = self.slices.get_mut(place)?;
        if slice.number != number {
            *slice = Slice { number, sketch: LatencySketch::default() };
        }
        Some(&mut slice.sketch)
    }
}

fn number(now: Duration) -> u64 {
    now.as_secs() / SLICE.as_secs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(samples_us: &[u64]) -> LatencySketch {
        let mut sketch = LatencySketch::default();
        for us in samples_us {
            sketch.add(Duration::from_micros(*us));
        }
        sketch
    }

    #[test]
    fn what_is_too_short_or_too_long_counts_at_the_ends() {
        assert_eq!(LatencySketch::default().quantile_ms(0.5), None);
        let mut ends = of(&[0, 1_000_000 * 100_000]);
        assert!((1.0..1.1).contains(&ends.quantile_ms(0.5).unwrap()));
        assert!((565_000.0..625_000.0).contains(&ends.quantile_ms(1.0).unwrap()));
        for odd in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
            ends.add_ms(odd, u32::MAX);
        }
        assert_eq!(ends.counts(), (0, of(&[0, 1_000_000 * 100_000]).counts.map(|one| one * u32::MAX).as_slice()));
        let twice = ends.clone();
        ends.merge(&twice);
        assert_eq!(ends, twice, "a full bucket stays full");
        assert!(ends.quantile_ms(0.99).is_some());
    }

    #[test]
    fn counts_beyond_the_last_bucket_are_refused() {
        assert!(LatencySketch::from_counts(BUCKETS - 1, &[7]).is_some());
        for (offset, length) in [(BUCKETS, 1), (1, BUCKETS), (usize::MAX, 2), (0, 1 << 20), (BUCKETS + 1, 0)] {
            assert_eq!(LatencySketch::from_counts(offset, &vec![1; length]), None, "{offset} {length}");
        }
    }

    #[test]
    fn the_last_minute_is_forgotten_slice_by_slice() {
        let seconds = Duration::from_secs;
        let mut minute = LastMinute::default();
        minute.add(Duration::from_millis(100), seconds(3));
        minute.merge(&of(&[900_000, 900_000]), seconds(45));
        let count = |minute: &LastMinute, at| minute.sketch(seconds(at)).count();
        assert_eq!([45, 59, 60, 99, 100, 1000].map(|at| count(&minute, at)), [3, 3, 2, 2, 0, 0]);
        minute.add(Duration::from_millis(100), seconds(1000));
        assert_eq!(count(&minute, 1000), 1, "places are used again");
    }

    /// From a microsecond to a quarter of an hour, of all magnitudes.
    fn samples() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec((0.0f64..20.6).prop_map(|power| power.exp() as u64), 0..300)
    }

    proptest! {
        #[test]
        fn the_sum_of_parts_is_the_sketch_of_all(samples in samples(), parts in 1usize..6) {
            let mut sum = LatencySketch::default();
            for part in 0..parts {
                sum.merge(&of(&samples.iter().copied().skip(part).step_by(parts).collect::<Vec<_>>()));
            }
            prop_assert_eq!(&sum, &of(&samples));
            prop_assert_eq!(sum.count(), samples.len() as u64);
        }

        #[test]
        fn a_quantile_is_as_near_to_the_truth_as_is_said(mut samples in samples(), q in 0.0f64..=1.0) {
            samples.push(80_000);
            samples.sort_unstable();
            let rank = ((q * samples.len() as f64).ceil() as usize).max(1);
            let truth = (samples[rank - 1] as f64 / 1000.0).clamp(1.0, GROWTH.powf(BUCKETS as f64));
            let told = of(&samples).quantile_ms(q).unwrap();
            prop_assert!((told - truth).abs() <= truth * LatencySketch::RELATIVE_ERROR * (1.0 + 1e-9), "{told} {truth}");
        }

        #[test]
        fn counts_make_the_same_sketch_again(samples in samples()) {
            let sketch = of(&samples);
            let (offset, counts) = sketch.counts();
            prop_assert!(counts.first() != Some(&0) && counts.last() != Some(&0));
            prop_assert_eq!(LatencySketch::from_counts(offset, counts), Some(sketch));
        }
    }
}
