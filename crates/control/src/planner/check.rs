//! The promises of a plan. Before one is published it is played against what it was made from: as it is now, after its
//! ramps, and with every region lost in turn. The tests hold the planner to the same promises by the same code.

use std::collections::{BTreeMap, BTreeSet};

use meridian_types::{Plan, RegionName, RegionState, Shares};

use super::target::PANIC;
use super::{Inputs, RegionInput, WHOLE, base, waterfall};

/// What is promised, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// No region carries more than its room while what is too much may go to where there is room.
    Room,
    /// Nothing goes to a region that takes no traffic while it may go to one that does.
    Closed,
    /// No region's clients go where they may not.
    Fence,
    /// Every configured region is named, has a contingency, and shares add up.
    Whole,
}

/// A promise that a plan breaks. The text has no figures, so that the same fault has the same text a moment later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Broken {
    pub(crate) promise: Promise,
    pub(crate) what: String,
}

/// The greatest promise that `plan` breaks. `origins`: what the clients of each region offer now.
pub(crate) fn broken(inputs: &Inputs, origins: &BTreeMap<RegionName, f64>, plan: &Plan) -> Option<Broken> {
    let whole = |what: String| Some(Broken { promise: Promise::Whole, what });
    if let Err(error) = plan.check() {
        return whole(error.to_string());
    }
    if !plan.regions.keys().eq(inputs.regions.keys()) {
        return whole("it is about other regions than are configured".to_owned());
    }
    if !plan.contingencies.keys().eq(inputs.regions.keys()) {
        return whole("not every region has a contingency".to_owned());
    }
    let scenes = [Some(now(inputs, plan)), settled(inputs, plan)].into_iter().flatten();
    let lost = plan.contingencies.keys().filter_map(|gone| without(inputs, origins, plan, gone));
    scenes.chain(lost).flat_map(|scene| scene.broken()).max_by_key(|broken| broken.promise)
}

/// Why `plan` must not take the place of `previous`; `None`: it may. A lesser evil is published: one that sends too much
/// somewhere in place of one that sends to the dead, or in place of none at all.
pub(crate) fn objection(
    inputs: &Inputs,
    origins: &BTreeMap<RegionName, f64>,
    previous: Option<&Plan>,
    plan: &Plan,
) -> Option<Broken> {
    let found = broken(inputs, origins, plan)?;
    let before = match previous {
        Some(previous) => broken(inputs, origins, previous).map(|before| before.promise),
        // Without any plan no region is known to serve.
        None => Some(Promise::Closed),
    };
    let is_lesser = found.promise < Promise::Fence && before.is_some_and(|before| before > found.promise);
    (!is_lesser).then_some(found)
}

/// The plan before once more, under the next number, saying why it stays.
pub(crate) fn again(inputs: &Inputs, previous: &Plan, why: &Broken) -> Plan {
    Plan {
        id: previous.id.next(inputs.epoch),
        made_at_unix_ms: inputs.now.unix_ms,
        made_by: inputs.replica.clone(),
        reason: format!("the plan before stays: the next one would break a promise: {why}"),
        ..previous.clone()
    }
}

/// One part of a plan, and the world that it is for.
struct Scene<'a> {
    called: String,
    inputs: &'a Inputs,
    /// Regions that take what there is; empty: none does, and nothing is better than anything else.
    open: BTreeSet<RegionName>,
    /// Regions that must have nothing.
    closed: BTreeSet<RegionName>,
    weights: Shares,
    rows: BTreeMap<&'a RegionName, &'a Shares>,
    /// What the rows were made for; `None`: they are on their way, and loads are what they are.
    demand: Option<BTreeMap<&'a RegionName, f64>>,
}

/// On the way only what is forced is gone already.
fn now<'a>(inputs: &'a Inputs, plan: &'a Plan) -> Scene<'a> {
    let open = base::open(&inputs.regions).unwrap_or_default();
    let is_forced =
        |region: &RegionInput| matches!(region.state, RegionState::Down | RegionState::Empty) || region.stops;
    let must_go =
        |(name, region): &(&RegionName, &RegionInput)| !open.is_empty() && is_forced(region) && !open.contains(*name);
    Scene {
        called: "now".to_owned(),
        inputs,
        closed: inputs.regions.iter().filter(must_go).map(|(name, _)| name.clone()).collect(),
        weights: plan.regions.iter().map(|(name, region)| (name.clone(), region.weight)).collect(),
        rows: plan.regions.iter().map(|(name, region)| (name, &region.placement)).collect(),
        demand: None,
        open,
    }
}

/// `None` for a plan that does not say where it ends.
fn settled<'a>(inputs: &'a Inputs, plan: &'a Plan) -> Option<Scene<'a>> {
    let mut rows = BTreeMap::new();
    let mut demand = BTreeMap::new();
    for (name, region) in &plan.regions {
        let settled = region.settled.as_ref()?;
        rows.insert(name, &settled.placement);
        demand.insert(name, settled.demand);
    }
    let open = base::open(&inputs.regions).unwrap_or_default();
    Some(Scene {
        called: "after the ramp".to_owned(),
        inputs,
        closed: others(inputs, &open),
        weights: plan.regions.iter().map(|(name, region)| (name.clone(), region.target_weight)).collect(),
        rows,
        demand: Some(demand),
        open,
    })
}

fn without<'a>(
    inputs: &'a Inputs,
    origins: &'a BTreeMap<RegionName, f64>,
    plan: &'a Plan,
    gone: &RegionName,
) -> Option<Scene<'a>> {
    let contingency = plan.contingencies.get(gone)?;
    let mut regions = inputs.regions.clone();
    regions.get_mut(gone)?.state = RegionState::Down;
    let open = base::open(&regions).unwrap_or_default();
    Some(Scene {
        called: format!("without {gone}"),
        inputs,
        closed: others(inputs, &open),
        weights: contingency.weights.clone(),
        rows: contingency.placements.iter().collect(),
        demand: Some(origins.iter().map(|(name, demand)| (name, *demand)).collect()),
        open,
    })
}

/// All but the open ones; none where nothing is open.
fn others(inputs: &Inputs, open: &BTreeSet<RegionName>) -> BTreeSet<RegionName> {
    inputs.regions.keys().filter(|name| !open.is_empty() && !open.contains(*name)).cloned().collect()
}

impl Scene<'_> {
    fn broken(&self) -> Vec<Broken> {
        let mut found = Vec::new();
        let mut add = |promise, what: String| found.push(Broken { promise, what: format!("{}, {what}", self.called) });
        for (origin, row) in &self.rows {
            if let Some(to) = self.inputs.crossing(origin, row) {
                add(Promise::Fence, format!("clients of {origin} go to {to}, where they may not"));
            }
            let stays = || waterfall::allowed(&self.inputs.regions, &self.open, origin).is_empty();
            let wrong = |(to, share): &(&RegionName, &u32)| {
                **share > 0 && self.closed.contains(*to) && !(to == origin && stays())
            };
            if let Some((to, _)) = row.iter().find(wrong) {
                add(Promise::Closed, format!("clients of {origin} go to {to}, which takes no traffic"));
            }
        }
        if let Some((name, _)) = self.weights.iter().find(|(name, share)| **share > 0 && self.closed.contains(*name)) {
            add(Promise::Closed, format!("{name} has a weight and takes no traffic"));
        }
        if let Some(name) = self.overloaded() {
            add(Promise::Room, format!("{name} is to carry more than it should, and there is room elsewhere"));
        }
        found
    }

    /// A region beyond its room from which a chain of allowed moves leads to one that has room. Where less than half of
    /// the demand fits nobody chases room.
    fn overloaded(&self) -> Option<&RegionName> {
        let demand = self.demand.as_ref()?;
        let room = |name: &RegionName| self.inputs.regions.get(name).map_or(0.0, RegionInput::room);
        let total: f64 = demand.values().sum();
        if total * PANIC > self.open.iter().map(room).sum() {
            return None;
        }
        // A request, and what rounding to permille misplaces.
        let slack = 1.0 + total / f64::from(WHOLE);
        let flow = |origin: &RegionName, to: &RegionName| {
            let share = self.rows.get(origin).and_then(|row| row.get(to)).copied().unwrap_or(0);
            demand.get(origin).copied().unwrap_or(0.0) * f64::from(share) / f64::from(WHOLE)
        };
        let spare = |name: &RegionName| room(name) - self.rows.keys().map(|origin| flow(origin, name)).sum::<f64>();
        let finds_room = |full: &RegionName| {
            let (mut seen, mut next) = (BTreeSet::from([full]), vec![full]);
            while let Some(at) = next.pop() {
                let movable = self.rows.keys().filter(|origin| flow(origin, at) > slack);
                for to in movable.flat_map(|origin| waterfall::allowed(&self.inputs.regions, &self.open, origin)) {
                    if spare(to) > slack {
                        return true;
                    }
                    if seen.insert(to) {
                        next.push(to);
                    }
                }
            }
            false
        };
        self.open.iter().find(|name| spare(name) < -slack && finds_room(name))
    }
}
