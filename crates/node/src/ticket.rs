//! One attempt under way: what it holds at its target, and what its outcome says of the target and of the credential.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meridian_llm::Failure;
use meridian_resilience::{Blame, Change, Outcome, Pass};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::account::Account;
use crate::target::Target;

/// Places at a provider and at a target. Dropped without an outcome, the attempt was cancelled, and nothing is learned
/// from it.
pub(crate) struct Ticket {
    target: Arc<Target>,
    account: Arc<Account>,
    passes: Option<Passes>,
    /// An injected fault strikes it: what comes of it is not the upstream's doing.
    struck: AtomicBool,
    _slot: OwnedSemaphorePermit,
}

struct Passes {
    target: Pass,
    credential: Pass,
}

impl Passes {
    fn of(account: &Account, target: &Target) -> Option<Self> {
        let now = Instant::now();
        let mut state = target.state();
        let pass = state.breaker.admit(now).ok()?;
        let Some(credential) = account.admit() else {
            let _ = state.breaker.record(pass, Outcome::Unknown, now, 0.0);
            return None;
        };
        Some(Self { target: pass, credential })
    }

    fn anyway(account: &Account, target: &Target) -> Self {
        let target = target.state().breaker.admit_anyway(Instant::now());
        Self { target, credential: account.admit_anyway() }
    }
}

/// What changed by an outcome.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) target: Option<Change>,
    pub(crate) credential: Option<Change>,
}

impl Ticket {
    /// Begins an attempt; `None` if there is no place, or if a breaker says no by now. A `last_resort` passes breakers.
    pub(crate) fn begin(account: &Arc<Account>, target: &Arc<Target>, last_resort: bool) -> Option<(Self, Changes)> {
        let slot = account.take_slot()?;
        let passes = match last_resort {
            true => Passes::anyway(account, target),
            false => Passes::of(account, target)?,
        };
        target.state().attempts += 1;
        target.in_flight.fetch_add(1, Ordering::Relaxed);
        let (target, account) = (Arc::clone(target), Arc::clone(account));
        let changes = Changes { target: passes.target.change(), credential: passes.credential.change() };
        Some((Self { target, account, passes: Some(passes), struck: AtomicBool::new(false), _slot: slot }, changes))
    }

    /// An injected fault strikes it.
    pub(crate) fn strike(&self) {
        self.struck.store(true, Ordering::Relaxed);
    }

    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// A stream's first content was waited for so long, at least.
    pub(crate) fn waited(&self, first_token: Duration) {
        self.target.state().waited(first_token);
    }

    /// It answered; if it generates, content came `first_token` after the attempt began. `unit` is random in `[0, 1)`.
    pub(crate) fn answered(&mut self, first_token: Option<Duration>, unit: f64) -> Changes {
        {
            let mut state = self.target.state();
            state.found_up();
            if let Some(first_token) = first_token {
                state.sample(first_token);
            }
        }
        self.account.deposit();
        self.record(Blame::ANSWERED, unit)
    }

    /// It failed; also after content had come. `again`: the target has failed this request before.
    pub(crate) fn failed(&mut self, failure: &Failure, again: bool, unit: f64) -> Changes {
        *self.target.state().failures.entry(failure.class).or_default() += 1;
        let blame = Blame::of(failure);
        let blame = self.found(if again { blame.repeated() } else { blame });
        // They were given back when content came: the failure is news.
        self.passes.get_or_insert_with(|| Passes::anyway(&self.account, &self.target));
        self.record(blame, unit)
    }

    /// Notes what a failure says of the upstream, and believes others who have said so before.
    fn found(&self, blame: Blame) -> Blame {
        if self.struck.load(Ordering::Relaxed) {
            return blame;
        }
        if blame.credential == Outcome::Barred {
            self.account.refused();
        }
        let mut state = self.target.state();
        match blame.target {
            Outcome::Failed => {
                state.found_down();
                let target = if state.is_suspect() { Outcome::Confirmed } else { Outcome::Failed };
                return Blame { target, ..blame };
            }
            Outcome::Barred => state.found_down(),
            // It says no to this request, and yes to others.
            Outcome::Answered => state.found_up(),
            _ => {}
        }
        blame
    }

    fn record(&mut self, blame: Blame, unit: f64) -> Changes {
        let Some(passes) = self.passes.take() else { return Changes::default() };
        let target = self.target.state().breaker.record(passes.target, blame.target, Instant::now(), unit);
        Changes { target, credential: self.account.record(passes.credential, blame.credential, unit) }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.target.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.record(Blame { target: Outcome::Unknown, credential: Outcome::Unknown }, 0.0);
    }
}

#[cfg(test)]
mod outage;
#[cfg(test)]
mod tests;
