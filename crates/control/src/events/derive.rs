//! From two views of the store to what happened between them.

use std::collections::BTreeMap;

use meridian_proto::admin::v1::{Event, event::Kind};
use meridian_proto::fleet::v1::{self as fleet, OverrideTerms};
use meridian_proto::store::v1 as stored;

use crate::overrides::{InForce, by};
use crate::view::View;
use crate::{faults, rollout, switches};

/// The events of one revision, in a fixed order: replicas must number them alike.
pub(super) fn derive(before: &View, after: &View, now_unix_ms: i64) -> Vec<Event> {
    let mut events = Events { events: Vec::new(), now_unix_ms };
    if before.epoch != after.epoch {
        let text = format!("the store was restored from a backup: epoch {} -> {}", before.epoch, after.epoch);
        events.add(Kind::Restore, "store", 0, text);
    }
    leader(before, after, &mut events);
    commit(before, after, &mut events);
    rollouts(before, after, &mut events);
    overrides(before, after, &mut events);
    injected(before, after, &mut events);
    switched(before, after, &mut events);
    for (region, summary) in &after.summaries {
        let held = before.summaries.get(region);
        nodes(held, summary, &mut events);
        targets(held, summary, &mut events);
    }
    outages(before, after, &mut events);
    plan(before, after, &mut events);
    events.events
}

struct Events {
    events: Vec<Event>,
    now_unix_ms: i64,
}

impl Events {
    /// `at_unix_ms` 0: now.
    fn add(&mut self, kind: Kind, subject: impl Into<String>, at_unix_ms: i64, text: String) {
        let at_unix_ms = if at_unix_ms == 0 { self.now_unix_ms } else { at_unix_ms };
        self.events.push(Event { kind: kind.into(), subject: subject.into(), at_unix_ms, text });
    }
}

fn leader(before: &View, after: &View, events: &mut Events) {
    let name = |view: &View| view.leader.as_ref().map(|leader| leader.replica.replica.clone());
    match (name(before), name(after)) {
        (was, is) if was == is => {}
        (Some(was), None) => events.add(Kind::Leader, was, 0, "plans no longer; nobody does now".to_owned()),
        (_, Some(is)) => events.add(Kind::Leader, is, 0, "plans now".to_owned()),
        (None, None) => {}
    }
}

fn commit(before: &View, after: &View, events: &mut Events) {
    let Some(head) = after.head.as_ref().filter(|_| before.head_id() != after.head_id()) else { return };
    let info = &head.commit.info;
    let text = format!("head {} -> {} by {}: {}", before.head_id(), after.head_id(), info.author, info.reason);
    events.add(Kind::Commit, info.commit.to_string(), info.made_at_unix_ms, text);
}

fn rollouts(before: &View, after: &View, events: &mut Events) {
    for (id, held) in &after.rollouts {
        let (was, is) = (before.rollouts.get(id).map(|held| &held.document), &held.document);
        // What takes effect at once is told by its commit.
        let at_once = was.is_none() && is.state() == fleet::RolloutState::Done;
        if was.map(stored::Rollout::state) != Some(is.state()) && !at_once {
            let text = format!("rollout {}: {}", rollout::name(is.state()), is.reason);
            events.add(Kind::Rollout, id.to_string(), is.changed_at_unix_ms, text);
        }
    }
    for (cell, held) in &after.pins {
        let (was, is) = (before.pins.get(cell).map(|held| &held.document), &held.document);
        if was.map(|was| was.commit) != Some(is.commit) {
            let text = format!("pinned to commit {}: {}", is.commit, is.reason);
            events.add(Kind::Rollout, cell.to_string(), is.made_at_unix_ms, text);
        }
    }
}

fn overrides(before: &View, after: &View, events: &mut Events) {
    for (region, held) in &after.overrides {
        let (was, is) = (before.overrides.get(region).map(|held| &held.document), &held.document);
        if was == Some(is) {
            continue;
        }
        // Replicas number events alike, so that the time is that of the change, not of any clock.
        let was = was.map_or_else(InForce::default, |was| InForce::of(was, is.made_at_unix_ms));
        let now = InForce::of(is, is.made_at_unix_ms);
        let change = OverrideTerms {
            author: is.author.clone(),
            reason: is.reason.clone(),
            made_at_unix_ms: is.made_at_unix_ms,
            until_unix_ms: 0,
        };
        let mut parts = Vec::new();
        match (was.drain, now.drain) {
            (was, Some(terms)) if was != Some(terms) => parts.push(format!("drained {}", by(terms))),
            (Some(_), None) => parts.push(format!("undrained {}", by(&change))),
            _ => {}
        }
        match (was.weight, now.weight) {
            (was, Some((weight, terms))) if was != Some((weight, terms)) => {
                parts.push(format!("weight {weight} {}", by(terms)));
            }
            (Some(_), None) => parts.push(format!("back to its declared weight {}", by(&change))),
            _ => {}
        }
        if parts.is_empty() {
            parts.push(format!("left as it was {}", by(&change)));
        }
        events.add(Kind::Override, region.to_string(), is.made_at_unix_ms, parts.join("; "));
    }
}

fn injected(before: &View, after: &View, events: &mut Events) {
    if before.faults_revision == after.faults_revision {
        return;
    }
    let (was, is) = (&before.faults.faults, &after.faults);
    for fault in was.iter().filter(|was| !is.faults.iter().any(|held| held.id == was.id)) {
        let by_itself = fault.until_unix_ms <= is.made_at_unix_ms;
        let how = if by_itself { "at its time".to_owned() } else { format!("by {}: {}", is.author, is.reason) };
        let at_unix_ms = if by_itself { fault.until_unix_ms } else { is.made_at_unix_ms };
        events.add(Kind::Fault, fault.id.clone(), at_unix_ms, format!("ended {how}"));
    }
    for fault in is.faults.iter().filter(|held| !was.iter().any(|was| was.id == held.id)) {
        events.add(Kind::Fault, fault.id.clone(), fault.made_at_unix_ms, format!("injected: {}", faults::text(fault)));
    }
}

fn switched(before: &View, after: &View, events: &mut Events) {
    if before.switches_revision == after.switches_revision {
        return;
    }
    let (was, is) = (&before.switches.switches, &after.switches);
    for switch in was.iter().filter(|was| !is.switches.iter().any(|held| held.scope == was.scope)) {
        let by_itself = switch.until_unix_ms != 0 && switch.until_unix_ms <= is.made_at_unix_ms;
        let how = if by_itself { "at its time".to_owned() } else { format!("by {}: {}", is.author, is.reason) };
        let at_unix_ms = if by_itself { switch.until_unix_ms } else { is.made_at_unix_ms };
        let scope = switches::scope(switch);
        events.add(Kind::Switch, scope.target(), at_unix_ms, format!("on again: {scope}, {how}"));
    }
    for switch in is.switches.iter().filter(|held| !was.contains(held)) {
        let text = format!("switched off: {}", switches::text(switch));
        events.add(Kind::Switch, switches::scope(switch).target(), switch.made_at_unix_ms, text);
    }
}

fn nodes(before: Option<&fleet::RegionSummary>, after: &fleet::RegionSummary, events: &mut Events) {
    let held: BTreeMap<&str, &fleet::NodeSummary> =
        before.into_iter().flat_map(|summary| &summary.nodes).map(|node| (node.node.as_str(), node)).collect();
    for node in &after.nodes {
        let was = held.get(node.node.as_str());
        let verdict = was.map_or(fleet::NodeVerdict::Unspecified, |was| was.verdict());
        if verdict != node.verdict() {
            let text = format!("{} -> {}: {}", name(verdict), name(node.verdict()), node.evidence);
            events.add(Kind::Node, node.node.clone(), node.since_unix_ms, text);
        }
        let diverged = was.map_or("", |was| was.divergence.as_str());
        if diverged != node.divergence {
            let text = match node.divergence.as_str() {
                "" => format!("in step again (was: {diverged})"),
                divergence => divergence.to_owned(),
            };
            events.add(Kind::Divergence, node.node.clone(), 0, text);
        }
        left_out(&node.node, was.map(|was| was.left_out.as_slice()).unwrap_or_default(), &node.left_out, events);
    }
}

/// What a node did while nobody planned comes when somebody does again, with its own times.
fn left_out(node: &str, before: &[fleet::LeftOut], after: &[fleet::LeftOut], events: &mut Events) {
    let same = |a: &fleet::LeftOut, b: &fleet::LeftOut| a.region == b.region && a.since_unix_ms == b.since_unix_ms;
    for was in before.iter().filter(|was| was.until_unix_ms == 0 && !after.iter().any(|told| same(was, told))) {
        let text = format!("{node} does not leave it out of its DNS answers any more: its process is another one");
        events.add(Kind::Region, was.region.clone(), 0, text);
    }
    for told in after {
        let was = before.iter().find(|was| same(was, told));
        if was.is_none() {
            let text = format!("left out of the DNS answers of {node}, by agreement of the nodes: nobody planned");
            events.add(Kind::Region, told.region.clone(), told.since_unix_ms, text);
        }
        if told.until_unix_ms != 0 && was.is_none_or(|was| was.until_unix_ms == 0) {
            let seconds = told.until_unix_ms.saturating_sub(told.since_unix_ms) / 1000;
            let text = format!(
                "left out of the DNS answers of {node} by agreement no longer, after {seconds} s: the plan decides"
            );
            events.add(Kind::Region, told.region.clone(), told.until_unix_ms, text);
        }
    }
}

fn name(verdict: fleet::NodeVerdict) -> &'static str {
    match verdict {
        fleet::NodeVerdict::Unspecified => "new",
        fleet::NodeVerdict::Serving => "serving",
        fleet::NodeVerdict::Draining => "draining",
        fleet::NodeVerdict::Unreachable => "unreachable",
        fleet::NodeVerdict::Down => "down",
    }
}

fn targets(before: Option<&fleet::RegionSummary>, after: &fleet::RegionSummary, events: &mut Events) {
    for target in &after.targets {
        let same = |held: &&fleet::TargetSummary| held.provider == target.provider && held.model == target.model;
        let was = before.and_then(|summary| summary.targets.iter().find(same)).is_none_or(|held| held.healthy);
        if was != target.healthy {
            let text = match target.healthy {
                true => format!("back among the candidates of {}", after.region),
                false => format!("out of the candidates of {}: {}", after.region, target.reason),
            };
            events.add(Kind::Target, format!("{}:{}", target.provider, target.model), 0, text);
        }
    }
}

/// What is down, and from where; new evidence alone is no event.
fn outages(before: &View, after: &View, events: &mut Events) {
    let name = |outage: &fleet::UpstreamOutage| format!("{}:{}", outage.provider, outage.model);
    let same = |a: &fleet::UpstreamOutage, b: &fleet::UpstreamOutage| a.provider == b.provider && a.model == b.model;
    let (was, is) = (&before.outages.list, &after.outages.list);
    for over in was.iter().filter(|was| !is.iter().any(|is| same(was, is))) {
        let found = after.summaries.values().flat_map(|summary| &summary.targets);
        let mut found = found.filter(|target| target.provider == over.provider && target.model == over.model);
        let text = match found.any(|target| target.finding.is_some()) {
            true => "up again, from wherever it was asked of late",
            false => "not known to be down any more: nobody has asked it of late",
        };
        events.add(Kind::Target, name(over), 0, text.to_owned());
    }
    for outage in is {
        let was = was.iter().find(|was| same(was, outage));
        if was.is_none_or(|was| (was.everywhere, &was.regions) != (outage.everywhere, &outage.regions)) {
            // A region that left the list brings no newer time with it.
            let at = if was.is_some() { 0 } else { outage.since_unix_ms };
            events.add(Kind::Target, name(outage), at, outage.text.clone());
        }
    }
}

fn plan(before: &View, after: &View, events: &mut Events) {
    let (was, is) = (before.plan.as_ref().map(|held| &held.plan), after.plan.as_ref().map(|held| &held.plan));
    let Some(is) = is.filter(|is| was.map(|was| was.id) != Some(is.id)) else { return };
    for (name, region) in &is.regions {
        let state = was.and_then(|was| was.regions.get(name)).map(|was| was.state);
        if state != Some(region.state) {
            let from = state.map_or("new", meridian_types::RegionState::as_str);
            let text = format!("{from} -> {}: {}", region.state.as_str(), region.reason);
            events.add(Kind::Region, name.to_string(), is.made_at_unix_ms, text);
        }
    }
    events.add(Kind::Plan, is.id.to_string(), is.made_at_unix_ms, is.reason.clone());
}
