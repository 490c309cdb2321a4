//! One provider on this node: its pool, its places, its retry budget, and whether its credential is taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meridian_resilience::{
    Breaker, BudgetPolicy, Change, Hysteresis, Outcome, Pass, Policy, RetryBudget, Status, Verdict,
};
use meridian_upstream::Upstream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// When a refused credential is tried again by itself: the account may have been paid, and one request in that time is
/// no burden. One that changes on this node is used at once.
const CREDENTIAL_POLICY: fn() -> Policy = || Policy {
    // Only a refusal says something about a credential.
    consecutive: u32::MAX,
    volume: u32::MAX,
    max_cool_down: Duration::from_secs(30),
    successes: 1,
    // One that is taken is taken: there is nothing to warm up.
    first_share: 1.0,
    ..Policy::default()
};

/// Within this time after one of its targets was left alone a provider is probed for the first time: before the shortest
/// cool-down is over, and not by all nodes at once.
const FIRST_PROBE: Duration = Duration::from_millis(500);

/// One provider.
pub(crate) struct Account {
    pub(crate) upstream: Upstream,
    /// Places for requests in flight.
    slots: Arc<Semaphore>,
    credential: Mutex<Credential>,
    budget: Mutex<RetryBudget>,
    probes: Mutex<Probes>,
}

/// Whether the credential is taken.
struct Credential {
    breaker: Breaker,
    /// When the upstream last refused it; what an injected fault struck was not refused.
    refused: Option<Instant>,
}

impl Credential {
    fn new() -> Self {
        Self { breaker: Breaker::new(CREDENTIAL_POLICY()), refused: None }
    }
}

/// The provider's probes.
#[derive(Default)]
struct Probes {
    row: Hysteresis,
    /// When the next one may begin.
    next: Option<Instant>,
    /// One of its targets is left alone for failures.
    needed: bool,
    /// The last one said neither that it lives nor that it is dead.
    in_vain: bool,
}

impl Account {
    pub(crate) fn new(upstream: Upstream) -> Self {
        let slots = Arc::new(Semaphore::new(upstream.provider().max_in_flight as usize));
        let budget = RetryBudget::new(BudgetPolicy::default(), Instant::now());
        Self {
            upstream,
            slots,
            credential: Mutex::new(Credential::new()),
            budget: Mutex::new(budget),
            probes: Mutex::default(),
        }
    }

    fn budget(&self) -> MutexGuard<'_, RetryBudget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Pays into the retry budget: a request was answered.
    pub(crate) fn deposit(&self) {
        self.budget().deposit();
    }

    /// Takes from the retry budget what one more attempt costs; `false` if it is spent.
    pub(crate) fn withdraw(&self) -> bool {
        self.budget().withdraw(Instant::now())
    }

    fn probes(&self) -> MutexGuard<'_, Probes> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to probe now; if so, the next one is an interval away, more or less. `needed`: one of its targets is left
    /// alone; the first probe after that comes soon, because until then requests find out what has changed. `unit` is random
    /// in `[0, 1)`.
    pub(crate) fn probe_is_due(&self, needed: bool, now: Instant, unit: f64) -> bool {
        let interval = self.upstream.provider().probe().interval;
        let mut probes = self.probes();
        if self.upstream.provider().probe.is_none() && !needed {
            *probes = Probes::default();
            return false;
        }
        let later = now + interval.mul_f64(0.75 + unit / 2.0);
        let mut next = probes.next.unwrap_or(later);
        if needed && !std::mem::replace(&mut probes.needed, needed) {
            next = next.min(now + FIRST_PROBE.mul_f64(unit));
        }
        probes.needed = needed;
        let due = next <= now;
        probes.next = Some(if due { later } else { next });
        due
    }

    /// The longest time from one probe to the next.
    pub(crate) fn next_probe_within(&self) -> Duration {
        self.upstream.provider().probe().interval.mul_f64(1.25)
    }

    /// Takes the outcome of a probe.
    pub(crate) fn probed(&self, good: bool) -> Option<Verdict> {
        let mut probes = self.probes();
        probes.in_vain = false;
        probes.row.record(good)
    }

    /// A probe had no outcome. `true`: the one before had.
    pub(crate) fn probed_in_vain(&self) -> bool {
        !std::mem::replace(&mut self.probes().in_vain, true)
    }

    fn credential(&self) -> MutexGuard<'_, Credential> {
        // Nothing that is done under the lock panics half-way.
        self.credential.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one request, if there is one; give it back by dropping it.
    pub(crate) fn take_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Whether the credential would be used now.
    pub(crate) fn credential_status(&self) -> Status {
        self.credential().breaker.status(Instant::now())
    }

    /// The upstream refused the credential.
    pub(crate) fn refused(&self) {
        self.credential().refused = Some(Instant::now());
    }

    /// Whether the upstream refuses it, as far as was found within `life`.
    pub(crate) fn is_refused(&self, life: Duration) -> bool {
        let credential = self.credential();
        credential.breaker.opened_for().is_some() && credential.refused.is_some_and(|at| at.elapsed() < life)
    }

    /// Leave to use the credential; `None` if it is left alone.
    pub(crate) fn admit(&self) -> Option<Pass> {
        self.credential().breaker.admit(Instant::now()).ok()
    }

    /// Leave to use the credential even if it is left alone.
    pub(crate) fn admit_anyway(&self) -> Pass {
        self.credential().breaker.admit_anyway(Instant::now())
    }

    /// What an attempt said of the credential. `unit` is random in `[0, 1)`.
    pub(crate) fn record(&self, pass: Pass, outcome: Outcome, unit: f64) -> Option<Change> {
        self.credential().breaker.record(pass, outcome, Instant::now(), unit)
    }

    /// The credential is another one now: what was known of the old one is void.
    pub(crate) fn credential_changed(&self) {
        *self.credential() = Credential::new();
    }
}
