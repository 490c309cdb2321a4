//! What keeps one bad upstream from becoming a bad answer: deadlines, breakers, and what to do after a failure.
//!
//! Everything here is a value that is told the time: no IO, no tasks, no randomness of its own.

mod breaker;
mod deadline;
mod decision;

pub use breaker::{Breaker, Change, Outcome, Pass, Policy, Status};
pub use deadline::{Expired, Stage, Timeline, WHOLE_ANSWER_FACTOR, within};
pub use decision::{Blame, MAX_ATTEMPTS, Next, after_failure};
