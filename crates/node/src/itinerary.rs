//! In which order one request asks, and what each attempt costs: pure, told what happened.
//!
//! The first attempt and the first failover to another target are free. Every later one spends from the retry budget
//! of the provider that is asked. When no other target is left, one that may do better is asked again, later.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use meridian_llm::{Failure, FailureClass};
use meridian_resilience::{MAX_ATTEMPTS, MAX_REPEATS, MAX_WAIT, Next, after_failure, may_repeat};
use meridian_routing::Candidate;
use meridian_types::{ModelName, ProviderName};

/// The way of one request.
pub(crate) struct Itinerary {
    untried: VecDeque<Candidate>,
    /// Asked in vain, and worth another try.
    again: Vec<Repeat>,
    asked: usize,
    /// A model whose context is too small.
    too_small: Option<ModelName>,
    /// What one provider's filter refused may be asked of others.
    reroute_refusals: bool,
    /// An answer has begun: what a target refuses now is to go on with it, for the request itself was taken.
    continues: bool,
    /// Providers whose filter refused.
    refused_by: BTreeSet<ProviderName>,
    over: bool,
}

/// A target that may be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeat {
    /// Times that it has been asked again.
    pub(crate) times: u32,
    /// How long it asked to be left alone.
    pub(crate) retry_after: Duration,
    candidate: Candidate,
}

/// The next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leg {
    pub(crate) candidate: Candidate,
    /// It spends from its provider's retry budget.
    pub(crate) paid: bool,
    /// It repeats an earlier one.
    pub(crate) repeat: Option<Repeat>,
}

impl Itinerary {
    pub(crate) fn new(candidates: Vec<Candidate>, reroute_refusals: bool) -> Self {
        Self {
            untried: candidates.into(),
            again: Vec::new(),
            asked: 0,
            too_small: None,
            reroute_refusals,
            continues: false,
            refused_by: BTreeSet::new(),
            over: false,
        }
    }

    /// The way of a request whose answer has begun elsewhere.
    pub(crate) fn continuing(candidates: Vec<Candidate>) -> Self {
        Self { continues: true, ..Self::new(candidates, false) }
    }

    /// Whom to ask next; `None`: nobody. A leg that is not followed by [`Itinerary::ask`] is passed over.
    pub(crate) fn next(&mut self) -> Option<Leg> {
        self.next_untried().or_else(|| self.next_again())
    }

    /// Whom to ask next beside those that are being asked; `None`: nobody.
    pub(crate) fn next_untried(&mut self) -> Option<Leg> {
        if self.over || self.asked == MAX_ATTEMPTS {
            return None;
        }
        while let Some(candidate) = self.untried.pop_front() {
            let refused = self.refused_by.contains(&candidate.target.provider);
            if !refused && self.too_small.as_ref() != Some(&candidate.model) {
                return Some(Leg { candidate, paid: self.asked >= 2, repeat: None });
            }
        }
        None
    }

    fn next_again(&mut self) -> Option<Leg> {
        if self.over || self.asked == MAX_ATTEMPTS {
            return None;
        }
        let worth = |repeat: &Repeat| repeat.times < MAX_REPEATS && repeat.retry_after <= MAX_WAIT;
        self.again.retain(worth);
        let soonest = (0..self.again.len()).min_by_key(|at| self.again.get(*at).map(|repeat| repeat.retry_after))?;
        let repeat = self.again.remove(soonest);
        Some(Leg { candidate: repeat.candidate.clone(), paid: true, repeat: Some(repeat) })
    }

    /// The first that `allowed` lets be asked beside the present leg, out of its turn.
    pub(crate) fn hedge(&mut self, allowed: impl Fn(&Candidate) -> bool) -> Option<Leg> {
        if self.over || self.asked == MAX_ATTEMPTS {
            return None;
        }
        let candidate = self.untried.remove(self.untried.iter().position(allowed)?)?;
        // Paid by another budget.
        Some(Leg { candidate, paid: false, repeat: None })
    }

    /// The leg was not asked after all.
    pub(crate) fn put_back(&mut self, leg: Leg) {
        self.untried.push_front(leg.candidate);
    }

    /// The leg's target is asked now.
    pub(crate) fn ask(&mut self) {
        self.asked += 1;
    }

    /// Attempts so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked
    }

    /// Whether another target may be asked after the present leg.
    pub(crate) fn has_other(&self) -> bool {
        self.asked < MAX_ATTEMPTS && !self.untried.is_empty()
    }

    /// How the leg ended.
    pub(crate) fn failed(&mut self, leg: Leg, failure: &Failure) {
        match after_failure(failure.class) {
            Next::Target => {}
            Next::Model => self.too_small = Some(leg.candidate.model.clone()),
            Next::Answer if failure.class == FailureClass::Client && self.continues => {}
            Next::Answer if failure.class == FailureClass::Refusal && self.reroute_refusals => {
                self.refused_by.insert(leg.candidate.target.provider.clone());
            }
            Next::Answer => self.over = true,
        }
        if may_repeat(failure) {
            let times = leg.repeat.map_or(0, |repeat| repeat.times + 1);
            let retry_after = failure.retry_after.unwrap_or_default();
            self.again.push(Repeat { times, retry_after, candidate: leg.candidate });
        }
    }

    /// No other target can honour the request.
    pub(crate) fn end(&mut self) {
        self.over = true;
    }
}

#[cfg(test)]
mod tests;
