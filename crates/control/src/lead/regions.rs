//! What the planner is told about each region, and why.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, UNIX_EPOCH};

use meridian_health::{Held, NodeVerdict, RegionVerdict, Verdicts};
use meridian_proto::node::v1::ServingState;
use meridian_types::{NodeName, Region, RegionName, RegionState};

use crate::fleet::{Node, Smoothed};
use crate::overrides::InForce;
use crate::planner::RegionInput;
use crate::view::View;

/// A node of a region, with what is held about it.
pub(super) struct Member<'a> {
    pub(super) name: &'a NodeName,
    pub(super) held: &'a Held,
    pub(super) max_in_flight: u32,
    pub(super) addresses: Vec<IpAddr>,
}

/// The serving nodes of a region, sorted by name. One that is still starting is none of them yet: a region whose first
/// nodes start goes from empty to serving at once, and not by a ramp.
pub(super) fn members<'a>(
    view: &View,
    live: &BTreeMap<NodeName, Node>,
    verdicts: &'a Verdicts,
    region: &RegionName,
) -> Vec<Member<'a>> {
    let member = |(name, held): (&'a NodeName, &'a Held)| {
        let (place, serves, max_in_flight, addresses) = match (live.get(name), view.nodes.get(name)) {
            (Some(node), _) => {
                (&node.region, node.serves(), node.identity.max_in_flight, &node.identity.public_addresses)
            }
            (None, Some(stored)) => {
                let document = &stored.document;
                (&stored.region, !document.dns_only, document.max_in_flight, &document.public_addresses)
            }
            (None, None) => return None,
        };
        let starts = live.get(name).is_some_and(|node| node.state == ServingState::Starting);
        if starts && held.verdict == NodeVerdict::Draining {
            return None;
        }
        let addresses = addresses.iter().filter_map(|text| address(text)).collect();
        (place == region && serves).then_some(Member { name, held, max_in_flight, addresses })
    };
    verdicts.iter().filter_map(member).collect()
}

/// An IP address with or without a port; host names cannot stand in an answer.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse()).ok()
}

/// The planner's view of one region.
pub(super) fn input(region: &Region, members: &[Member<'_>], overridden: InForce<'_>, load: &Smoothed) -> RegionInput {
    let weight = overridden.weight.map(|(weight, _)| weight);
    let verdict = meridian_health::region(members.iter().map(|member| member.held.verdict));
    let state = match verdict {
        RegionVerdict::Empty => RegionState::Empty,
        RegionVerdict::Down => RegionState::Down,
        RegionVerdict::Leaving => RegionState::Drained,
        RegionVerdict::Serving if overridden.drain.is_some() => RegionState::Drained,
        RegionVerdict::Serving => RegionState::Serving,
    };
    let mut reasons = Vec::new();
    match verdict {
        RegionVerdict::Empty => reasons.push("no node serves yet".to_owned()),
        RegionVerdict::Down => reasons.extend(why_down(members)),
        RegionVerdict::Leaving => reasons.push("every node is stopping".to_owned()),
        RegionVerdict::Serving => {}
    }
    reasons.extend(overridden.texts());
    if reasons.is_empty() {
        reasons.push(format!("declared weight {}", region.weight));
    }
    let frozen = members.iter().filter(|member| member.held.verdict == NodeVerdict::Unreachable);
    if state == RegionState::Serving {
        reasons.extend(frozen.map(|member| format!("{} frozen: {}", member.name, member.held.evidence)));
    }
    let counts = |member: &&Member<'_>| matches!(member.held.verdict, NodeVerdict::Serving | NodeVerdict::Unreachable);
    RegionInput {
        coordinates: region.coordinates,
        jurisdiction: region.jurisdiction.clone(),
        overflow: region.overflow_jurisdictions.clone(),
        weight: weight.unwrap_or(region.weight),
        state,
        stops: verdict == RegionVerdict::Leaving,
        reason: reasons.join("; "),
        addresses: addresses(region, members),
        capacity: members.iter().filter(counts).fold(0, |sum: u32, member| sum.saturating_add(member.max_in_flight)),
        demand: load.demand,
        first_token_ms: load.first_token_ms(),
    }
}

/// Declared ones, else those of the nodes that serve. A region that is leaving keeps those of its living nodes: they
/// go on serving what comes.
fn addresses(region: &Region, members: &[Member<'_>]) -> Vec<IpAddr> {
    if !region.addresses.is_empty() {
        return region.addresses.clone();
    }
    let of = |wanted: fn(NodeVerdict) -> bool| {
        let chosen = members.iter().filter(|member| wanted(member.held.verdict));
        let mut addresses: Vec<IpAddr> = chosen.flat_map(|member| member.addresses.iter().copied()).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    };
    let serving = of(|verdict| matches!(verdict, NodeVerdict::Serving | NodeVerdict::Unreachable));
    if serving.is_empty() { of(|verdict| verdict != NodeVerdict::Down) } else { serving }
}

/// The node that went last says since when, and each says why.
fn why_down(members: &[Member<'_>]) -> Option<String> {
    let since = members.iter().map(|member| member.held.since_unix_ms).max()?;
    let why: Vec<&str> = members.iter().map(|member| member.held.evidence.as_str()).collect();
    /// One sentence a node is too much in a large region.
    const SENTENCES: usize = 3;
    let more = if why.len() > SENTENCES { "; ..." } else { "" };
    let why = why.into_iter().take(SENTENCES).collect::<Vec<_>>().join("; ");
    Some(format!("down since {}: {why}{more}", time(since)))
}

/// As in RFC 3339, whole seconds.
pub(crate) fn time(unix_ms: i64) -> String {
    let since = Duration::from_millis(unix_ms.unsigned_abs());
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string()
}
