//! Spillover: what this node cannot serve, a node of another region does.
//!
//! Handed over is a request whose own targets failed before any content, or all rest, and one for which this node has no
//! place. It goes over mutual TLS with its tenant's name, its class and what is left of its client's time; the other node
//! trusts our certificate for that, checks residency itself, and never hands it on: requests that come through the listener
//! for nodes are served there or refused.

mod choice;
mod front;
mod handover;
mod links;
mod relay;
mod told;
mod verdict;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use meridian_control_client::Peer;
use meridian_identity::PeerTls;
use meridian_ingress::{Audience, Refused, Reply};
use meridian_llm::{Failure, FailureClass};
use meridian_routing::{Candidate, TargetId};
use meridian_types::{ErrorCode, RegionName};
use meridian_upstream::Transport;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

pub(crate) use front::PeerFront;
pub(crate) use handover::Handover;

use crate::attempts::{Attempts, Lost, Served};
use crate::caller::Origin;
use crate::ledger::{End, Ledger};
use crate::node::Node;
use crate::outages::Word;
use crate::resting::{self, Resting};
use crate::snapshot::Snapshot;
use crate::stack::ATTEMPTS;
use choice::View;
use handover::{Content, Elsewhere, VIA};
use links::{Link, Links};
use relay::Relay;
use told::Told;

/// Of the node's places, how many more requests it may hold while others serve them, when it is full itself: a fourth.
/// They cost it memory and bytes, but no provider's time.
const OVERFLOW_PART: u32 = 4;

/// What hands requests over.
pub(crate) struct Spill {
    own: RegionName,
    links: Links,
    /// Places for requests that this node has none for itself.
    overflow: Arc<Semaphore>,
}

/// Who began to answer.
pub(crate) enum Found {
    /// A target of ours.
    Here(Served),
    /// Another node; with the attempts that we had made.
    There(Elsewhere, usize),
}

impl Spill {
    pub(crate) fn new(own: RegionName, transport: Transport, tls: Option<PeerTls>, max_in_flight: u32) -> Self {
        let overflow = Arc::new(Semaphore::new((max_in_flight / OVERFLOW_PART).max(1) as usize));
        Self { own, links: Links::new(transport, tls), overflow }
    }

    /// From now on these are the other nodes.
    pub(crate) fn replace(&self, peers: &[Peer]) {
        self.links.replace(peers);
    }

    /// A place for a request that is shed here, if another node may take it.
    pub(crate) fn overflow(&self, origin: Origin) -> Option<OwnedSemaphorePermit> {
        if origin == Origin::Peer || self.links.all().is_empty() {
            return None;
        }
        Arc::clone(&self.overflow).try_acquire_owned().ok()
    }
}

/// A request on its way through both: our own targets and other nodes.
pub(crate) struct Way<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) origin: Origin,
    pub(crate) handover: Handover<'a>,
}

impl Way<'_> {
    /// Asks our own targets, and other regions when these fail. If all of ours are left alone anyway, others go first: the
    /// least bad one would cost the client its deadline.
    pub(crate) async fn around(
        &self,
        attempts: &Attempts<'_>,
        candidates: Vec<Candidate>,
    ) -> Result<Found, (Lost, Told)> {
        let mut told = Told::default();
        let all_left_alone = candidates.iter().all(|candidate| candidate.last_resort);
        if all_left_alone
            && (!candidates.is_empty() || self.nobody_here_is_a_reason())
            && let Some(answer) = self.elsewhere("exhausted", true, &mut told).await
        {
            return Ok(Found::There(answer, told.attempts));
        }
        let mut lost = match attempts.run(candidates).await {
            Ok(served) => return Ok(Found::Here(served)),
            Err(lost) => lost,
        };
        lost.resting = self.resting();
        for resting in lost.spared() {
            self.handover.journal.passed_over(&resting.target, resting::WHY);
        }
        if !all_left_alone
            && elsewhere_may_serve(&lost)
            && let Some(answer) = self.elsewhere("exhausted", false, &mut told).await
        {
            return Ok(Found::There(answer, lost.tried.len() + told.attempts));
        }
        Err((lost, told))
    }

    /// Asks other nodes alone: there is no place for the request here.
    pub(crate) async fn instead(&self, mut refused: Refused) -> Result<Found, (Refused, Told)> {
        let mut told = Told::default();
        match self.elsewhere("shed", false, &mut told).await {
            Some(answer) => Ok(Found::There(answer, told.attempts)),
            None => {
                told.add_to(&mut refused);
                Err((refused, told))
            }
        }
    }

    /// `shared`: some of the client's time is kept for what comes after.
    async fn elsewhere(&self, reason: &'static str, shared: bool, told: &mut Told) -> Option<Elsewhere> {
        if self.origin == Origin::Peer {
            return None;
        }
        let links = self.choose(reason == "shed", &self.down_from()?, told);
        let patience = self.handover.patience;
        let patience = if shared { patience.shared(Instant::now()) } else { patience };
        let limit = self.head_limit();
        Handover { patience, ..self.handover }.ask(links, reason, limit, told).await
    }

    /// Other nodes serve from the same configuration, and so within the same deadlines.
    fn head_limit(&self) -> Duration {
        let Handover { caller, request, .. } = self.handover;
        let (head, snapshot) = (request.head(), self.snapshot);
        let own = |target: &TargetId| Some(snapshot.providers.get(&target.provider)?.upstream.provider().deadlines);
        let overrides = snapshot.policy(&head.model).deadlines;
        let targets = snapshot.table.may_serve(&head.model, &caller.constraints);
        handover::head_limit(targets.filter_map(own).map(|own| overrides.over(own)), head.stream)
    }

    /// From where every target that may serve the request is known to be down; `None`: from everywhere. Then nobody else is
    /// asked, so that an outage of a provider does not multiply attempts.
    fn down_from(&self) -> Option<BTreeSet<RegionName>> {
        let Handover { node, caller, request, journal, .. } = self.handover;
        let targets = || self.snapshot.table.may_serve(&request.head().model, &caller.constraints);
        let (down, why) = match node.outages.about(targets()) {
            None => return Some(BTreeSet::new()),
            Some(Word::From(regions)) => {
                (Some(regions), "known to be down from other regions too: they are asked last")
            }
            Some(Word::Everywhere) => (None, "known to be down everywhere: no other region is asked"),
        };
        if let Some(target) = targets().next() {
            journal.passed_over(target, why);
        }
        down
    }

    /// Who may serve the request and has asked to be left alone.
    fn resting(&self) -> Vec<Resting> {
        let Handover { node, caller, request, .. } = self.handover;
        Resting::of(node, self.snapshot, &caller.constraints, &request.head().model)
    }

    /// Whether others may serve it where none of ours may be asked at all: a switch may be off here alone, and so may an
    /// upstream's overload be, but not an account's limit.
    fn nobody_here_is_a_reason(&self) -> bool {
        let Handover { node, caller, request, .. } = self.handover;
        let off = node.switches.load();
        let mut targets = self.snapshot.table.may_serve(&request.head().model, &caller.constraints);
        targets.any(|target| off.is_off(target)) || self.resting().iter().any(Resting::may_be_local)
    }

    /// The regions where every target that may serve the request is switched off.
    fn switched_off_in(&self) -> BTreeSet<RegionName> {
        let Handover { node, caller, request, .. } = self.handover;
        let off = node.switches.load();
        if off.is_empty() {
            return BTreeSet::new();
        }
        let regions = self.snapshot.published.configuration.regions.keys();
        let all_off = |region: &&RegionName| {
            let mut targets = self.snapshot.table.may_serve(&request.head().model, &caller.constraints);
            targets.all(|target| off.is_off_in(target, region))
        };
        regions.filter(all_off).cloned().collect()
    }

    fn choose(&self, neighbours: bool, down: &BTreeSet<RegionName>, told: &mut Told) -> Vec<Arc<Link>> {
        let Handover { node, caller, .. } = self.handover;
        let links = node.spill.links.all();
        let hopeless = self.switched_off_in();
        let peers: Vec<Peer> = links.keys().filter(|peer| !hopeless.contains(&peer.region)).cloned().collect();
        let plan = node.plan.load();
        let view = View {
            own: &node.spill.own,
            regions: &self.snapshot.published.configuration.regions,
            plan: plan.as_deref(),
            constraints: &caller.constraints,
            down,
            neighbours,
        };
        let choice = view.order(&peers, &|peer| node.peers.is_well(peer), &mut || node.host.entropy.unit());
        told.forbidden = choice.forbidden;
        choice.peers.iter().filter_map(|peer| links.get(peer).map(Arc::clone)).collect()
    }
}

/// Whether another region may serve what failed here: not what the request is to blame for, nor what an account is.
fn elsewhere_may_serve(lost: &Lost) -> bool {
    let rests_here = lost.resting.iter().any(Resting::may_be_local);
    if lost.tried.is_empty() {
        // Full is a target at the limit that this node keeps for it.
        return lost.unsupported.is_none() && (lost.full || rests_here);
    }
    let not_the_request = lost.tried.iter().all(|tried| tried.failure.class.elsewhere_may_serve());
    not_the_request && (rests_here || lost.tried.iter().any(|tried| may_be_local(&tried.failure)))
}

/// Whether the failure may be that of this place: of our network, of what serves this part of the world, or of a credential
/// that is missing on this machine. An account's rate limit or refused key is the same from everywhere.
fn may_be_local(failure: &Failure) -> bool {
    match failure.class {
        FailureClass::Transport | FailureClass::Provider => true,
        FailureClass::Saturation => failure.status != Some(StatusCode::TOO_MANY_REQUESTS.as_u16()),
        FailureClass::Credential => failure.status.is_none(),
        _ => false,
    }
}

/// The other node's answer as ours: its headers say who served; `attempts` are those before it.
pub(crate) fn reply(node: &Node, answer: Elsewhere, attempts: usize, mut ledger: Ledger, to: &Audience) -> Reply {
    let Elsewhere { status, headers, content } = answer;
    let mut reply = match content {
        Content::Whole(body) => {
            let refused = End::Refused(ErrorCode::InvalidRequest);
            ledger.end(if status.is_success() { End::Answered } else { refused });
            Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync())
        }
        Content::Stream(body) => Response::new(Relay::new(body, ledger, to.clone()).into_body()),
    };
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    let theirs = handover::attempts_of(reply.headers());
    reply.headers_mut().insert(ATTEMPTS, HeaderValue::from(attempts + theirs));
    if let Ok(name) = HeaderValue::try_from(node.name.as_str()) {
        reply.headers_mut().insert(VIA, name);
    }
    reply
}

#[cfg(test)]
mod tests {
    use meridian_llm::ClientError;

    use super::*;
    use crate::attempts::Tried;

    fn target() -> TargetId {
        TargetId { provider: "p".parse().unwrap(), model: "m".parse().unwrap() }
    }

    #[track_caller]
    fn check(failures: &[(FailureClass, Option<u16>)], others: Lost, expected: bool) {
        let tried = failures.iter().map(|(class, status)| Tried {
            target: target(),
            failure: Failure { status: *status, ..Failure::new(*class, "test") },
            took: Duration::ZERO,
        });
        let lost = Lost { tried: tried.collect(), ..others };
        assert_eq!(elsewhere_may_serve(&lost), expected, "{failures:?}");
    }

    fn full() -> Lost {
        Lost { full: true, ..Lost::default() }
    }

    fn resting(status: u16) -> Lost {
        let resting = Resting { target: target(), left: Duration::from_secs(9), status: Some(status) };
        Lost { resting: vec![resting], ..Lost::default() }
    }

    #[test]
    fn what_may_be_this_places_trouble_is_handed_over_and_what_is_the_accounts_or_the_requests_is_not() {
        use FailureClass::{Cancelled, Client, ContextLength, Credential, Provider, Refusal, Saturation, Transport};
        for class in [Provider, Transport, Saturation] {
            check(&[(class, None)], Lost::default(), true);
        }
        check(&[(Saturation, Some(503))], Lost::default(), true);
        check(&[(Saturation, Some(429))], Lost::default(), false);
        check(&[(Saturation, Some(429)), (Transport, None)], Lost::default(), true);
        check(&[(Credential, Some(401))], Lost::default(), false);
        check(&[(Credential, None)], Lost::default(), true);
        for class in [Client, Refusal, ContextLength, Cancelled] {
            check(&[(class, Some(400))], Lost::default(), false);
            check(&[(Provider, Some(500)), (class, Some(400))], Lost::default(), false);
        }
    }

    #[test]
    fn when_nobody_was_asked_a_want_of_places_is_handed_over_and_an_accounts_rest_is_not() {
        use FailureClass::{Client, Saturation};
        check(&[], full(), true);
        check(&[], resting(429), false);
        check(&[], resting(503), true);
        check(&[], Lost { full: true, ..resting(429) }, true);
        check(&[(Saturation, Some(429))], resting(429), false);
        check(&[(Saturation, Some(429))], resting(503), true);
        check(&[(Client, Some(400))], resting(503), false);
        let unsupported = || Some(ClientError::unsupported("n", "one answer only"));
        check(&[], Lost { unsupported: unsupported(), ..full() }, false);
        check(&[], Lost { unsupported: unsupported(), ..resting(429) }, false);
    }
}
