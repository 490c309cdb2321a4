//! The attempt loop: one candidate after the other, until one begins a real answer or nothing is left to try.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use meridian_ingress::TraceContext;
use meridian_llm::{Begun, ClientError, ClientRequest, Failure};
use meridian_providers::{UpstreamRequest, continue_request, name_token_limit};
use meridian_resilience::{MAX_WAIT, Patience, backoff};
use meridian_routing::{Availability, Candidate, Cause, TargetId};
use meridian_types::provider::Deadlines;
use meridian_types::{ErrorCode, ModelName};
use meridian_upstream::Upstream;
use tokio::time::Instant;

use crate::account::Account;
use crate::attempt::{Answer, Attempt};
use crate::itinerary::{Itinerary, Leg};
use crate::journal::Journal;
use crate::node::Node;
use crate::resting::Resting;
use crate::snapshot::Snapshot;
use crate::switches::WHY;
use crate::target::{Target, Took};
use crate::ticket::{Awaited, Ticket};
use crate::watch::Watch;

/// What the loop works on.
pub(crate) struct Attempts<'a> {
    pub(crate) node: &'a Arc<Node>,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) request: &'a ClientRequest,
    pub(crate) trace: &'a TraceContext,
    /// How long the client waits.
    pub(crate) patience: Patience,
    /// Where who was asked is noted.
    pub(crate) journal: &'a Journal,
    /// What another target has said of the answer, if this is to go on with it.
    pub(crate) begun: Option<Begun<'a>>,
}

/// A target that has begun to answer.
pub(crate) struct Served {
    pub(crate) answer: Answer,
    /// What holds places at the target while its answer goes on.
    pub(crate) ticket: Ticket,
    /// Which public model it is: the one asked for, or a fallback.
    pub(crate) model: ModelName,
    /// Targets asked, this one included.
    pub(crate) attempts: usize,
    /// Parameters that were dropped or clamped.
    pub(crate) adjusted: Vec<String>,
}

/// What came of asking one: the beginning of an answer, and how long it took.
pub(crate) type Outcome = Result<(Answer, Duration), Failure>;

/// A leg that can be asked at once.
pub(crate) struct Ready {
    pub(crate) leg: Leg,
    pub(crate) ticket: Ticket,
    pub(crate) account: Arc<Account>,
    pub(crate) adjusted: Vec<String>,
    /// Counts the request's attempts from 1.
    pub(crate) number: usize,
}

/// Nobody served.
#[derive(Default)]
pub(crate) struct Lost {
    /// Who was asked and how each failed, in order.
    pub(crate) tried: Vec<Tried>,
    /// Why a target was not asked: it cannot honour the request.
    pub(crate) unsupported: Option<ClientError>,
    /// A target was not asked for want of a place: one that is free now may be asked at once.
    pub(crate) full: bool,
    /// Who, of all that may serve the request, has asked to be left alone.
    pub(crate) resting: Vec<Resting>,
}

impl Lost {
    /// Who rests and was not asked for that reason.
    pub(crate) fn spared(&self) -> impl Iterator<Item = &Resting> {
        self.resting.iter().filter(|resting| self.tried.iter().all(|tried| tried.target != resting.target))
    }
}

/// One attempt in vain.
pub(crate) struct Tried {
    pub(crate) target: TargetId,
    pub(crate) failure: Failure,
    pub(crate) took: Duration,
}

impl Attempts<'_> {
    /// Asks the candidates in order.
    pub(crate) async fn run(&self, candidates: Vec<Candidate>) -> Result<Served, Lost> {
        let mut lost = Lost::default();
        let asked_for = self.snapshot.policy(&self.request.head().model);
        let mut itinerary = match self.begun {
            None => Itinerary::new(candidates, asked_for.reroute_refusals),
            Some(_) => Itinerary::continuing(candidates),
        };
        while let Some(leg) = itinerary.next() {
            let Some((ready, request)) = self.prepare(leg, &mut itinerary, &mut lost).await else { continue };
            let outcomes = match self.company(&ready, &itinerary, &asked_for) {
                None => vec![(self.ask(&ready, request, &AtomicBool::default()).await, ready)],
                // Large, and seldom needed: off the stack of the request.
                Some(company) => Box::pin(self.race(company, ready, request, &mut itinerary, &mut lost)).await,
            };
            for (outcome, mut ready) in outcomes {
                match outcome {
                    Ok((answer, took)) => {
                        let took = if self.request.head().stream { Took::FirstToken(took) } else { Took::Whole(took) };
                        // Counting tokens takes no time that generating them takes.
                        let took = self.request.endpoint().generates().then_some(took);
                        self.settle(&mut ready.ticket, Ok(took));
                        let Ready { leg, ticket, adjusted, .. } = ready;
                        let (model, attempts) = (leg.candidate.model, itinerary.asked());
                        return Ok(Served { answer, ticket, model, attempts, adjusted });
                    }
                    Err(failure) => {
                        self.settle(&mut ready.ticket, Err((&failure, ready.leg.repeat.is_some())));
                        let (target, took) = (ready.leg.candidate.target.clone(), ready.ticket.began().elapsed());
                        itinerary.failed(ready.leg, &failure);
                        lost.tried.push(Tried { target, failure, took });
                    }
                }
            }
        }
        Err(lost)
    }

    /// Makes the request for a leg and takes its places; `None`: it is passed over.
    pub(crate) async fn prepare(
        &self,
        leg: Leg,
        itinerary: &mut Itinerary,
        lost: &mut Lost,
    ) -> Option<(Ready, UpstreamRequest)> {
        let id = &leg.candidate.target;
        let account = self.snapshot.providers.get(&id.provider)?;
        let target = self.snapshot.targets.get(id)?;
        let request = match self.translate(&leg.candidate, &account.upstream) {
            Ok(request) => request?,
            Err(error) => {
                if error.code != ErrorCode::UnsupportedParameter {
                    itinerary.end();
                }
                self.journal.passed_over(id, "it cannot honour the request");
                lost.unsupported = Some(error);
                return None;
            }
        };
        let mut ticket = self.place(&leg, account, target, lost).await?;
        if self.request.endpoint().generates() {
            ticket.awaits(if self.request.head().stream { Awaited::Stream } else { Awaited::Whole });
        }
        itinerary.ask();
        let (account, adjusted, number) = (Arc::clone(account), request.adjusted.clone(), itinerary.asked());
        Some((Ready { leg, ticket, account, adjusted, number }, request))
    }

    /// The deadlines of one attempt.
    pub(crate) fn deadlines(&self, ready: &Ready) -> Deadlines {
        let own = ready.account.upstream.provider().deadlines;
        self.snapshot.policy(ready.leg.candidate.model.as_str()).deadlines.over(own)
    }

    /// Asks one target. Dropped after `outrun` was set, it was slower than another.
    pub(crate) async fn ask(&self, ready: &Ready, request: UpstreamRequest, outrun: &AtomicBool) -> Outcome {
        let mut watch = Watch { node: self.node, ticket: &ready.ticket, outrun, over: false };
        let attempt = Attempt {
            node: self.node,
            request: self.request,
            trace: self.trace,
            account: &ready.account,
            ticket: &ready.ticket,
            deadlines: self.deadlines(ready),
            patience: self.patience,
            number: ready.number,
            note: self.journal.attempt(&ready.leg.candidate.target, &ready.leg.candidate.model),
        };
        let outcome = attempt.run(request).await;
        watch.over = true;
        outcome
    }

    /// The request for one target; `None` if it cannot go on with what another has begun.
    fn translate(&self, candidate: &Candidate, upstream: &Upstream) -> Result<Option<UpstreamRequest>, ClientError> {
        let codec = upstream.codec();
        let request = codec.chat_request(self.request, candidate.target.model.as_str())?;
        let request = name_token_limit(codec, upstream.provider().token_limit, request);
        Ok(match self.begun {
            None => Some(request),
            Some(begun) => continue_request(codec, candidate.prefill, request, begun),
        })
    }

    /// Waits for the leg's turn, pays for it and takes its places; `None`: it is passed over.
    async fn place(&self, leg: &Leg, account: &Arc<Account>, target: &Arc<Target>, lost: &mut Lost) -> Option<Ticket> {
        if let Some(repeat) = &leg.repeat {
            let rest = match target.availability(account) {
                Availability::Available | Availability::Ramping(_) => Duration::ZERO,
                Availability::Cooling(left, _) => left,
            };
            let own = backoff(repeat.times, self.node.host.entropy.unit());
            let wait = rest.max(repeat.retry_after) + own;
            if wait > MAX_WAIT + own || !self.patience.allows(wait, Instant::now()) {
                self.journal.passed_over(&target.id, "its turn comes too late");
                return None;
            }
            if !self.pay(target, account) {
                return None;
            }
            tokio::time::sleep(wait).await;
        } else if leg.paid && !self.pay(target, account) {
            return None;
        }
        // At the last moment: it may have been switched off since the request was planned.
        if self.node.switches.load().is_off(&target.id) {
            self.journal.passed_over(&target.id, WHY);
            return None;
        }
        let Some((ticket, changes)) = Ticket::begin(account, target, leg.candidate.last_resort) else {
            self.journal.passed_over(&target.id, "no free place, or left alone by now");
            lost.full |= !matches!(target.availability(account), Availability::Cooling(_, Cause::Asked));
            return None;
        };
        self.node.metrics.changed(&target.id, changes);
        Some(ticket)
    }

    fn pay(&self, target: &Target, account: &Account) -> bool {
        let paid = account.withdraw();
        if !paid {
            self.node.metrics.retry_refused(&target.id);
            self.journal.passed_over(&target.id, "its provider's retry budget is spent");
            tracing::debug!(target = %target.id, "retry budget spent");
        }
        paid
    }

    /// Tells the breakers and the metrics; a failure comes with whether the target has failed this request before.
    fn settle(&self, ticket: &mut Ticket, outcome: Result<Option<Took>, (&Failure, bool)>) {
        let unit = self.node.host.entropy.unit();
        let (result, changes) = match outcome {
            Ok(took) => ("ok", ticket.answered(took, unit)),
            Err((failure, again)) => (failure.class.as_str(), ticket.failed(failure, again, unit)),
        };
        let id = &ticket.target().id;
        self.node.metrics.attempted(id, result);
        if let Err((failure, _)) = outcome {
            let (status, code) = (failure.status, failure.code.as_deref());
            tracing::debug!(target = %id, class = result, status, code, "{}", failure.message);
        }
        self.node.metrics.changed(id, changes);
    }
}
