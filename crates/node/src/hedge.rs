//! Hedging: a second target is asked when the first is late with its first content, for models that ask for it.
//!
//! Source: Dean and Barroso, "The Tail at Scale", <https://research.google/pubs/the-tail-at-scale/>: waiting for the 95th
//! percentile before the second request keeps its cost at a few percent and still cuts the tail.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meridian_providers::UpstreamRequest;
use meridian_resilience::{BudgetPolicy, RetryBudget};
use meridian_routing::Candidate;
use meridian_types::model::{self, Policy};
use tokio::time::Instant;

use crate::attempts::{Attempts, Lost, Ready};
use crate::itinerary::Itinerary;

/// The first target is late when it has taken longer than this share of its answers lately.
const LATE: f64 = 0.95;

/// Most hedges that are saved up: a quiet hour must not pay for twice the load in a storm.
const MOST_SAVED: f64 = 10.0;

/// What one model may spend on second requests.
pub(crate) struct Budget {
    pub(crate) of: model::Hedge,
    tokens: Mutex<RetryBudget>,
}

impl Budget {
    pub(crate) fn new(of: model::Hedge) -> Self {
        let per_success = f64::from(of.budget_percent) / 100.0;
        let policy = BudgetPolicy { per_success, floor_per_s: 0.0, most: MOST_SAVED, first: 0.0 };
        Self { of, tokens: Mutex::new(RetryBudget::new(policy, Instant::now())) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut RetryBudget) -> T) -> T {
        // Nothing that is done under the lock panics half-way.
        change(&mut self.tokens.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When a second target is asked beside the first.
pub(crate) struct Hedge {
    pub(crate) at: Instant,
    first: Candidate,
    budget: Arc<Budget>,
}

impl Attempts<'_> {
    /// Whether the request is one to hedge, and when. Only the first attempt at a stream is, and only at a target of which
    /// enough is known.
    pub(crate) fn hedge_after(&self, ready: &Ready, policy: &Policy) -> Option<Hedge> {
        let of = policy.hedge?;
        if !self.request.head().stream || self.begun.is_some() || ready.number != 1 {
            return None;
        }
        let budget = self.snapshot.hedges.get(self.request.head().model.as_str()).filter(|budget| budget.of == of)?;
        budget.with(RetryBudget::deposit);
        let target = ready.ticket.target();
        let ms = target.state().first_tokens.quantile_ms(LATE, Instant::now())?;
        let at = ready.ticket.began() + Duration::from_secs_f64(ms / 1000.0);
        Some(Hedge { at, first: ready.leg.candidate.clone(), budget: Arc::clone(budget) })
    }

    /// The second target, if there is one that may be asked and the budget allows it.
    pub(crate) async fn second(
        &self,
        hedge: &Hedge,
        itinerary: &mut Itinerary,
        lost: &mut Lost,
    ) -> Option<(Ready, UpstreamRequest)> {
        let allowed = |candidate: &Candidate| allows(hedge.budget.of, &hedge.first, candidate);
        let leg = itinerary.hedge(allowed)?;
        if !hedge.budget.with(|budget| budget.withdraw(Instant::now())) {
            itinerary.put_back(leg);
            self.node.metrics.hedged("no_budget");
            return None;
        }
        self.prepare(leg, itinerary, lost).await
    }
}

/// Whether the second may serve what the first is late with: the same public model, well, and not too dear.
fn allows(of: model::Hedge, first: &Candidate, second: &Candidate) -> bool {
    let affordable = match (of.max_price_percent, first.price, second.price) {
        (None, _, _) => true,
        (Some(percent), Some(first), Some(second)) => {
            u128::from(second.weighed()) * 100 <= u128::from(first.weighed()) * u128::from(percent)
        }
        (Some(_), _, _) => false,
    };
    !second.last_resort && affordable && second.model == first.model && second.target != first.target
}

#[cfg(test)]
mod tests {
    use meridian_types::model::Price;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn second_requests_stay_within_their_share_of_all() {
        let budget = Budget::new(model::Hedge { budget_percent: 5, max_price_percent: None });
        let mut hedges = 0;
        for request in 1..=2000 {
            budget.with(RetryBudget::deposit);
            hedges += u32::from(budget.with(|budget| budget.withdraw(Instant::now())));
            assert!(hedges * 20 <= request, "{hedges} of {request}");
        }
        assert!(hedges >= 99, "{hedges}: they are spent");
    }

    #[track_caller]
    fn check(percent: Option<u32>, prices: [Option<u64>; 2], change: impl FnOnce(&mut Candidate), expected: bool) {
        let candidate = |provider: &str, price: Option<u64>| Candidate {
            target: meridian_routing::TargetId { provider: provider.parse().unwrap(), model: "up".parse().unwrap() },
            model: "m".parse().unwrap(),
            last_resort: false,
            prefill: None,
            price: price.map(|price| Price { input_micro_usd: price, output_micro_usd: price }),
        };
        let first = candidate("a", prices[0]);
        let mut second = candidate("b", prices[1]);
        change(&mut second);
        let of = model::Hedge { budget_percent: 5, max_price_percent: percent };
        assert_eq!(allows(of, &first, &second), expected, "{percent:?} {prices:?}");
    }

    #[test]
    fn only_a_target_that_is_well_and_not_too_dear_is_the_second() {
        check(None, [None, None], |_| {}, true);
        check(None, [None, None], |second| second.last_resort = true, false);
        check(None, [None, None], |second| second.model = "fallback".parse().unwrap(), false);
        check(Some(100), [Some(10), Some(10)], |_| {}, true);
        check(Some(100), [Some(10), Some(11)], |_| {}, false);
        check(Some(150), [Some(10), Some(15)], |_| {}, true);
        check(Some(100), [Some(10), None], |_| {}, false);
        check(Some(100), [None, Some(10)], |_| {}, false);
    }
}
