//! Summaries: every verdict about one region, as the store keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_health::{NodeVerdict, Now, UpstreamVerdict};
use meridian_proto::fleet::v1 as wire;
use meridian_proto::node::v1::Report;
use meridian_types::{NodeName, RegionName, RegionState};

use super::regions::Member;
use super::upstreams::Held;
use crate::fleet::Node;
use crate::planner::RegionInput;

/// A summary that says something new, but no other state of its region, is written at most this often ...
const ON_CHANGE: Duration = Duration::from_secs(1);
/// ... and one that does not, so often: its age tells a reader whether anybody still looks.
const AT_LEAST: Duration = Duration::from_secs(10);
/// Of one node; it says no more.
const MAX_LEFT_OUT: usize = 8;
/// Reports older than this say nothing about targets.
const REPORT_LIFE: Duration = Duration::from_secs(5);

/// What was written, and when.
#[derive(Debug, Default)]
pub(super) struct Summaries {
    written: BTreeMap<RegionName, (wire::RegionSummary, Option<Duration>)>,
}

impl Summaries {
    /// What the store holds, written at an unknown time.
    pub(super) fn resume(stored: &BTreeMap<RegionName, wire::RegionSummary>) -> Self {
        Self { written: stored.iter().map(|(name, summary)| (name.clone(), (summary.clone(), None))).collect() }
    }

    /// The summary of a region, if it is time to write it.
    pub(super) fn due(
        &self,
        name: &RegionName,
        input: &RegionInput,
        members: &[Member<'_>],
        live: &BTreeMap<NodeName, Node>,
        found: &Held,
        now: Now,
    ) -> Option<wire::RegionSummary> {
        let before = self.written.get(name);
        let summary = summarise(name, input, members, live, found, before.map(|(summary, _)| summary), now);
        let age = before.and_then(|(_, at)| *at).map(|at| now.monotonic.saturating_sub(at));
        let news = before.is_none_or(|(before, _)| {
            // Demand moves all the time, and the time itself is no news.
            let (demand, written_at_unix_ms) = (summary.demand, summary.written_at_unix_ms);
            wire::RegionSummary { demand, written_at_unix_ms, ..before.clone() } != summary
        });
        // A plan shows at once that a region went down or came back; its nodes must not tell another story meanwhile.
        let turned = before.is_some_and(|(before, _)| before.state != summary.state);
        let due = age.is_none_or(|age| turned || age >= AT_LEAST || (news && age >= ON_CHANGE));
        due.then_some(summary)
    }

    /// They are in the store.
    pub(super) fn written(&mut self, summaries: Vec<(RegionName, wire::RegionSummary)>, now: Now) {
        self.written.extend(summaries.into_iter().map(|(name, summary)| (name, (summary, Some(now.monotonic)))));
    }
}

fn summarise(
    name: &RegionName,
    input: &RegionInput,
    members: &[Member<'_>],
    live: &BTreeMap<NodeName, Node>,
    found: &Held,
    before: Option<&wire::RegionSummary>,
    now: Now,
) -> wire::RegionSummary {
    let state = wire::RegionState::from(input.state);
    let since = before.filter(|before| before.state() == state).map_or(now.unix_ms, |before| before.since_unix_ms);
    let serving = members.iter().filter(|member| member.held.verdict == NodeVerdict::Serving).count();
    let evidence = match input.state {
        RegionState::Serving => format!("{serving} of {} nodes serve", members.len()),
        _ => input.reason.clone(),
    };
    let node = |member: &Member<'_>| wire::NodeSummary {
        node: member.name.to_string(),
        verdict: verdict(member.held.verdict).into(),
        since_unix_ms: member.held.since_unix_ms,
        evidence: member.held.evidence.clone(),
        addresses: member.addresses.iter().map(ToString::to_string).collect(),
        max_in_flight: member.max_in_flight,
        divergence: live.get(member.name).map(|node| node.divergences().join("; ")).unwrap_or_default(),
        left_out: left_out(before, member, live),
    };
    wire::RegionSummary {
        region: name.to_string(),
        state: state.into(),
        since_unix_ms: since,
        evidence,
        capacity: input.capacity,
        demand: input.demand.unwrap_or(0.0),
        nodes: members.iter().map(node).collect(),
        targets: targets(before, members, live, found),
        written_at_unix_ms: now.unix_ms,
    }
}

/// What the node said last of it. While it says nothing, what was written before stands: the same loss is no second event.
fn left_out(
    before: Option<&wire::RegionSummary>,
    member: &Member<'_>,
    live: &BTreeMap<NodeName, Node>,
) -> Vec<wire::LeftOut> {
    if let Some(report) = live.get(member.name).and_then(|node| node.recent_report(REPORT_LIFE)) {
        let is_region = |told: &&wire::LeftOut| RegionName::new(&told.region).is_ok();
        return report.left_out.iter().filter(is_region).take(MAX_LEFT_OUT).cloned().collect();
    }
    let mut nodes = before.into_iter().flat_map(|before| &before.nodes);
    nodes.find(|node| node.node == member.name.as_str()).map(|node| node.left_out.clone()).unwrap_or_default()
}

fn verdict(verdict: NodeVerdict) -> wire::NodeVerdict {
    match verdict {
        NodeVerdict::Serving => wire::NodeVerdict::Serving,
        NodeVerdict::Draining => wire::NodeVerdict::Draining,
        NodeVerdict::Unreachable => wire::NodeVerdict::Unreachable,
        NodeVerdict::Down => wire::NodeVerdict::Down,
    }
}

/// What the region's nodes said last, as far as that is young enough to mean something.
pub(super) fn reports<'a>(
    members: &'a [Member<'_>],
    live: &'a BTreeMap<NodeName, Node>,
) -> impl Iterator<Item = &'a Report> {
    members.iter().filter_map(|member| live.get(member.name)?.recent_report(REPORT_LIFE))
}

/// A target is healthy from here if any node would choose it. While none reports it, what is held of its upstream stands
/// beside what was reported last.
fn targets(
    before: Option<&wire::RegionSummary>,
    members: &[Member<'_>],
    live: &BTreeMap<NodeName, Node>,
    found: &Held,
) -> Vec<wire::TargetSummary> {
    let mut targets: BTreeMap<(&str, &str), wire::TargetSummary> = BTreeMap::new();
    for target in before.into_iter().flat_map(|before| &before.targets) {
        if found.contains_key(&(target.provider.clone(), target.model.clone())) {
            targets.insert((&target.provider, &target.model), target.clone());
        }
    }
    let mut reported: BTreeMap<(&str, &str), wire::TargetSummary> = BTreeMap::new();
    for target in reports(members, live).flat_map(|report| &report.targets) {
        let summary = reported.entry((&target.provider, &target.model)).or_insert_with(|| wire::TargetSummary {
            provider: target.provider.clone(),
            model: target.model.clone(),
            healthy: false,
            reason: target.reason.clone(),
            finding: None,
        });
        if target.available {
            summary.healthy = true;
            summary.reason.clear();
        }
    }
    targets.extend(reported);
    for ((provider, model), target) in &mut targets {
        let held = found.get(&((*provider).to_owned(), (*model).to_owned()));
        target.finding = held.map(|held| wire::UpstreamFinding {
            down: held.verdict == UpstreamVerdict::Down,
            since_unix_ms: held.since_unix_ms,
            evidence: held.evidence.clone(),
        });
    }
    targets.into_values().collect()
}
