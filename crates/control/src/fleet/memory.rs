//! What each node last said, and which of its streams are open.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meridian_health::{Handed, NodeEvidence, Observation, OwnState, Pulse};
use meridian_proto::node::v1::{Beat, Fault, NodeIdentity, Report, Role, ServingState};
use meridian_types::{CommitId, Digest, LatencySketch, NodeName, PlanId, RegionName};
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use super::divergence::Divergences;
use super::latency::{Latencies, Reported, TargetId};
use super::notes::Notes;
use super::sessions::Asks;
use crate::rollout::CellId;
use crate::view::{Target, View};

/// Classes of failures that say nothing about a configuration.
const CALLERS_FAULT: [&str; 4] = ["client", "cancelled", "refusal", "context_length"];

/// A node that was silent for so long was taken away: who waits for it any longer only keeps a list of names. It may come back as
/// a new one.
pub(crate) const GONE: Duration = Duration::from_secs(24 * 3600);

/// Losses that a stream has not looked at yet; who misses some looks at all.
const LOST: usize = 16;

/// Every node that this replica has heard of, but for those that are [`GONE`]; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    inner: Arc<Mutex<Nodes>>,
    /// Counts what changes verdicts or peers: sessions, states, observations.
    moved: Arc<watch::Sender<u64>>,
    /// Names of nodes whose last pulse ended, and which had not said that they would.
    lost: broadcast::Sender<NodeName>,
    started: Instant,
}

#[derive(Debug, Default)]
struct Nodes {
    nodes: BTreeMap<NodeName, Node>,
    latencies: Latencies,
    next_session: u64,
}

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) identity: NodeIdentity,
    pub(crate) region: RegionName,
    /// Open pulse streams, and the way to ask over each; more than one only while one takes over from another.
    pulses: Vec<(u64, Asks)>,
    pub(crate) last_beat: Option<Instant>,
    pub(crate) state: ServingState,
    pub(crate) commit: CommitId,
    pub(crate) digest: Option<Digest>,
    pub(crate) plan: PlanId,
    divergences: Divergences,
    notes: Notes,
    pub(crate) in_flight: u32,
    pub(crate) report: Option<(Instant, Arc<Report>)>,
    /// Times to first content, of the same report.
    first_tokens: Arc<LatencySketch>,
    /// The commit of the last Nack, if it stands, with its faults.
    pub(crate) refused: Option<(CommitId, Arc<Vec<Fault>>)>,
    /// The same as its beats say it, which come to every replica: commit and first fault.
    refusal: Option<(u64, String)>,
    /// Of that commit's content.
    refused_digest: Option<Digest>,
    /// Requests that ended since this replica knows its process, and of these the ones that failed.
    pub(crate) finished: u64,
    pub(crate) failed: u64,
}

/// Why a node may not have a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Identity(String),
    #[error("a later start of node {node} is connected already (incarnation {held})")]
    Superseded { node: String, held: u64 },
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let (moved, lost) = (Arc::new(watch::Sender::new(0)), broadcast::Sender::new(LOST));
        Self { inner: Arc::default(), moved, lost, started: Instant::now() }
    }

    /// Held for the length of a lookup, never across an await.
    fn lock(&self) -> MutexGuard<'_, Nodes> {
        // A panic under the lock could only be a bug in this file, whose steps leave nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// News about sessions, states and observations.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Counts the news.
    pub(crate) fn moves(&self) -> u64 {
        *self.moved.borrow()
    }

    fn announce(&self) {
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A copy of everything: decisions are made on it, not under the lock.
    pub(crate) fn nodes(&self) -> BTreeMap<NodeName, Node> {
        self.lock().nodes.clone()
    }

    /// A pulse stream has begun. Its number is needed for the rest.
    pub(crate) fn open_pulse(&self, identity: NodeIdentity, asks: Asks) -> Result<(NodeName, u64), Refusal> {
        let mut nodes = self.lock();
        let (name, session) = nodes.admit(identity)?;
        if let Some(node) = nodes.nodes.get_mut(&name) {
            node.pulses.push((session, asks));
        }
        drop(nodes);
        self.announce();
        Ok((name, session))
    }

    /// Takes a beat, and compares what the node serves with what `view` says that it should. False: the stream was superseded and has to end.
    pub(crate) fn beat(&self, name: &NodeName, session: u64, beat: Beat, view: &View) -> Result<bool, Refusal> {
        let mut guard = self.lock();
        let nodes = &mut *guard;
        let identity_moved = match beat.identity.clone() {
            Some(identity) => nodes.identify(name, identity)?,
            None => false,
        };
        let Some(node) = nodes.nodes.get_mut(name).filter(|node| node.has_pulse(session)) else {
            return Ok(false);
        };
        let now = Instant::now();
        let first = node.last_beat.replace(now).is_none_or(|last| now - last >= meridian_health::SILENCE);
        let state_moved = std::mem::replace(&mut node.state, beat.state()) != beat.state();
        let cell = node.cell();
        node.divergences.compare(&beat, cell.as_ref(), view);
        node.notes.beat(&beat);
        let refusal = (beat.refused_commit != 0).then(|| (beat.refused_commit, beat.refusal.clone()));
        node.refused_digest = Digest::from_slice(&beat.refused_digest);
        let refusal_moved = std::mem::replace(&mut node.refusal, refusal) != node.refusal;
        node.commit = CommitId(beat.commit);
        node.digest = Digest::from_slice(&beat.digest);
        node.plan = PlanId { epoch: beat.plan_epoch, number: beat.plan_number };
        node.in_flight = beat.in_flight;
        let mut seen_moved = false;
        if let Some(mut report) = beat.report {
            let outcomes = |report: &Report| -> Vec<(String, bool, Option<bool>)> {
                let outcome = |seen: &meridian_proto::node::v1::Observation| {
                    (seen.node.clone(), seen.reachable, seen.handed.map(|last| last.taken))
                };
                report.observations.iter().map(outcome).collect()
            };
            let counts = report.errors.iter().filter(|errors| !CALLERS_FAULT.contains(&errors.class.as_str()));
            let failed = counts.map(|errors| errors.count).sum();
            node.finished = node.finished.saturating_add(report.requests_finished);
            node.failed = node.failed.saturating_add(failed);
            let before = node.report.as_ref().map(|(_, report)| outcomes(report));
            seen_moved = before.as_ref() != Some(&outcomes(&report));
            let reported = Reported::take(&mut report);
            node.report = Some((now, Arc::new(report)));
            node.first_tokens = Arc::new(reported.requests.clone());
            nodes.latencies.add(&node.region, reported, now - self.started);
        }
        drop(guard);
        if identity_moved || first || state_moved || seen_moved || refusal_moved {
            self.announce();
        }
        Ok(true)
    }

    /// A pulse stream has ended; `by_node`: it was not this replica that ended it.
    pub(crate) fn close_pulse(&self, name: &NodeName, session: u64, by_node: bool) {
        let mut nodes = self.lock();
        let is_last = nodes.nodes.get_mut(name).is_some_and(|node| {
            node.pulses.retain(|(open, _)| *open != session);
            node.pulses.is_empty() && matches!(node.state, ServingState::Serving | ServingState::Overloaded)
        });
        drop(nodes);
        self.announce();
        if is_last && by_node {
            // With no other node connected nobody listens.
            let _ = self.lost.send(name.clone());
        }
    }

    /// Nodes whose last pulse ends from now on, if they had not said that it would.
    pub(crate) fn lost(&self) -> broadcast::Receiver<NodeName> {
        self.lost.subscribe()
    }

    /// Forgets nodes that have no stream and are [`GONE`], and latencies of which nobody speaks any more.
    pub(crate) fn forget(&self) {
        let stays = |node: &Node| !node.pulses.is_empty() || node.age().is_none_or(|age| age < GONE);
        let mut nodes = self.lock();
        nodes.nodes.retain(|_, node| stays(node));
        nodes.latencies.forget(self.started.elapsed());
    }

    /// Times to first content of a region's requests in the last minute.
    pub(crate) fn first_tokens(&self, region: &RegionName) -> LatencySketch {
        self.lock().latencies.requests(region, self.started.elapsed())
    }

    /// The same of the streams of each target of this provider, or of one of them, by region.
    pub(crate) fn first_tokens_of_targets(
        &self,
        provider: &str,
        model: Option<&str>,
    ) -> BTreeMap<TargetId, BTreeMap<RegionName, LatencySketch>> {
        self.lock().latencies.targets(provider, model, self.started.elapsed())
    }

    /// A sync stream begins: its node must not be superseded. Its number is needed for the rest.
    pub(crate) fn open_sync(&self, identity: NodeIdentity) -> Result<(NodeName, u64), Refusal> {
        self.lock().admit(identity)
    }

    /// A sync stream owes an answer to this commit now, or to none.
    pub(crate) fn awaits(&self, name: &NodeName, session: u64, commit: Option<CommitId>) {
        if let Some(node) = self.lock().nodes.get_mut(name) {
            match commit {
                Some(commit) => node.notes.sent(session, commit),
                None => node.notes.settled(session),
            }
        }
    }

    /// A node refused a commit, or took one (`faults` is `None`).
    pub(crate) fn answered(&self, name: &NodeName, commit: CommitId, faults: Option<Vec<Fault>>) {
        if let Some(node) = self.lock().nodes.get_mut(name) {
            node.refused = faults.map(|faults| (commit, Arc::new(faults)));
        }
        self.announce();
    }

    /// Where questions to nodes go: to the one with this name, or to all that pulse, if it is empty.
    pub(crate) fn asks(&self, name: &str) -> Vec<(NodeName, Asks)> {
        let nodes = self.lock();
        let named = nodes.nodes.iter().filter(|(own, _)| name.is_empty() || own.as_str() == name);
        let connected = named.filter(|(_, node)| node.is_connected());
        connected.filter_map(|(own, node)| Some((own.clone(), node.pulses.last()?.1.clone()))).collect()
    }

    /// C evidence of a node that was never heard.
    pub(crate) fn never(&self) -> Pulse {
        Pulse::Never { watching: self.started.elapsed() }
    }
}

impl Nodes {
    /// Checks and takes an identity, and numbers the session.
    fn admit(&mut self, identity: NodeIdentity) -> Result<(NodeName, u64), Refusal> {
        let name = NodeName::new(&identity.node).map_err(|error| Refusal::Identity(error.to_string()))?;
        self.identify(&name, identity)?;
        self.next_session += 1;
        Ok((name, self.next_session))
    }

    /// Whether anything but the incarnation changed.
    fn identify(&mut self, name: &NodeName, identity: NodeIdentity) -> Result<bool, Refusal> {
        if identity.node != name.as_str() {
            return Err(Refusal::Identity(format!("the stream of node {name} cannot speak for {}", identity.node)));
        }
        let region = RegionName::new(&identity.region).map_err(|error| Refusal::Identity(error.to_string()))?;
        let Some(node) = self.nodes.get_mut(name) else {
            self.nodes.insert(name.clone(), Node::new(identity, region));
            return Ok(true);
        };
        let held = node.identity.incarnation;
        if identity.incarnation < held {
            return Err(Refusal::Superseded { node: name.to_string(), held });
        }
        if identity.incarnation > held {
            // Nothing of the process before counts any more.
            *node = Node::new(identity, region);
            return Ok(true);
        }
        let moved = node.identity != identity;
        (node.identity, node.region) = (identity, region);
        Ok(moved)
    }
}

impl Node {
    fn new(identity: NodeIdentity, region: RegionName) -> Self {
        Self {
            identity,
            region,
            pulses: Vec::new(),
            last_beat: None,
            state: ServingState::Unspecified,
            commit: CommitId::NONE,
            digest: None,
            plan: PlanId::default(),
            divergences: Divergences::default(),
            notes: Notes::default(),
            in_flight: 0,
            report: None,
            first_tokens: Arc::default(),
            refused: None,
            refusal: None,
            refused_digest: None,
            finished: 0,
            failed: 0,
        }
    }

    /// The cell that it is in; `None`: what it says cannot be one.
    pub(crate) fn cell(&self) -> Option<CellId> {
        CellId::new(&self.region, &self.identity.cell)
    }

    /// Whether it serves just that.
    pub(crate) fn serves_target(&self, target: &Target) -> bool {
        self.commit == target.id && self.digest == Some(target.digest)
    }

    /// The commit that it refused last, if that stands, and why.
    pub(crate) fn refusal(&self) -> Option<(u64, String)> {
        let told = self.refused.as_ref().map(|(commit, faults)| {
            let first = faults.first().map_or("no reason given", |fault| fault.text.as_str());
            (commit.0, first.to_owned())
        });
        told.or_else(|| self.refusal.clone())
    }

    /// The same, unless it is known to be another commit than `head` with its number: after a restore numbers are given out
    /// again, and what was refused before says nothing.
    pub(crate) fn refusal_under(&self, head: Option<&Target>) -> Option<(u64, String)> {
        let differs = |head: &Target| self.refused_digest.is_some_and(|digest| digest != head.digest);
        self.refusal().filter(|(commit, _)| !head.is_some_and(|head| head.id.0 == *commit && differs(head)))
    }

    /// Whether it serves requests.
    pub(crate) fn serves(&self) -> bool {
        self.identity.role() != Role::Dns
    }

    /// Time since the last beat.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.last_beat.map(|at| at.elapsed())
    }

    fn has_pulse(&self, session: u64) -> bool {
        self.pulses.iter().any(|(open, _)| *open == session)
    }

    /// Whether beats come.
    pub(crate) fn is_connected(&self) -> bool {
        !self.pulses.is_empty() && self.age().is_some_and(|age| age < meridian_health::SILENCE)
    }

    /// What it serves that is not what it should serve; of a node that is silent nothing is known.
    pub(crate) fn divergences(&self) -> Vec<String> {
        if self.is_connected() { self.divergences.standing() } else { Vec::new() }
    }

    /// What else is wrong with it, one text each.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.texts()
    }

    /// Times to first content, of the last report.
    pub(crate) fn first_tokens(&self) -> &LatencySketch {
        &self.first_tokens
    }

    /// The node's report, if it is recent.
    pub(crate) fn recent_report(&self, life: Duration) -> Option<&Report> {
        self.report.as_ref().filter(|(at, _)| at.elapsed() < life).map(|(_, report)| &**report)
    }

    /// What is known about it. `never` is for one that has not sent a beat yet.
    pub(crate) fn evidence(&self, never: Pulse) -> NodeEvidence {
        let own = match self.state {
            ServingState::Serving => Some(OwnState::Serving),
            ServingState::Overloaded => Some(OwnState::Overloaded),
            ServingState::Draining => Some(OwnState::Draining),
            ServingState::Starting => Some(OwnState::Starting),
            ServingState::Unspecified => None,
        };
        let open = !self.pulses.is_empty();
        let observations = self.report.iter().flat_map(|(at, report)| {
            let since = |age_ms: u32| at.elapsed() + Duration::from_millis(u64::from(age_ms));
            report.observations.iter().filter_map(move |seen| {
                let subject = NodeName::new(&seen.node).ok()?;
                // A node that has not been probed yet was not seen either way.
                let handed = seen.handed.map(|last| Handed { taken: last.taken, age: since(last.age_ms) });
                (seen.streak > 0).then_some(Observation {
                    subject,
                    reachable: seen.reachable,
                    age: since(seen.age_ms),
                    handed,
                })
            })
        });
        NodeEvidence {
            region: self.region.clone(),
            serves: self.serves(),
            own,
            pulse: self.age().map_or(never, |age| Pulse::Last { age, open }),
            lag: self
                .report
                .as_ref()
                .map_or(Duration::ZERO, |(_, report)| Duration::from_millis(report.loop_lag_ms.into())),
            observations: observations.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_gone_for_a_day_is_forgotten_and_one_with_a_stream_is_not() {
        let fleet = Fleet::new();
        let start = |node: &str| {
            let identity = NodeIdentity { node: node.to_owned(), region: "eu".to_owned(), ..NodeIdentity::default() };
            let (name, session) = fleet.open_pulse(identity, Asks::new().0).unwrap();
            assert!(fleet.beat(&name, session, Beat::default(), &View::default()).unwrap());
            (name, session)
        };
        let (gone, session) = start("gone");
        start("silent");
        fleet.close_pulse(&gone, session, true);
        let known = || {
            fleet.forget();
            fleet.nodes().keys().map(ToString::to_string).collect::<Vec<_>>()
        };
        tokio::time::advance(GONE - Duration::from_secs(1)).await;
        assert_eq!(known(), ["gone", "silent"]);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(known(), ["silent"]);
    }
}
