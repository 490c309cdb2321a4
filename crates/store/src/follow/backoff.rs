//! Waits between attempts: full jitter under a bound that doubles.

use std::time::Duration;

use super::Jitter;

/// After so many failures in a row the bound grows no more; 2^20 of any wait is beyond every maximum.
const MAX_DOUBLINGS: u32 = 20;

pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    jitter: Jitter,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, jitter: Jitter) -> Self {
        Self { min, max, failures: 0, jitter }
    }

    /// How long to wait after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let bound = self.min.saturating_mul(1 << self.failures).min(self.max);
        self.failures = (self.failures + 1).min(MAX_DOUBLINGS);
        bound.mul_f64((self.jitter)().clamp(0.0, 1.0))
    }

    /// After a success.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_maximum_and_a_success_resets_it() {
        let ms = Duration::from_millis;
        let mut backoff = Backoff::new(ms(100), ms(1000), Box::new(|| 0.5));
        let waits: Vec<_> = (0..6).map(|_| backoff.next()).collect();
        assert_eq!(waits, [ms(50), ms(100), ms(200), ms(400), ms(500), ms(500)]);
        (0..100).for_each(|_| assert!(backoff.next() <= ms(500)));
        backoff.reset();
        assert_eq!(backoff.next(), ms(50));
    }
}
