//! What a stored plan promises, worked out anew from nothing but the plan: the planner's own arithmetic is on trial here.

use std::collections::BTreeSet;

use meridian_types::{Plan, RegionName, RegionState, Shares};

/// Share of a region's capacity that may be planned to be used.
const UTILISATION: f64 = 0.85;

/// Every promise that it breaks.
pub(super) fn broken(plan: &Plan) -> Vec<String> {
    let serving: BTreeSet<&RegionName> =
        plan.regions.iter().filter(|(_, region)| region.state == RegionState::Serving).map(|(name, _)| name).collect();
    let mut broken: Vec<String> = overloaded(plan, &serving);
    if !serving.is_empty() {
        broken.extend(dead(plan));
    }
    broken.extend(contingencies(plan, &serving));
    if plan.reason.contains("would break a promise") {
        broken.push(format!("plan {}: {}", plan.id, plan.reason));
    }
    broken
}

/// Once the ramps are over no region carries more than it should, if all that was offered fits.
fn overloaded(plan: &Plan, serving: &BTreeSet<&RegionName>) -> Vec<String> {
    let settled = || plan.regions.values().filter_map(|region| region.settled.as_ref());
    let room =
        |name: &RegionName| plan.regions.get(name).map_or(0.0, |region| f64::from(region.capacity) * UTILISATION);
    let offered: f64 = settled().map(|settled| settled.demand).sum();
    if serving.is_empty() || offered > serving.iter().map(|name| room(name)).sum() {
        return Vec::new();
    }
    // A request, and what rounding to permille misplaces.
    let slack = 1.0 + offered / 1000.0;
    let load = |name: &RegionName| -> f64 {
        settled().map(|settled| settled.demand * f64::from(share(&settled.placement, name)) / 1000.0).sum()
    };
    let too_much = plan.regions.keys().filter(|name| load(name) > room(name) + slack);
    let told = |name: &RegionName| {
        let (load, room) = (load(name), room(name));
        format!("plan {} means {name} to carry {load:.1}, beyond its {room:.1}, though {offered:.1} would fit", plan.id)
    };
    too_much.map(told).collect()
}

/// Nothing is sent to the dead while anybody lives.
fn dead(plan: &Plan) -> Vec<String> {
    let dead = plan.regions.iter().filter(|(_, region)| region.state == RegionState::Down);
    let sent = |name: &RegionName| plan.regions.values().any(|region| share(&region.placement, name) > 0);
    let wrong = dead.filter(|(name, region)| region.weight > 0 || sent(name));
    wrong.map(|(name, _)| format!("plan {} sends clients to {name}, which is down", plan.id)).collect()
}

/// Each region's loss is provided for.
fn contingencies(plan: &Plan, serving: &BTreeSet<&RegionName>) -> Vec<String> {
    let mut broken = Vec::new();
    for name in plan.regions.keys() {
        let Some(without) = plan.contingencies.get(name) else {
            broken.push(format!("plan {} says nothing of the loss of {name}", plan.id));
            continue;
        };
        let is_last = serving.iter().all(|other| *other == name);
        let sent = share(&without.weights, name) > 0 || without.placements.values().any(|row| share(row, name) > 0);
        if sent && !is_last {
            broken.push(format!("plan {} sends clients to {name} even when it is gone", plan.id));
        }
    }
    broken
}

fn share(shares: &Shares, name: &RegionName) -> u32 {
    shares.get(name).copied().unwrap_or(0)
}
