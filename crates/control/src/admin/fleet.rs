//! The fleet, for people: verdicts and plan from the store, everything younger from this replica's own streams.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_proto::admin::v1 as admin;
use meridian_proto::fleet::v1 as fleet;
use meridian_proto::node::v1::{Fault, Role, ServingState};
use meridian_types::{NodeName, RegionName};

use super::{rollouts, switches};
use crate::fleet::{Node, RegionLoad};
use crate::rollout::CellId;
use crate::shared::Shared;
use crate::view::{Registered, View};

/// What is known now.
pub(super) fn fleet(shared: &Shared) -> admin::Fleet {
    let view = shared.mirror.view();
    let live = shared.fleet.nodes();
    let now = shared.now_unix_ms();
    let configured = view.head.iter().flat_map(|head| head.configuration.regions.keys());
    let names: BTreeSet<&NodeName> = view.nodes.keys().chain(live.keys()).collect();
    admin::Fleet {
        replica: shared.replica.clone(),
        leader: view.leader.as_ref().map(|leader| leader.replica.replica.clone()).unwrap_or_default(),
        head_commit: view.head_id().0,
        plan: view.plan.as_ref().map(|published| (*published.message).clone()),
        regions: configured.map(|name| region(&view, &live, name, now)).collect(),
        nodes: names.into_iter().map(|name| node(&view, name, live.get(name), view.nodes.get(name))).collect(),
        read_only: shared.mirror.status.read_only().unwrap_or_default(),
        at_unix_ms: now,
        rollout: rollouts::unfinished(shared, &view),
        outages: view.outages.list.clone(),
        switches: switches::now(shared),
    }
}

fn region(view: &View, live: &BTreeMap<NodeName, Node>, name: &RegionName, now: i64) -> admin::FleetRegion {
    let load = RegionLoad::of(live.values().filter(|node| node.region == *name));
    let plan = view.plan.as_ref().and_then(|published| published.plan.regions.get(name));
    let summary = view.summaries.get(name);
    let mut region = admin::FleetRegion {
        region: name.to_string(),
        state: plan.map_or(fleet::RegionState::Unspecified, |plan| plan.state.into()).into(),
        since_unix_ms: summary.map_or(0, |summary| summary.since_unix_ms),
        evidence: summary.map_or_else(String::new, |summary| summary.evidence.clone()),
        weight: plan.map_or(0, |plan| plan.weight),
        reason: plan.map_or_else(|| "there is no plan yet".to_owned(), |plan| plan.reason.clone()),
        capacity: plan.map_or(0, |plan| plan.capacity),
        demand: load.offered.or_else(|| plan.map(|plan| plan.demand)).unwrap_or(0.0),
        first_token_p50_ms: load.first_token_ms.unwrap_or(0.0),
        first_token_p99_ms: load.first_token_p99_ms.unwrap_or(0.0),
        first_tokens: load.first_tokens,
        in_flight: load.in_flight,
        override_revision: view.overrides.get(name).map_or(0, |held| held.revision.0),
        ..admin::FleetRegion::default()
    };
    let overridden = view.overridden(name, now);
    region.drained = overridden.drain.is_some();
    region.drain_terms = overridden.drain.cloned();
    if let Some((weight, terms)) = overridden.weight {
        region.weight_override = Some(weight);
        region.weight_terms = Some(terms.clone());
    }
    region
}

fn node(view: &View, name: &NodeName, live: Option<&Node>, registered: Option<&Registered>) -> admin::FleetNode {
    let place = live.map(|node| &node.region).or_else(|| registered.map(|node| &node.region));
    let summary = place.and_then(|region| view.summaries.get(region));
    let verdict = summary.and_then(|summary| summary.nodes.iter().find(|node| node.node == name.as_str()));
    // Without this it would wait for a verdict for ever, and nobody would know why.
    let unjudged = || match place.filter(|place| !view.is_configured(place)) {
        Some(place) => format!("region {place} is not configured"),
        None => "no verdict yet".to_owned(),
    };
    let mut node = admin::FleetNode {
        node: name.to_string(),
        region: place.map(ToString::to_string).unwrap_or_default(),
        verdict: verdict.map_or(fleet::NodeVerdict::Unspecified.into(), |verdict| verdict.verdict),
        evidence: verdict.map_or_else(unjudged, |verdict| verdict.evidence.clone()),
        since_unix_ms: verdict.map_or(0, |verdict| verdict.since_unix_ms),
        last_pulse_age_ms: -1,
        last_report_age_ms: -1,
        ..admin::FleetNode::default()
    };
    if let Some(registered) = registered {
        let document = &registered.document;
        node.cell.clone_from(&document.cell);
        node.max_in_flight = document.max_in_flight;
        node.public_addresses.clone_from(&document.public_addresses);
        node.build.clone_from(&document.build);
        node.role = if document.dns_only { Role::Dns } else { Role::Node }.into();
    }
    if let Some(live) = live {
        let ms = |age: Duration| i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        node.last_pulse_age_ms = live.age().map_or(-1, ms);
        node.cell.clone_from(&live.identity.cell);
        node.max_in_flight = live.identity.max_in_flight;
        node.public_addresses.clone_from(&live.identity.public_addresses);
        node.build.clone_from(&live.identity.build);
        node.role = live.identity.role;
        node.commit = live.commit.0;
        node.digest_matches = live.digest.is_some_and(|digest| view.content_of(live.commit, digest).is_some());
        node.in_flight = live.in_flight;
        node.plan_number = live.plan.number;
        node.divergences = live.divergences();
        node.notes = live.notes();
        node.state = if live.state == ServingState::Unspecified { 0 } else { live.state.into() };
        node.faults = match (&live.refused, live.refusal()) {
            (Some((_, faults)), _) => (**faults).clone(),
            (None, Some((_, text))) => vec![Fault { text, ..Fault::default() }],
            (None, None) => Vec::new(),
        };
        if let Some((at, report)) = &live.report {
            node.last_report_age_ms = ms(at.elapsed());
            node.targets.clone_from(&report.targets);
            node.dns.clone_from(&report.dns);
        }
    }
    let cell = place.and_then(|region| CellId::new(region, &node.cell));
    node.intended_commit = view.target(cell.as_ref()).map_or(0, |target| target.id.0);
    node
}
