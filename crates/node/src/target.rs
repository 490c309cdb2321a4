//! One target's health and statistics on this node. They outlive configurations.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meridian_llm::{Failure, FailureClass};
use meridian_proto::node::v1;
use meridian_resilience::{Breaker, Change, Outcome, Pass, Policy, Status};
use meridian_routing::{Availability, TargetId};
use tokio::time::Instant;

/// Share of the newest sample in the average of times to first content: about ten samples are remembered.
const EWMA_ALPHA: f64 = 0.2;

/// One target.
pub(crate) struct Target {
    pub(crate) id: TargetId,
    in_flight: AtomicU32,
    state: Mutex<State>,
}

struct State {
    breaker: Breaker,
    attempts: u64,
    failures: BTreeMap<FailureClass, u64>,
    first_token_ms: Option<f64>,
}

impl Target {
    pub(crate) fn new(id: TargetId) -> Self {
        let breaker = Breaker::new(Policy::default());
        let state = State { breaker, attempts: 0, failures: BTreeMap::new(), first_token_ms: None };
        Self { id, in_flight: AtomicU32::new(0), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For planning.
    pub(crate) fn availability(&self) -> Availability {
        match self.state().breaker.status(Instant::now()) {
            Status::Closed => Availability::Available,
            Status::Open(left) | Status::Resting(left) => Availability::Cooling(left),
            // The probe under way decides within about a first token's time.
            Status::Probing => Availability::Cooling(Duration::from_secs(1)),
        }
    }

    /// Begins an attempt; `None` if the breaker says no by now, unless it is a `last_resort`.
    pub(crate) fn begin(self: &Arc<Self>, last_resort: bool) -> Option<Ticket> {
        let now = Instant::now();
        let mut state = self.state();
        let pass = match last_resort {
            true => state.breaker.admit_anyway(now),
            false => state.breaker.admit(now).ok()?,
        };
        state.attempts += 1;
        drop(state);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Some(Ticket { target: Arc::clone(self), pass: Some(pass) })
    }

    /// Its part of a report; counts start anew.
    pub(crate) fn report(&self) -> v1::TargetReport {
        let mut state = self.state();
        let (available, reason) = match state.breaker.status(Instant::now()) {
            Status::Closed => (true, String::new()),
            Status::Probing => (true, "coming back: one probe at a time".to_owned()),
            Status::Open(left) => (false, format!("failed repeatedly; left alone for {} ms", left.as_millis())),
            Status::Resting(left) => (false, format!("under pressure; left alone for {} ms", left.as_millis())),
        };
        let failures = std::mem::take(&mut state.failures);
        v1::TargetReport {
            provider: self.id.provider.to_string(),
            model: self.id.model.to_string(),
            attempts: std::mem::take(&mut state.attempts),
            failures: failures
                .into_iter()
                .map(|(class, count)| v1::ClassCount { class: class.as_str().to_owned(), count })
                .collect(),
            first_token_ewma_ms: state.first_token_ms.unwrap_or_default(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            available,
            reason,
        }
    }
}

/// One attempt under way. Dropped without an outcome, it was cancelled, and nothing is learned from it.
pub(crate) struct Ticket {
    target: Arc<Target>,
    pass: Option<Pass>,
}

impl Ticket {
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Content came, `first_token` after the attempt began. `unit` is random in `[0, 1)`.
    pub(crate) fn answered(&mut self, first_token: Duration, unit: f64) -> Option<Change> {
        let mut state = self.target.state();
        let sample = first_token.as_secs_f64() * 1000.0;
        state.first_token_ms = Some(state.first_token_ms.map_or(sample, |mean| mean + EWMA_ALPHA * (sample - mean)));
        let pass = self.pass.take()?;
        state.breaker.record(pass, Outcome::Answered, Instant::now(), unit)
    }

    /// It failed; also after content had come.
    pub(crate) fn failed(&mut self, failure: &Failure, unit: f64) -> Option<Change> {
        let now = Instant::now();
        let mut state = self.target.state();
        *state.failures.entry(failure.class).or_default() += 1;
        let pass = self.pass.take().unwrap_or_else(|| state.breaker.admit_anyway(now));
        state.breaker.record(pass, outcome(failure), now, unit)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(pass) = self.pass.take() {
            self.target.state().breaker.record(pass, Outcome::Unknown, Instant::now(), 0.0);
        }
    }
}

/// What a failure says about the target.
fn outcome(failure: &Failure) -> Outcome {
    match failure.class {
        FailureClass::Client | FailureClass::Refusal | FailureClass::ContextLength => Outcome::Answered,
        FailureClass::Credential => Outcome::Barred,
        FailureClass::Saturation => Outcome::Pressed(failure.retry_after),
        FailureClass::Provider | FailureClass::Transport => Outcome::Failed,
        FailureClass::Cancelled => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Arc<Target> {
        let id = TargetId { provider: "p".parse().unwrap(), model: "m".parse().unwrap() };
        Arc::new(Target::new(id))
    }

    fn fail(target: &Arc<Target>, class: FailureClass) {
        let mut ticket = target.begin(false).expect("available");
        let _ = ticket.failed(&Failure::new(class, "test"), 0.5);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_that_are_the_requests_own_never_close_the_door() {
        let target = target();
        for class in [FailureClass::Client, FailureClass::Refusal, FailureClass::ContextLength, FailureClass::Cancelled]
        {
            for _ in 0..10 {
                fail(&target, class);
            }
            assert_eq!(target.availability(), Availability::Available, "{}", class.as_str());
        }
        for _ in 0..3 {
            fail(&target, FailureClass::Transport);
        }
        assert!(matches!(target.availability(), Availability::Cooling(_)));
        assert!(target.begin(false).is_none());
        assert!(target.begin(true).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_counts_since_the_one_before() {
        let target = target();
        fail(&target, FailureClass::Provider);
        let mut ticket = target.begin(false).unwrap();
        let _ = ticket.answered(Duration::from_millis(80), 0.5);
        let report = target.report();
        assert_eq!((report.attempts, report.in_flight, report.available), (2, 1, true));
        assert_eq!(report.failures, [v1::ClassCount { class: "provider".into(), count: 1 }]);
        assert_eq!(report.first_token_ewma_ms, 80.0);
        drop(ticket);
        let report = target.report();
        assert_eq!((report.attempts, report.in_flight, report.failures.len()), (0, 0, 0));
    }
}
