//! When load begins to move a region's demand, when that is looked at again, and when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_types::{Plan, RegionName};

use super::{Inputs, UTILISATION, shares};

/// A region that spills takes its demand back below this utilisation.
const RETURN: f64 = 0.70;
/// A spill is settled again at most this often: DNS answers live for 30 s, and what moved shows only then.
pub(crate) const DWELL: Duration = Duration::from_secs(30);
/// Of a region's demand at least this much is taken to come to itself; below, the estimate would only amplify noise.
const LEAST_OWN_SHARE: f64 = 0.25;

/// The regions that spill, and whether the amount has to be settled again.
pub(crate) fn spilling(
    held: &BTreeSet<RegionName>,
    inputs: &Inputs,
    settled_at: Duration,
) -> (BTreeSet<RegionName>, bool) {
    let dwelt = inputs.now.monotonic.saturating_sub(settled_at) >= DWELL;
    let mut spilling = BTreeSet::new();
    let mut again = false;
    for (name, region) in inputs.regions.iter().filter(|(_, region)| region.state.takes_traffic()) {
        let Some(demand) = region.demand else {
            spilling.extend(held.get(name).cloned());
            continue;
        };
        let used = demand / f64::from(region.capacity.max(1));
        if used > UTILISATION {
            spilling.insert(name.clone());
            again |= dwelt;
        } else if held.contains(name) && !(dwelt && used < RETURN) {
            spilling.insert(name.clone());
        }
    }
    (spilling, again)
}

/// Demand by origin: what each region's own clients offer, wherever the plan now sends them.
///
/// A region sees its own part and what others spill to it. Of a closed region nothing is seen; `held` has its last.
pub(crate) fn origins(
    inputs: &Inputs,
    current: Option<&Plan>,
    held: &BTreeMap<RegionName, f64>,
) -> BTreeMap<RegionName, f64> {
    let share = |origin: &RegionName, to: &RegionName| {
        let row = current.and_then(|plan| plan.regions.get(origin)).map(|region| &region.placement);
        row.map_or(if origin == to { 1.0 } else { 0.0 }, |row| f64::from(shares::of(row, to)) / 1000.0)
    };
    let seen = |name: &RegionName| {
        let planned = || current.and_then(|plan| plan.regions.get(name)).map(|region| region.demand);
        inputs.regions.get(name).and_then(|region| region.demand).or_else(planned).unwrap_or(0.0)
    };
    let own_share = |name: &RegionName| share(name, name).max(LEAST_OWN_SHARE);
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
    origins
}
