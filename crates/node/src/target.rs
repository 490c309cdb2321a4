//! One target's health and statistics on this node. They outlive configurations.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meridian_llm::FailureClass;
use meridian_proto::node::v1;
use meridian_resilience::{Breaker, Policy, Status};
use meridian_routing::{Availability, TargetId};
use tokio::time::Instant;

use crate::account::Account;

/// Share of the newest sample in the average of times to first content: about ten samples are remembered.
const EWMA_ALPHA: f64 = 0.2;

/// One target.
pub(crate) struct Target {
    pub(crate) id: TargetId,
    pub(crate) in_flight: AtomicU32,
    state: Mutex<State>,
}

/// What changes with every attempt.
pub(crate) struct State {
    pub(crate) breaker: Breaker,
    pub(crate) attempts: u64,
    pub(crate) failures: BTreeMap<FailureClass, u64>,
    first_token_ms: Option<f64>,
}

impl State {
    /// Content came this long after an attempt began.
    pub(crate) fn sample(&mut self, first_token: Duration) {
        let sample = first_token.as_secs_f64() * 1000.0;
        self.first_token_ms = Some(self.first_token_ms.map_or(sample, |mean| mean + EWMA_ALPHA * (sample - mean)));
    }
}

impl Target {
    pub(crate) fn new(id: TargetId) -> Self {
        let breaker = Breaker::new(Policy::default());
        let state = State { breaker, attempts: 0, failures: BTreeMap::new(), first_token_ms: None };
        Self { id, in_flight: AtomicU32::new(0), state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For planning: the longer of the two waits counts.
    pub(crate) fn availability(&self, account: &Account) -> Availability {
        let own = left(self.state().breaker.status(Instant::now()));
        match own.max(left(account.credential_status())) {
            Some((left, true)) => Availability::Resting(left),
            Some((left, false)) => Availability::Cooling(left),
            None => Availability::Available,
        }
    }

    /// Its part of a report; counts start anew.
    pub(crate) fn report(&self, account: Option<&Account>) -> v1::TargetReport {
        let credential = account.map_or(Status::Closed, Account::credential_status);
        let mut state = self.state();
        let (available, reason) = match (state.breaker.status(Instant::now()), credential) {
            (_, Status::Open(left)) => (false, format!("credential refused; left alone for {} ms", left.as_millis())),
            (Status::Closed, _) => (true, String::new()),
            (Status::Probing, _) => (true, "coming back: one probe at a time".to_owned()),
            (Status::Open(left), _) => (false, format!("failed repeatedly; left alone for {} ms", left.as_millis())),
            (Status::Resting { left, .. }, _) => {
                (false, format!("under pressure; left alone for {} ms", left.as_millis()))
            }
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

/// How much longer it is left alone, and whether it asked for that; `None` if it is not.
fn left(status: Status) -> Option<(Duration, bool)> {
    match status {
        Status::Closed => None,
        Status::Open(left) => Some((left, false)),
        Status::Resting { left, asked } => Some((left, asked)),
        // The probe under way decides within about a first token's time.
        Status::Probing => Some((Duration::from_secs(1), false)),
    }
}
