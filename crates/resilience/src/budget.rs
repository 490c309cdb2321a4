//! What may be spent on asking again: a share of what succeeded, so that retries cannot multiply an outage.
//!
//! Source: the retry budget of Finagle, <https://twitter.github.io/finagle/guide/Clients.html#retries>; here as one token
//! bucket in place of windows.

use std::time::Duration;

use tokio::time::Instant;

/// The numbers.
#[derive(Debug, Clone, Copy)]
pub struct BudgetPolicy {
    /// Paid in by each success: one retry for so many successes.
    pub per_success: f64,
    /// Paid in by time, in tokens a second: what is left to a provider of which nothing succeeds. One look every two
    /// seconds finds a recovery and is no load.
    pub floor_per_s: f64,
    /// Most that is saved up: a quiet hour must not pay for a storm.
    pub most: f64,
    /// What a new one holds, so that the first requests after a start may be repeated.
    pub first: f64,
}

impl Default for BudgetPolicy {
    fn default() -> Self {
        Self { per_success: 0.2, floor_per_s: 0.5, most: 50.0, first: 10.0 }
    }
}

/// The budget of one provider.
#[derive(Debug)]
pub struct RetryBudget {
    policy: BudgetPolicy,
    tokens: f64,
    counted: Instant,
}

impl RetryBudget {
    /// A new one.
    #[must_use]
    pub fn new(policy: BudgetPolicy, now: Instant) -> Self {
        Self { policy, tokens: policy.first, counted: now }
    }

    /// Something succeeded.
    pub fn deposit(&mut self) {
        self.add(self.policy.per_success);
    }

    /// Takes one token, if there is one.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        let passed: Duration = now.saturating_duration_since(self.counted);
        self.counted = self.counted.max(now);
        self.add(passed.as_secs_f64() * self.policy.floor_per_s);
        let has = self.tokens >= 1.0;
        if has {
            self.tokens -= 1.0;
        }
        has
    }

    fn add(&mut self, tokens: f64) {
        self.tokens = (self.tokens + tokens).min(self.policy.most);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spend(budget: &mut RetryBudget, now: Instant) -> usize {
        std::iter::repeat_with(|| budget.withdraw(now)).take_while(|taken| *taken).count()
    }

    #[tokio::test(start_paused = true)]
    async fn successes_and_time_fill_it_up_to_its_limit() {
        let mut now = Instant::now();
        let mut budget = RetryBudget::new(BudgetPolicy::default(), now);
        assert_eq!(spend(&mut budget, now), 10);
        for _ in 0..22 {
            budget.deposit();
        }
        assert_eq!(spend(&mut budget, now), 4, "a fifth");
        now += Duration::from_secs(61);
        assert_eq!(spend(&mut budget, now), 30);
        now += Duration::from_secs(24 * 3600);
        assert_eq!(spend(&mut budget, now), 50);
    }

    proptest! {
        #[test]
        fn no_order_of_events_spends_more_than_was_paid_in(
            events in prop::collection::vec((any::<bool>(), 0u64..2000), 0..500),
        ) {
            let policy = BudgetPolicy::default();
            let start = Instant::now();
            let (mut now, mut successes, mut spent) = (start, 0.0, 0.0);
            let mut budget = RetryBudget::new(policy, start);
            for (success, wait_ms) in events {
                now += Duration::from_millis(wait_ms);
                if success {
                    successes += 1.0;
                    budget.deposit();
                } else if budget.withdraw(now) {
                    spent += 1.0;
                }
            }
            let paid = policy.first + successes * policy.per_success + (now - start).as_secs_f64() * policy.floor_per_s;
            prop_assert!(spent <= paid + 1e-6, "{spent} of {paid}");
        }
    }
}
