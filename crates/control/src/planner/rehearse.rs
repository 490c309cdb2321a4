//! What the planner would decide if things were otherwise: a rehearsal. It changes nothing and remembers nothing.

use std::collections::BTreeMap;

use meridian_types::{Plan, RegionName, RegionState, Shares};

use super::flaps::Flaps;
use super::{Inputs, WHOLE, latency, load, target};

/// Something that is not so now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Supposition {
    /// All nodes of the region are gone.
    Down(RegionName),
    /// An operator drained it, or took a drain back.
    Drained(RegionName, bool),
    /// It has another weight.
    Weight(RegionName, u32),
    /// Its clients offer so many requests in flight.
    Demand(RegionName, f64),
}

/// Where things would end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rehearsed {
    /// Every region.
    pub(crate) regions: BTreeMap<RegionName, RehearsedRegion>,
    /// Requests in flight that clients offer.
    pub(crate) demand: f64,
    /// Of these, as many as no region has planned room for.
    pub(crate) shed: f64,
}

/// One region.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RehearsedRegion {
    pub(crate) state: RegionState,
    pub(crate) weight: u32,
    pub(crate) capacity: u32,
    /// Requests in flight, now and then.
    pub(crate) load_before: f64,
    pub(crate) load_after: f64,
    /// Of the load after, what is beyond the planned room.
    pub(crate) shed: f64,
    pub(crate) reason: String,
}

/// Where the planner would end, were all of `suppose` so. A region that is not configured changes nothing.
pub(crate) fn rehearse(inputs: &Inputs, previous: Option<&Plan>, suppose: &[Supposition]) -> Rehearsed {
    // Who offers what is told by what is seen now, under the plan of now.
    let mut origins = load::origins(inputs, previous, &BTreeMap::new(), &BTreeMap::new());
    let mut supposed = inputs.clone();
    for supposition in suppose {
        apply(supposition, &mut supposed, &mut origins);
    }
    let penalties = latency::assess(&BTreeMap::new(), &supposed, &Flaps::default());
    let target = target::settle(&supposed, &origins, &penalties, previous);
    let loads = loads(&origins, &target.rows);
    let region = |(name, input): (&RegionName, &super::RegionInput)| {
        let load_after = loads.get(name).copied().unwrap_or(0.0);
        let beyond = (load_after - input.room()).max(0.0);
        let region = RehearsedRegion {
            state: input.state,
            weight: target.weights.get(name).copied().unwrap_or(0),
            capacity: input.capacity,
            load_before: inputs.regions.get(name).and_then(|region| region.demand).unwrap_or(0.0),
            load_after,
            // Rows are in permille: what fits exactly may seem to exceed by a rounding.
            shed: if target.shed > 0.0 { beyond } else { 0.0 },
            reason: match target.moves.get(name) {
                Some(moved) => format!("{}; {moved}", input.reason),
                None => input.reason.clone(),
            },
        };
        (name.clone(), region)
    };
    Rehearsed {
        regions: supposed.regions.iter().map(region).collect(),
        demand: origins.values().sum(),
        shed: target.shed,
    }
}

fn apply(supposition: &Supposition, inputs: &mut Inputs, origins: &mut BTreeMap<RegionName, f64>) {
    let (Supposition::Down(name)
    | Supposition::Drained(name, _)
    | Supposition::Weight(name, _)
    | Supposition::Demand(name, _)) = supposition;
    let Some(region) = inputs.regions.get_mut(name) else { return };
    match supposition {
        Supposition::Down(_) => {
            (region.state, region.capacity) = (RegionState::Down, 0);
            region.reason = "supposed to be down".to_owned();
        }
        // What is down or empty does not serve, drained or not.
        Supposition::Drained(..) if matches!(region.state, RegionState::Down | RegionState::Empty) => {}
        Supposition::Drained(_, drained) => {
            region.state = if *drained { RegionState::Drained } else { RegionState::Serving };
            region.reason = format!("supposed to be {}", if *drained { "drained" } else { "undrained" });
        }
        Supposition::Weight(_, weight) => {
            region.weight = *weight;
            region.reason = format!("supposed weight {weight}");
        }
        Supposition::Demand(_, demand) => {
            origins.insert(name.clone(), *demand);
            // What is said of its load is about the same.
            region.demand = Some(*demand);
            region.reason = format!("{}; supposed demand {demand:.0}", region.reason);
        }
    }
}

/// What each region would carry.
pub(super) fn loads(
    origins: &BTreeMap<RegionName, f64>,
    rows: &BTreeMap<RegionName, Shares>,
) -> BTreeMap<RegionName, f64> {
    let mut loads: BTreeMap<RegionName, f64> = BTreeMap::new();
    for (origin, row) in rows {
        let demand = origins.get(origin).copied().unwrap_or(0.0);
        for (to, share) in row {
            *loads.entry(to.clone()).or_default() += demand * f64::from(*share) / f64::from(WHOLE);
        }
    }
    loads
}
