//! What keeps one bad upstream from becoming a bad answer: deadlines, breakers, and what to do after a failure.
//!
//! Everything here is a value that is told the time: no IO, no tasks, no randomness of its own.

mod alarm;
mod backoff;
mod breaker;
mod budget;
mod deadline;
mod decision;
mod first_tokens;
mod habit;
mod hysteresis;
mod meter;
mod patience;

pub use alarm::Alarm;
pub use backoff::backoff;
pub use breaker::{Breaker, Change, Outcome, Pass, Policy, Reason, Status};
pub use budget::{BudgetPolicy, RetryBudget};
pub use deadline::{Expired, Stage, Timeline, WHOLE_ANSWER_FACTOR, longest_silence, within};
pub use decision::{Blame, MAX_ATTEMPTS, MAX_REPEATS, MAX_WAIT, Next, after_failure, may_repeat};
pub use first_tokens::{FirstTokens, MIN_SAMPLES, far_slower};
pub use habit::Habit;
pub use hysteresis::{Hysteresis, Verdict};
pub use meter::Meter;
pub use patience::Patience;
