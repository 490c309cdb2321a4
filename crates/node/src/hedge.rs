//! Hedging: a second target is asked when the first is late with its first content, for models that ask for it.
//!
//! Source: Dean and Barroso, "The Tail at Scale", <https://research.google/pubs/the-tail-at-scale/>: waiting for the 95th
//! percentile before the second request keeps its cost at a few percent and still cuts the tail.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meridian_llm::Failure;
use meridian_providers::UpstreamRequest;
use meridian_resilience::{BudgetPolicy, RetryBudget};
use meridian_routing::Candidate;
use meridian_types::model::{self, Policy};
use tokio::time::Instant;

use crate::attempt::Answer;
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

/// When a second target is asked.
pub(crate) struct Hedge {
    after: Duration,
    budget: Arc<Budget>,
}

type Outcome = Result<(Answer, Duration), Failure>;

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
        Some(Hedge { after: Duration::from_secs_f64(ms / 1000.0), budget: Arc::clone(budget) })
    }

    /// Asks the first, and, if it is late, a second one; whoever answers first wins, and the other is cancelled at once.
    /// Gives the outcome of each that came to one.
    pub(crate) async fn hedged(
        &self,
        hedge: Hedge,
        first: Ready,
        request: UpstreamRequest,
        itinerary: &mut Itinerary,
        lost: &mut Lost,
    ) -> Vec<(Outcome, Ready)> {
        let mut one = Box::pin(self.ask(&first, request));
        if let Ok(outcome) = tokio::time::timeout(hedge.after, &mut one).await {
            drop(one);
            return vec![(outcome, first)];
        }
        let Some((second, request)) = self.second(&hedge, &first, itinerary, lost).await else {
            let outcome = one.await;
            return vec![(outcome, first)];
        };
        let (a, b) = first_success(one, Box::pin(self.ask(&second, request))).await;
        let result = match (&a, &b) {
            (_, Some(Ok(_))) => "won",
            (Some(Ok(_)), _) => "lost",
            _ => "failed",
        };
        self.node.metrics.hedged(result);
        tracing::debug!(first = %first.leg.candidate.target, second = %second.leg.candidate.target, result, "hedged");
        let mut outcomes = Vec::new();
        for (outcome, ready) in [(a, first), (b, second)] {
            match outcome {
                Some(outcome) => outcomes.push((outcome, ready)),
                None => {
                    // It would have taken longer still; left out, a slow target would look fast.
                    ready.ticket.waited(ready.began.elapsed());
                    self.node.metrics.attempted(&ready.ticket.target().id, "outrun");
                }
            }
        }
        // A failure is settled before the success that ends the request.
        outcomes.sort_by_key(|(outcome, _)| outcome.is_ok());
        outcomes
    }

    /// The second target, if there is one that may be asked and the budget allows it.
    async fn second(
        &self,
        hedge: &Hedge,
        first: &Ready,
        itinerary: &mut Itinerary,
        lost: &mut Lost,
    ) -> Option<(Ready, UpstreamRequest)> {
        let allowed = |candidate: &Candidate| allows(hedge.budget.of, &first.leg.candidate, candidate);
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
    let well = !second.last_resort && !second.asked_for_rest;
    let affordable = match (of.max_price_percent, first.price, second.price) {
        (None, _, _) => true,
        (Some(percent), Some(first), Some(second)) => {
            u128::from(second.weighed()) * 100 <= u128::from(first.weighed()) * u128::from(percent)
        }
        (Some(_), _, _) => false,
    };
    well && affordable && second.model == first.model && second.target != first.target
}

/// Waits until one of the two succeeds, or both have failed; `None`: it was not waited for.
async fn first_success<T, E>(
    one: impl Future<Output = Result<T, E>>,
    two: impl Future<Output = Result<T, E>>,
) -> (Option<Result<T, E>>, Option<Result<T, E>>) {
    let (mut one, mut two) = (pin!(one), pin!(two));
    tokio::select! {
        biased;
        a = &mut one => {
            let b = if a.is_ok() { None } else { Some(two.await) };
            (Some(a), b)
        }
        b = &mut two => {
            let a = if b.is_ok() { None } else { Some(one.await) };
            (a, Some(b))
        }
    }
}

#[cfg(test)]
mod tests {
    use meridian_types::model::Price;

    use super::*;

    async fn after(ms: u64, good: bool) -> Result<u64, u64> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        if good { Ok(ms) } else { Err(ms) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_success_wins_and_a_failure_waits_for_the_other() {
        type Ended = (Option<Result<u64, u64>>, Option<Result<u64, u64>>);
        let cases: [(bool, bool, Ended, u64); 4] = [
            (true, true, (None, Some(Ok(10))), 10),
            (true, false, (Some(Ok(20)), Some(Err(10))), 20),
            (false, true, (None, Some(Ok(10))), 10),
            (false, false, (Some(Err(20)), Some(Err(10))), 20),
        ];
        for (one, two, expected, took_ms) in cases {
            let start = Instant::now();
            assert_eq!(first_success(after(20, one), after(10, two)).await, expected);
            assert_eq!(start.elapsed(), Duration::from_millis(took_ms));
        }
        assert_eq!(first_success(after(5, true), after(9, true)).await, (Some(Ok(5)), None));
        assert_eq!(first_success(after(5, false), after(9, true)).await, (Some(Err(5)), Some(Ok(9))));
    }

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
            asked_for_rest: false,
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
        check(None, [None, None], |second| second.asked_for_rest = true, false);
        check(None, [None, None], |second| second.model = "fallback".parse().unwrap(), false);
        check(Some(100), [Some(10), Some(10)], |_| {}, true);
        check(Some(100), [Some(10), Some(11)], |_| {}, false);
        check(Some(150), [Some(10), Some(15)], |_| {}, true);
        check(Some(100), [Some(10), None], |_| {}, false);
        check(Some(100), [None, Some(10)], |_| {}, false);
    }
}
