//! Where everything should go when nothing moves any more.

use std::collections::BTreeMap;

use meridian_types::{Contingency, Plan, RegionName, RegionState, Shares};

use super::latency::Penalty;
use super::moves::Moves;
use super::waterfall::{self, Placed};
use super::{Inputs, base, shares};

/// Below this part of the demand that fits, chasing room makes things worse: everyone keeps its own.
pub(super) const PANIC: f64 = 0.5;

/// The smallest share that there is, in permille.
const LEAST: u32 = 1;

/// Rows and weights, with what is said about each region that moves.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Target {
    pub(crate) rows: BTreeMap<RegionName, Shares>,
    pub(crate) weights: Shares,
    /// What it was settled for.
    pub(crate) origins: BTreeMap<RegionName, f64>,
    /// Requests in flight that are planned beyond the room of the region they go to.
    pub(crate) shed: f64,
    /// Parts of the reason, by region.
    pub(crate) moves: BTreeMap<RegionName, String>,
}

/// Settles the target. `previous` is what stays when no region can take traffic.
pub(crate) fn settle(
    inputs: &Inputs,
    origins: &BTreeMap<RegionName, f64>,
    penalties: &BTreeMap<RegionName, Penalty>,
    previous: Option<&Plan>,
) -> Target {
    let Some(open) = base::open(&inputs.regions) else { return stay(inputs, origins, previous) };
    let declared = base::declared(&inputs.regions, &open);
    let room: f64 = open.iter().filter_map(|name| inputs.regions.get(name)).map(super::RegionInput::room).sum();
    let demand: f64 = origins.values().sum();
    let parts = penalties.iter().map(|(name, penalty)| (name.clone(), penalty.part)).collect();
    let panic = demand * PANIC > room;
    let placed = if panic {
        let row = |name: &RegionName| match open.contains(name) {
            true => BTreeMap::from([(name.clone(), 1.0)]),
            // Declared among these alone: where all that it may use have a weight of 0, they share its clients all the same.
            false => {
                let allowed = waterfall::allowed(&inputs.regions, &open, name).into_iter().cloned().collect();
                base::declared(&inputs.regions, &allowed)
            }
        };
        let rows = inputs.regions.keys().map(|name| (name.clone(), row(name))).collect();
        Placed { rows, shed: demand - room }
    } else {
        waterfall::place(&inputs.regions, &open, origins, &parts)
    };
    let rows: BTreeMap<RegionName, Shares> = placed
        .rows
        .iter()
        .map(|(origin, row)| (origin.clone(), shares::proportional(row).unwrap_or_else(|| shares::all_to(origin))))
        .collect();
    let weights = at_least_two(through(&declared, &rows), &declared);
    let mut moves = Moves { inputs, open: &open, rows: &rows, weights: &weights, penalties }.describe();
    if inputs.regions.values().all(|region| !region.state.takes_traffic()) {
        open.iter().for_each(|name| append(moves.entry(name.clone()).or_default(), "no region serves, so it goes on"));
    }
    if placed.shed > 0.0 {
        let what = if panic { "panic, less than half of the demand fits" } else { "the demand does not fit" };
        let text = format!("{what}: about {:.0} of {demand:.0} requests in flight would be shed", placed.shed);
        open.iter().for_each(|name| append(moves.entry(name.clone()).or_default(), &text));
    }
    Target { weights, rows, origins: origins.clone(), shed: placed.shed, moves }
}

/// The plan that holds if `gone` is gone.
pub(crate) fn without(
    inputs: &Inputs,
    gone: &RegionName,
    origins: &BTreeMap<RegionName, f64>,
    penalties: &BTreeMap<RegionName, Penalty>,
    previous: Option<&Plan>,
) -> Contingency {
    let mut inputs = inputs.clone();
    if let Some(region) = inputs.regions.get_mut(gone) {
        region.state = RegionState::Down;
    }
    let target = settle(&inputs, origins, penalties, previous);
    Contingency { weights: target.weights, placements: target.rows }
}

/// Declared weights sent through the rows.
fn through(declared: &BTreeMap<RegionName, f64>, rows: &BTreeMap<RegionName, Shares>) -> Shares {
    let mut weights: BTreeMap<RegionName, f64> = BTreeMap::new();
    for (origin, weight) in declared {
        for (to, share) in rows.get(origin).into_iter().flatten() {
            *weights.entry(to.clone()).or_default() += weight * f64::from(*share);
        }
    }
    shares::proportional(&weights).unwrap_or_default()
}

/// The weights with the least share for every region that has none and is meant to have one, if only one region has any:
/// what all traffic hangs on has to be said by somebody, with a drain or a weight of 0, and not by a calculation.
fn at_least_two(mut weights: Shares, declared: &BTreeMap<RegionName, f64>) -> Shares {
    let named: Vec<RegionName> =
        weights.iter().filter(|(_, share)| **share > 0).map(|(name, _)| name.clone()).collect();
    let [only] = named.as_slice() else { return weights };
    let others = declared.iter().filter(|(name, part)| *name != only && **part > 0.0).map(|(name, _)| name);
    for name in others {
        if let Some(all) = weights.get_mut(only).filter(|all| **all > LEAST) {
            *all -= LEAST;
            weights.insert(name.clone(), LEAST);
        }
    }
    weights
}

/// Nothing can take traffic: the last word stands, as far as it is about the regions of now and within their fences.
fn stay(inputs: &Inputs, origins: &BTreeMap<RegionName, f64>, previous: Option<&Plan>) -> Target {
    let known = |row: &Shares| -> Option<Shares> {
        let parts = row.iter().filter(|(name, _)| inputs.regions.contains_key(*name));
        shares::proportional(&parts.map(|(name, share)| (name.clone(), f64::from(*share))).collect())
    };
    let row = |name: &RegionName| {
        let before = previous.and_then(|plan| plan.regions.get(name)).and_then(|region| known(&region.placement));
        let before = before.filter(|row| inputs.crossing(name, row).is_none());
        (name.clone(), before.unwrap_or_else(|| shares::all_to(name)))
    };
    let rows = inputs.regions.keys().map(row).collect();
    let weights =
        previous.map(|plan| plan.regions.iter().map(|(name, region)| (name.clone(), region.weight)).collect());
    let all = inputs.regions.keys().cloned().collect();
    let weights = weights.and_then(|weights| known(&weights));
    let weights = weights.or_else(|| shares::proportional(&base::declared(&inputs.regions, &all)));
    Target { rows, weights: weights.unwrap_or_default(), origins: origins.clone(), ..Target::default() }
}

fn append(text: &mut String, more: &str) {
    if !text.is_empty() {
        text.push_str("; ");
    }
    text.push_str(more);
}
