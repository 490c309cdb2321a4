//! How long to wait before the same target is asked again.

use std::time::Duration;

/// Limit of the first wait: what a restarting server or a lost connection needs at least.
const FIRST: Duration = Duration::from_millis(250);

/// Limit of later ones: a client waits meanwhile.
const LONGEST: Duration = Duration::from_secs(4);

/// Full jitter: anything up to a limit that doubles. `again` counts repetitions from 0; `unit` is random in `[0, 1)`.
///
/// Source: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
#[must_use]
pub fn backoff(again: u32, unit: f64) -> Duration {
    FIRST.saturating_mul(1 << again.min(16)).min(LONGEST).mul_f64(unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_are_spread_over_a_limit_that_doubles_up_to_the_longest(again in any::<u32>(), unit in 0.0f64..1.0) {
            let wait = backoff(again, unit);
            prop_assert!(wait <= LONGEST);
            prop_assert!(wait <= FIRST * 2u32.saturating_pow(again.min(8)));
            prop_assert_eq!(backoff(again, 0.0), Duration::ZERO);
            prop_assert!(backoff(again.saturating_add(1), unit) >= wait);
        }
    }
}
