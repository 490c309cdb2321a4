//! How long a target's answers take as a rule, and so whether one that is waited for is late: what tells a silent target
//! from a client in a hurry.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Answers that are remembered. The last ones, however long ago: an outage must not make us forget what is usual.
const REMEMBERED: usize = 20;

/// What is usual is not exceeded by so many of a hundred answers.
const USUAL_PERCENT: usize = 95;

/// Silence for less is never held against a target, whatever is known of it: long prompts take seconds to be read. Under
/// half of ten seconds, so that clients with such a timeout find out a silent one while there is time for the next.
const LEAST_SILENCE: Duration = Duration::from_secs(3);

/// Of one target and one kind of answers.
#[derive(Debug, Default)]
pub struct Habit {
    /// How long the last answers took.
    took: VecDeque<Duration>,
    /// When the last one came.
    answered: Option<Instant>,
    /// When a client last left it that had waited for too long.
    left: Option<Instant>,
}

impl Habit {
    /// An answer came at `now` after so long.
    pub fn answered(&mut self, took: Duration, now: Instant) {
        if self.took.len() == REMEMBERED {
            self.took.pop_front();
        }
        self.took.push_back(took);
        self.answered = Some(now);
    }

    /// The 95th percentile of the last answers, of few their longest; `None` before the first.
    #[must_use]
    pub fn usual(&self) -> Option<Duration> {
        let mut took: Vec<_> = self.took.iter().copied().collect();
        took.sort_unstable();
        let rank = (took.len() * USUAL_PERCENT).div_ceil(100);
        took.get(rank.checked_sub(1)?).copied()
    }

    /// Whether what has been waited for since `asked` is late at `now`: by the target's own measure, and while nobody else
    /// got an answer of that kind from it.
    #[must_use]
    pub fn is_late(&self, asked: Instant, now: Instant) -> bool {
        let answers_others = self.answered.is_some_and(|answered| answered >= asked);
        !answers_others && now.saturating_duration_since(asked) >= LEAST_SILENCE.max(self.usual().unwrap_or_default())
    }

    /// The same of what a client no longer waits for, for reasons of its own. Who stops a program takes back all that it
    /// had asked, which is one reason and not many: only what was asked after the last one that counted does so again.
    pub fn was_left_late(&mut self, asked: Instant, now: Instant) -> bool {
        let counts = self.is_late(asked, now) && self.left.is_none_or(|left| left <= asked);
        if counts {
            self.left = Some(now);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn habit(took_ms: &[u64], at: Instant) -> Habit {
        let mut habit = Habit::default();
        for ms in took_ms {
            habit.answered(Duration::from_millis(*ms), at);
        }
        habit
    }

    #[test]
    fn what_is_usual_is_the_longest_of_few_and_all_but_one_of_the_last_twenty() {
        let check = |took_ms: &[u64], expected: Option<u64>| {
            assert_eq!(habit(took_ms, Instant::now()).usual(), expected.map(Duration::from_millis), "{took_ms:?}");
        };
        check(&[], None);
        check(&[700], Some(700));
        check(&[90, 700, 80], Some(700));
        check(&[&[9000][..], &[100; 19]].concat(), Some(100));
        check(&[&[9000, 8000][..], &[100; 18]].concat(), Some(8000));
        check(&[&[9000, 8000][..], &[100; 20]].concat(), Some(100));
    }

    /// Whether silence for so long is late at a target that took `took_ms` before.
    #[track_caller]
    fn check(took_ms: &[u64], silent_ms: u64, expected: bool) {
        let asked = Instant::now() + SECOND;
        let now = asked + Duration::from_millis(silent_ms);
        assert_eq!(habit(took_ms, asked - SECOND).is_late(asked, now), expected, "{took_ms:?} {silent_ms}");
    }

    #[test]
    fn silence_is_late_beyond_what_is_usual_and_never_within_three_seconds() {
        check(&[], 2999, false);
        check(&[], 3000, true);
        check(&[100; 20], 2999, false);
        check(&[100; 20], 3000, true);
        check(&[8000; 20], 7999, false);
        check(&[8000; 20], 8000, true);
        check(&[1000; 20], 300, false);
    }

    #[test]
    fn a_target_that_answers_others_meanwhile_is_not_silent() {
        let start = Instant::now();
        let mut habit = habit(&[100], start);
        let asked = start + SECOND;
        assert!(habit.is_late(asked, asked + 5 * SECOND));
        habit.answered(SECOND, asked + 2 * SECOND);
        assert!(!habit.is_late(asked, asked + 5 * SECOND));
        assert!(habit.is_late(asked + 3 * SECOND, asked + 8 * SECOND));
    }

    #[test]
    fn what_is_taken_back_together_counts_once() {
        let (mut habit, asked) = (Habit::default(), Instant::now());
        let gone = asked + 5 * SECOND;
        let counted = (0..10).filter(|_| habit.was_left_late(asked, gone)).count();
        assert_eq!(counted, 1);
        assert!(!habit.was_left_late(gone - SECOND, gone + 4 * SECOND), "asked while the others waited");
        assert!(!habit.was_left_late(gone, gone + SECOND), "not late");
        assert!(habit.was_left_late(gone, gone + 4 * SECOND));
    }
}
