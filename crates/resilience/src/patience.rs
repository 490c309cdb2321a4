//! How long the client waits: everything that we try for it has to fit into that.

use std::time::Duration;

use tokio::time::Instant;

/// What is kept back of a client's time, so that the truth about a failure reaches it before it gives up: a tenth, for
/// the way through networks and proxies ...
const RESERVED_PART: u32 = 10;

/// ... and no more than this.
const MOST_RESERVED: Duration = Duration::from_millis(500);

/// A client's patience. `None`: it did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patience {
    /// By when the answer has to begin.
    pub begin: Option<Instant>,
    /// By when it has to be complete.
    pub end: Option<Instant>,
}

impl Patience {
    /// Of a client that asked at `asked` and waits `begin` for the first byte and `end` for the last.
    #[must_use]
    pub fn since(asked: Instant, begin: Option<Duration>, end: Option<Duration>) -> Self {
        let until = |wait: Duration| asked + wait.saturating_sub((wait / RESERVED_PART).min(MOST_RESERVED));
        Self { begin: begin.map(until), end: end.map(until) }
    }

    /// By when the first content has to be there.
    #[must_use]
    pub fn first(&self) -> Option<Instant> {
        self.begin.into_iter().chain(self.end).min()
    }

    /// What remains at `now` until the first content is due.
    #[must_use]
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.first().map(|until| until.saturating_duration_since(now))
    }

    /// Whether something that begins after `wait` is in time.
    #[must_use]
    pub fn allows(&self, wait: Duration, now: Instant) -> bool {
        self.left(now).is_none_or(|left| wait < left)
    }

    /// Of the same client, which asked at `asked`, once something has reached it: silence is counted anew with each byte.
    #[must_use]
    pub fn renewed(self, asked: Instant, now: Instant) -> Self {
        let begin = self.begin.map(|until| now + until.saturating_duration_since(asked));
        Self { begin, ..self }
    }

    /// How much of what remains at `now` goes by before another target is asked beside a silent one whose answers take
    /// `usual`, as far as that is known. Half; but no sooner than they usually come, for that would be asked in vain, and
    /// always so that a quarter remains for the other.
    #[must_use]
    pub fn share(&self, now: Instant, usual: Option<Duration>) -> Option<Duration> {
        self.left(now).map(|left| (left / 2).max(usual.unwrap_or_default()).min(left / 4 * 3))
    }

    /// For somebody who is asked before others that are not asked at the same time: half of what remains, so that its
    /// silence does not take their time.
    #[must_use]
    pub fn shared(self, now: Instant) -> Self {
        let begin = self.left(now).map(|left| now + left / 2);
        Self { begin, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(begin_ms: Option<u64>, end_ms: Option<u64>, left_ms: Option<u64>) {
        let ms = |ms: Option<u64>| ms.map(Duration::from_millis);
        let now = Instant::now();
        assert_eq!(Patience::since(now, ms(begin_ms), ms(end_ms)).left(now), ms(left_ms));
    }

    #[test]
    fn a_tenth_and_at_most_half_a_second_is_kept_for_the_way_back() {
        check(None, None, None);
        check(Some(1000), None, Some(900));
        check(Some(600_000), None, Some(599_500));
        check(Some(600_000), Some(2000), Some(1800));
        check(None, Some(0), Some(0));
    }

    #[test]
    fn a_client_that_has_got_something_waits_as_long_again_for_more_and_no_longer_for_all() {
        let asked = Instant::now();
        let ms = Duration::from_millis;
        let patience = Patience::since(asked, Some(ms(1000)), Some(ms(5000)));
        let now = asked + ms(800);
        assert_eq!(patience.renewed(asked, now).left(now), Some(ms(900)));
        let late = asked + ms(4000);
        assert_eq!(patience.renewed(asked, late).left(late), Some(ms(500)));
    }

    #[test]
    fn a_share_is_half_or_what_is_usual_and_leaves_a_quarter() {
        let check = |left_ms: Option<u64>, usual_ms: Option<u64>, expected_ms: Option<u64>| {
            let ms = |ms: Option<u64>| ms.map(Duration::from_millis);
            let now = Instant::now();
            let patience = Patience { begin: ms(left_ms).map(|left| now + left), end: None };
            assert_eq!(patience.share(now, ms(usual_ms)), ms(expected_ms), "{left_ms:?} {usual_ms:?}");
        };
        check(None, Some(100), None);
        check(Some(1000), None, Some(500));
        check(Some(1000), Some(100), Some(500));
        check(Some(1000), Some(600), Some(600));
        check(Some(1000), Some(5000), Some(750));
        check(Some(0), Some(5000), Some(0));
    }

    proptest! {
        #[test]
        fn shares_of_any_number_of_attempts_end_before_the_client_gives_up(wait_ms in 1u64..100_000, attempts in 1usize..6) {
            let start = Instant::now();
            let patience = Patience::since(start, Some(Duration::from_millis(wait_ms)), None);
            let mut now = start;
            for _ in 1..attempts {
                let share = patience.shared(now);
                prop_assert!(share.first() <= patience.first());
                prop_assert!(share.end == patience.end);
                now = share.first().unwrap_or(now);
            }
            prop_assert!(patience.left(now).unwrap_or_default() > Duration::ZERO, "something remains for the last one");
        }
    }
}
