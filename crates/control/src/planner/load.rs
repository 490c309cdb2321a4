//! When load begins to move a region's demand, when that is looked at again, and when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_types::{Plan, RegionName, Shares};

use super::flaps::Flaps;
use super::{Inputs, RegionInput, UTILISATION, shares};

/// A region that spills takes its demand back below this utilisation.
pub(crate) const RETURN: f64 = 0.70;
/// A spill is settled again at most this often: DNS answers live for 30 s, and what moved shows only then.
pub(crate) const DWELL: Duration = Duration::from_secs(30);
/// ... unless its demand rose by this part of its capacity since: what grows must not wait at the size it began with.
const RISE: f64 = 0.05;
/// Of a region's demand at least this much is taken to come to itself; below, the estimate would only amplify noise.
const LEAST_OWN_SHARE: f64 = 0.25;

/// When a target was settled, and the demand of each region then.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settled {
    pub(crate) at: Duration,
    pub(crate) demand: BTreeMap<RegionName, f64>,
}

impl Settled {
    pub(crate) fn now(inputs: &Inputs) -> Self {
        let demand = |(name, region): (&RegionName, &RegionInput)| Some((name.clone(), region.demand?));
        Self { at: inputs.now.monotonic, demand: inputs.regions.iter().filter_map(demand).collect() }
    }
}

/// The regions that spill, and whether the amount has to be settled again. One that goes back and forth spills on for
/// longer.
pub(crate) fn spilling(
    held: &BTreeSet<RegionName>,
    inputs: &Inputs,
    settled: &Settled,
    flaps: &Flaps,
) -> (BTreeSet<RegionName>, bool) {
    let now = inputs.now.monotonic;
    let since = now.saturating_sub(settled.at);
    let mut spilling = BTreeSet::new();
    let mut again = false;
    for (name, region) in inputs.regions.iter().filter(|(_, region)| region.state.takes_traffic()) {
        let Some(demand) = region.demand else {
            spilling.extend(held.get(name).cloned());
            continue;
        };
        let capacity = f64::from(region.capacity.max(1));
        let used = demand / capacity;
        if used > UTILISATION {
            spilling.insert(name.clone());
            let before = settled.demand.get(name).copied().unwrap_or(0.0);
            again |= since >= DWELL || demand - before > RISE * capacity;
        } else if held.contains(name) && !(used < RETURN && since >= flaps.dwell(name, DWELL, now)) {
            spilling.insert(name.clone());
        }
    }
    (spilling, again)
}

/// Demand by origin: what each region's own clients offer, wherever the plan now sends them.
///
/// A region sees its own part and what others spill to it. Of a closed region nothing is seen; `held` has its last.
/// Clients follow a plan only as their caches expire: while a region's row ramps to `target` the larger of its two own
/// shares counts, one that has just opened is taken for its own, and all open ones together for no more than is seen.
pub(crate) fn origins(
    inputs: &Inputs,
    current: Option<&Plan>,
    target: &BTreeMap<RegionName, Shares>,
    held: &BTreeMap<RegionName, f64>,
) -> BTreeMap<RegionName, f64> {
    let planned = |name: &RegionName| current.and_then(|plan| plan.regions.get(name));
    let share = |origin: &RegionName, to: &RegionName| {
        let row = planned(origin).map(|region| &region.placement);
        row.map_or(if origin == to { 1.0 } else { 0.0 }, |row| f64::from(shares::of(row, to)) / 1000.0)
    };
    let seen = |name: &RegionName| {
        let last = || planned(name).map(|region| region.demand);
        inputs.regions.get(name).and_then(|region| region.demand).or_else(last).unwrap_or(0.0)
    };
    let own_share = |name: &RegionName| {
        if planned(name).is_some_and(|region| !region.state.takes_traffic()) {
            return 1.0;
        }
        let end = target.get(name).map_or(0.0, |row| f64::from(shares::of(row, name)) / 1000.0);
        share(name, name).max(end).max(LEAST_OWN_SHARE)
    };
    let is_open = |name: &RegionName| inputs.regions.get(name).is_some_and(|region| region.state.takes_traffic());
    let first = |name: &RegionName| {
        if is_open(name) { seen(name) / own_share(name) } else { held.get(name).copied().unwrap_or_else(|| seen(name)) }
    };
    let mut origins = BTreeMap::new();
    for name in inputs.regions.keys() {
        let others = inputs.regions.keys().filter(|other| *other != name);
        let inflow: f64 = others.map(|other| share(other, name) * first(other)).sum();
        let own = if is_open(name) { ((seen(name) - inflow) / own_share(name)).max(0.0) } else { first(name) };
        origins.insert(name.clone(), own);
    }
    let open = || inputs.regions.keys().filter(|name| is_open(name));
    let offered: f64 = open().filter_map(|name| origins.get(name)).sum();
    let seen_in_all: f64 = open().map(seen).sum();
    if offered > seen_in_all {
        origins.iter_mut().filter(|(name, _)| is_open(name)).for_each(|(_, own)| *own *= seen_in_all / offered);
    }
    origins
}
