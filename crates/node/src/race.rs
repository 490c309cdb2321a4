//! Asks others beside a target that is silent: whoever begins to answer first serves, and the rest is cancelled.
//!
//! There are two occasions. A model that hedges asks a second target when the first is later than usual (`hedge`). And a
//! client that says how long it waits must not lose that time to one target: when a silent one has used up its share of it,
//! the next is asked too. Nobody is given up for that, so that a target that is only slow may still win.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use meridian_providers::UpstreamRequest;
use meridian_resilience::{Next, after_failure, longest_silence};
use meridian_routing::TargetId;
use meridian_types::model::Policy;
use tokio::time::{Instant, sleep_until};

use crate::attempts::{Attempts, Lost, Outcome, Ready};
use crate::hedge::Hedge;
use crate::itinerary::Itinerary;
use crate::source::is_haste;

/// When others are asked beside a target.
pub(crate) struct Company {
    hedge: Option<Hedge>,
    /// When it has used up its share of the client's time.
    share: Option<Instant>,
}

impl Attempts<'_> {
    /// Whether others may have to be asked beside the leg; `None`: it is waited for alone.
    pub(crate) fn company(&self, ready: &Ready, itinerary: &Itinerary, policy: &Policy) -> Option<Company> {
        let company = Company { hedge: self.hedge_after(ready, policy), share: self.share(ready, itinerary) };
        (company.hedge.is_some() || company.share.is_some()).then_some(company)
    }

    /// When the leg has used up its share; `None`: its own deadlines end it sooner, or there is nobody else to ask.
    fn share(&self, ready: &Ready, itinerary: &Itinerary) -> Option<Instant> {
        let began = ready.ticket.began();
        let left = self.patience.left(began).filter(|_| itinerary.has_other())?;
        let own = longest_silence(&self.deadlines(ready), self.request.head().stream);
        // No share is below half, and what is usual takes some work to find out.
        if left / 2 >= own {
            return None;
        }
        let share = self.patience.share(began, ready.ticket.usual()).filter(|share| *share < own)?;
        Some(began + share)
    }

    /// Asks the first, and others when their time comes. Gives the outcome of each that came to one; a success is the last.
    pub(crate) async fn race(
        &self,
        company: Company,
        first: Ready,
        request: UpstreamRequest,
        itinerary: &mut Itinerary,
        lost: &mut Lost,
    ) -> Vec<(Outcome, Ready)> {
        let Company { mut hedge, mut share } = company;
        let (outrun, mut second, mut ended) = (AtomicBool::new(false), None, Vec::new());
        let mut under_way = FuturesUnordered::new();
        under_way.push(self.run_leg(first, request, &outrun));
        while !under_way.is_empty() {
            let next_at = hedge.as_ref().map(|hedge| hedge.at).into_iter().chain(share).min();
            tokio::select! {
                biased;
                Some((outcome, ready)) = under_way.next() => {
                    let next = outcome.as_ref().err().map(|failure| after_failure(failure.class));
                    // If its time is over, that of all is, and each says so.
                    let goes_on = outcome.as_ref().is_err_and(is_haste) || next.is_some_and(|next| next != Next::Answer);
                    ended.push((outcome, ready));
                    if !goes_on {
                        break;
                    }
                    if next == Some(Next::Target) {
                        // Whoever is still asked may serve, but the next one need not wait for that.
                        share = itinerary.has_other().then(Instant::now);
                    }
                }
                () = reached(next_at) => {
                    let other = match hedge.take_if(|hedge| hedge.at <= Instant::now()) {
                        Some(hedge) => {
                            let other = self.second(&hedge, itinerary, lost).await;
                            second = other.as_ref().map(|(ready, _)| ready.leg.candidate.target.clone());
                            other
                        }
                        None => {
                            share = None;
                            let other = self.next_beside(itinerary, lost).await;
                            if let Some((ready, _)) = &other {
                                tracing::debug!(target = %ready.leg.candidate.target, "asked beside a silent one");
                                share = self.share(ready, itinerary);
                            }
                            other
                        }
                    };
                    if let Some((ready, request)) = other {
                        under_way.push(self.run_leg(ready, request, &outrun));
                    }
                }
            }
        }
        let winner = ended.last().filter(|(outcome, _)| outcome.is_ok()).map(|(_, ready)| &ready.leg.candidate.target);
        if let Some(second) = second {
            self.count_hedge(&second, winner);
        }
        outrun.store(winner.is_some(), Ordering::Relaxed);
        drop(under_way);
        ended
    }

    async fn run_leg(&self, ready: Ready, request: UpstreamRequest, outrun: &AtomicBool) -> (Outcome, Ready) {
        (self.ask(&ready, request, outrun).await, ready)
    }

    /// The next that can be asked at once. Nobody is asked again while others may still answer.
    async fn next_beside(&self, itinerary: &mut Itinerary, lost: &mut Lost) -> Option<(Ready, UpstreamRequest)> {
        while let Some(leg) = itinerary.next_untried() {
            if let Some(other) = self.prepare(leg, itinerary, lost).await {
                return Some(other);
            }
        }
        None
    }

    fn count_hedge(&self, second: &TargetId, winner: Option<&TargetId>) {
        let result = match winner {
            Some(winner) if winner == second => "won",
            Some(_) => "lost",
            None => "failed",
        };
        self.node.metrics.hedged(result);
        tracing::debug!(%second, result, "hedged");
    }
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
