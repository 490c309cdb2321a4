//! Whether an answer comes fast enough to be alive: a drip of one byte a second is not.

use std::time::Duration;

use crate::{Expired, Stage};

/// Counts what comes while it is waited for: the time in which nobody reads says nothing about the sender.
#[derive(Debug)]
pub struct Meter {
    min_bytes_per_s: u32,
    window: Duration,
    waited: Duration,
    bytes: u64,
    alive: bool,
}

impl Meter {
    /// Wants so many bytes a second, averaged over `window`; 0: any rate will do.
    #[must_use]
    pub fn new(min_bytes_per_s: u32, window: Duration) -> Self {
        Self { min_bytes_per_s, window, waited: Duration::ZERO, bytes: 0, alive: false }
    }

    /// A keep-alive came whole: in this window the sender has nothing to say, and says so.
    pub fn keep_alive(&mut self) {
        self.alive = true;
    }

    /// So many bytes came after they had been waited for.
    ///
    /// # Errors
    /// When a window is over in which too little came.
    pub fn add(&mut self, bytes: usize, waited: Duration) -> Result<(), Expired> {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.waited = self.waited.saturating_add(waited);
        if self.waited < self.window {
            return Ok(());
        }
        let wanted = f64::from(self.min_bytes_per_s) * self.waited.as_secs_f64();
        let enough = self.alive || self.bytes as f64 >= wanted;
        *self = Self::new(self.min_bytes_per_s, self.window);
        if enough { Ok(()) } else { Err(Expired { stage: Stage::MinimumRate }) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Seconds until `bytes` every `every_ms` are given up, within ten minutes; wants 16 bytes a second over 30 s.
    fn given_up(bytes: usize, every_ms: u64, keep_alive: bool) -> Option<u64> {
        let mut meter = Meter::new(16, Duration::from_secs(30));
        let every = Duration::from_millis(every_ms);
        (1..=600_000 / every_ms).find_map(|n| {
            if keep_alive {
                meter.keep_alive();
            }
            meter.add(bytes, every).is_err().then_some(n * every_ms / 1000)
        })
    }

    #[test]
    fn a_drip_is_given_up_after_a_window_and_a_slow_answer_is_not() {
        assert_eq!(given_up(1, 1000, false), Some(30));
        assert_eq!(given_up(15, 1000, false), Some(30));
        assert_eq!(given_up(16, 1000, false), None);
        assert_eq!(given_up(240, 15_000, false), None);
        assert_eq!(given_up(20, 15_000, true), None);
        assert_eq!(given_up(1_000_000, 1, false), None);
    }

    #[test]
    fn time_in_which_nobody_waited_does_not_count_and_zero_wants_nothing() {
        let mut meter = Meter::new(16, Duration::from_secs(30));
        assert!((0..10_000).all(|_| meter.add(1, Duration::ZERO).is_ok()));
        let mut meter = Meter::new(0, Duration::from_secs(30));
        assert!((0..10_000).all(|_| meter.add(0, Duration::from_secs(1)).is_ok()));
    }

    proptest! {
        #[test]
        fn whoever_keeps_the_rate_in_every_part_is_never_given_up(parts in prop::collection::vec(1u64..5000, 1..200)) {
            let mut meter = Meter::new(16, Duration::from_secs(30));
            for ms in parts {
                prop_assert!(meter.add((ms as usize * 16).div_ceil(1000), Duration::from_millis(ms)).is_ok());
            }
        }
    }
}
