//! How long to wait before trying again: exponential with full jitter.

use std::time::Duration;

use meridian_host::{Entropy, jitter};

/// The first wait is uniform below this.
const FIRST: Duration = Duration::from_millis(100);

/// Doubles with every failure, up to a limit.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    limit: Duration,
}

impl Backoff {
    /// Waits that never reach `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { next: FIRST, limit }
    }

    /// The next wait.
    pub(crate) fn wait(&mut self, entropy: &dyn Entropy) -> Duration {
        let wait = jitter(entropy, self.next);
        self.next = (self.next * 2).min(self.limit);
        wait
    }

    /// What was tried went well.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Always the highest value.
    struct Ones;

    impl Entropy for Ones {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xff);
        }
    }

    #[test]
    fn waits_double_up_to_the_limit_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(350));
        let waits: Vec<_> = (0..4).map(|_| backoff.wait(&Ones).as_secs_f64()).collect();
        for (wait, expected) in waits.iter().zip([0.1, 0.2, 0.35, 0.35]) {
            assert!((wait - expected).abs() < 1e-6, "{waits:?}");
        }
        backoff.reset();
        assert!(backoff.wait(&Ones) <= FIRST);
    }
}
