//! The next plan, if there has to be one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_types::{Jurisdiction, Plan, PlanId, RegionName, RegionPlan, RegionState, Settled, Shares};

use super::flaps::Flaps;
use super::latency::{self, Penalty};
use super::target::{self, Target};
use super::{Inputs, RegionInput, WHOLE, load, ramp, shares};

/// Contingencies follow the demand: a new plan is made for them alone when one of their shares moved by so much ...
const CONTINGENCY_DRIFT: u32 = 100;
/// ... and the last plan is so old.
const CONTINGENCY_AGE_MS: i64 = 30_000;

/// What the planner keeps between two looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    signature: BTreeMap<RegionName, Signature>,
    target: Target,
    settled: load::Settled,
    stepped_at: Option<Duration>,
    penalties: BTreeMap<RegionName, Penalty>,
    spilling: BTreeSet<RegionName>,
    origins: BTreeMap<RegionName, f64>,
    flaps: Flaps,
}

/// What must be the same for a target to stand.
#[derive(Debug, Clone, PartialEq)]
struct Signature {
    state: RegionState,
    weight: u32,
    capacity: u32,
    penalty: f64,
    spills: bool,
    jurisdiction: Jurisdiction,
    overflow: Vec<Jurisdiction>,
}

impl Memory {
    /// Of a planner that starts: it holds what the stored plan says, until something changes.
    pub(crate) fn resume(previous: Option<&Plan>, inputs: &Inputs) -> Self {
        let mut memory = Self { settled: load::Settled::now(inputs), ..Self::default() };
        let Some(plan) = previous else { return memory };
        let same_regions = plan.regions.keys().eq(inputs.regions.keys());
        for (name, region) in &plan.regions {
            let Some(input) = inputs.regions.get(name) else { continue };
            // A build that did not say where its plans end is taken to have ended there.
            let settled = region.settled.clone().unwrap_or_else(|| Settled {
                placement: region.placement.clone(),
                demand: region.demand,
                weight: input.weight,
            });
            if region.state == RegionState::Serving && shares::of(&settled.placement, name) < WHOLE {
                memory.spilling.insert(name.clone());
            }
            let spills = memory.spilling.contains(name);
            let (state, capacity, weight) = (region.state, region.capacity, settled.weight);
            let (jurisdiction, overflow) = (input.jurisdiction.clone(), input.overflow.clone());
            let signature = Signature { state, weight, capacity, penalty: 0.0, spills, jurisdiction, overflow };
            // What was settled for other regions or other fences, while nobody planned, is settled anew.
            if same_regions && inputs.crossing(name, &settled.placement).is_none() {
                memory.signature.insert(name.clone(), signature);
            }
            memory.target.rows.insert(name.clone(), settled.placement);
            memory.target.weights.insert(name.clone(), region.target_weight);
            memory.target.origins.insert(name.clone(), settled.demand);
            memory.origins.insert(name.clone(), settled.demand);
        }
        memory
    }

    /// What the clients of each region were last taken to offer.
    pub(crate) fn origins(&self) -> &BTreeMap<RegionName, f64> {
        &self.origins
    }
}

/// The plan after `previous`, or `None` if that one still says all there is to say.
pub(crate) fn next(inputs: &Inputs, previous: Option<&Plan>, memory: &mut Memory) -> Option<Plan> {
    if inputs.regions.is_empty() {
        return None;
    }
    let now = inputs.now.monotonic;
    let penalties = latency::assess(&memory.penalties, inputs, &memory.flaps);
    let (spilling, again) = load::spilling(&memory.spilling, inputs, &memory.settled, &memory.flaps);
    for name in inputs.regions.keys() {
        let turned = penalties.contains_key(name) != memory.penalties.contains_key(name)
            || spilling.contains(name) != memory.spilling.contains(name);
        if turned {
            memory.flaps.note(name, now);
        }
    }
    (memory.penalties, memory.spilling) = (penalties, spilling);
    let signature = sign(inputs, memory);
    memory.origins = load::origins(inputs, previous, &memory.target.rows, &memory.origins);
    if again || signature != memory.signature {
        memory.target = target::settle(inputs, &memory.origins, &memory.penalties, previous);
        memory.signature = signature;
        memory.settled = load::Settled::now(inputs);
    }
    let may_step = memory.stepped_at.is_none_or(|at| now.saturating_sub(at) >= ramp::INTERVAL);
    let step = match () {
        () if !may_step => 0,
        () if drains(inputs, previous, &memory.target) => ramp::DRAIN_STEP,
        () => ramp::STEP,
    };
    let plan = assemble(inputs, previous, memory, step);
    let difference = difference(previous, &plan)?;
    if may_step && previous.is_some_and(|previous| shares_of(previous) != shares_of(&plan)) {
        memory.stepped_at = Some(now);
    }
    Some(Plan { reason: difference, ..plan })
}

fn sign(inputs: &Inputs, memory: &Memory) -> BTreeMap<RegionName, Signature> {
    let sign = |(name, region): (&RegionName, &RegionInput)| {
        let signature = Signature {
            state: region.state,
            weight: region.weight,
            capacity: region.capacity,
            penalty: memory.penalties.get(name).map_or(0.0, |penalty| penalty.part),
            spills: memory.spilling.contains(name),
            jurisdiction: region.jurisdiction.clone(),
            overflow: region.overflow.clone(),
        };
        (name.clone(), signature)
    };
    inputs.regions.iter().map(sign).collect()
}

/// Where weights and rows are after one step.
struct Moved {
    weights: Shares,
    rows: BTreeMap<RegionName, Shares>,
}

impl Moved {
    fn so_far(plan: &Plan) -> Self {
        let rows = plan.regions.iter().map(|(name, region)| (name.clone(), region.placement.clone()));
        Self { weights: weights(plan), rows: rows.collect() }
    }

    /// One step of at most `step` permille from the plan before; forced moves go whole.
    fn towards(inputs: &Inputs, previous: Option<&Plan>, target: &Target, step: u32) -> Self {
        let before = |name: &RegionName| previous.and_then(|plan| plan.regions.get(name));
        let is_forced = |name: &RegionName| {
            let Some(region) = inputs.regions.get(name) else { return true };
            let was_empty = before(name).is_some_and(|region| region.state == RegionState::Empty);
            matches!(region.state, RegionState::Down | RegionState::Empty) || region.stops || was_empty
        };
        let gone = previous.into_iter().flat_map(|plan| plan.regions.keys());
        let whole: BTreeSet<RegionName> =
            inputs.regions.keys().chain(gone).filter(|name| is_forced(name)).cloned().collect();
        let ramped = |current: Option<Shares>, target: &Shares| match current {
            Some(current) => ramp::towards(&current, target, &whole, step),
            None => target.clone(),
        };
        let row = |name: &RegionName| {
            let to = target.rows.get(name).cloned().unwrap_or_else(|| shares::all_to(name));
            let from = before(name).filter(|_| !whole.contains(name)).map(|region| region.placement.clone());
            // A fence holds from the next plan on: what crosses it does not ramp.
            let from = from.filter(|row| inputs.crossing(name, row).is_none());
            (name.clone(), ramped(from, &to))
        };
        Self { weights: ramped(previous.map(weights), &target.weights), rows: inputs.regions.keys().map(row).collect() }
    }

    /// Whether a region still has more than it will end with.
    fn exceeds(&self, target: &Target, name: &RegionName) -> bool {
        let exceeds = |now: &Shares, end: &Shares| shares::of(now, name) > shares::of(end, name);
        exceeds(&self.weights, &target.weights)
            || self.rows.iter().any(|(origin, row)| target.rows.get(origin).is_some_and(|end| exceeds(row, end)))
    }
}

/// Whether a drain is under way.
fn drains(inputs: &Inputs, previous: Option<&Plan>, target: &Target) -> bool {
    let Some(moved) = previous.map(Moved::so_far) else { return false };
    let mut drained = inputs.regions.iter().filter(|(_, input)| input.state == RegionState::Drained);
    drained.any(|(name, _)| moved.exceeds(target, name))
}

fn assemble(inputs: &Inputs, previous: Option<&Plan>, memory: &Memory, step: u32) -> Plan {
    let target = &memory.target;
    let moved = Moved::towards(inputs, previous, target, step);
    let before = |name: &RegionName| previous.and_then(|plan| plan.regions.get(name));
    let region = |(name, input): (&RegionName, &RegionInput)| {
        let addresses = match before(name) {
            Some(before) if input.addresses.is_empty() => before.addresses.clone(),
            _ => input.addresses.clone(),
        };
        // DNS drops a drained region at once: while its ramp lasts its state says that it still takes traffic.
        let leaves = input.state == RegionState::Drained && moved.exceeds(target, name);
        let plan = RegionPlan {
            state: if leaves { RegionState::Serving } else { input.state },
            weight: shares::of(&moved.weights, name),
            target_weight: shares::of(&target.weights, name),
            reason: reason(input, target.moves.get(name)),
            addresses,
            placement: moved.rows.get(name).cloned().unwrap_or_else(|| shares::all_to(name)),
            capacity: input.capacity,
            demand: input.demand.or_else(|| before(name).map(|region| region.demand)).unwrap_or(0.0),
            settled: Some(Settled {
                placement: target.rows.get(name).cloned().unwrap_or_else(|| shares::all_to(name)),
                demand: target.origins.get(name).copied().unwrap_or(0.0),
                weight: input.weight,
            }),
        };
        (name.clone(), plan)
    };
    let contingency = |gone: &RegionName| {
        let contingency = target::without(inputs, gone, &memory.origins, &memory.penalties, previous);
        (gone.clone(), contingency)
    };
    Plan {
        id: previous.map_or(PlanId::default(), |plan| plan.id).next(inputs.epoch),
        commit: inputs.commit,
        made_at_unix_ms: inputs.now.unix_ms,
        made_by: inputs.replica.clone(),
        reason: String::new(),
        regions: inputs.regions.iter().map(region).collect(),
        contingencies: inputs.regions.keys().map(contingency).collect(),
    }
}

fn reason(input: &RegionInput, moved: Option<&String>) -> String {
    match moved {
        Some(moved) => format!("{}; {moved}", input.reason),
        None => input.reason.clone(),
    }
}

fn weights(plan: &Plan) -> Shares {
    plan.regions.iter().map(|(name, region)| (name.clone(), region.weight)).collect()
}

/// Everything that ramps.
fn shares_of(plan: &Plan) -> Vec<(u32, &Shares)> {
    plan.regions.values().map(|region| (region.weight, &region.placement)).collect()
}

/// What makes `plan` worth publishing; `None` if nothing does. Demand alone does not.
fn difference(previous: Option<&Plan>, plan: &Plan) -> Option<String> {
    let Some(previous) = previous else { return Some("first plan".to_owned()) };
    let mut parts = Vec::new();
    if previous.id.epoch != plan.id.epoch {
        parts.push(format!("epoch {}", plan.id.epoch));
    }
    if previous.commit != plan.commit {
        parts.push(format!("commit {}", plan.commit));
    }
    for (name, region) in &plan.regions {
        parts.extend(region_difference(name, previous.regions.get(name), region));
    }
    let removed = previous.regions.keys().filter(|name| !plan.regions.contains_key(*name));
    parts.extend(removed.map(|name| format!("{name} removed")));
    let drifted = || {
        plan.made_at_unix_ms.saturating_sub(previous.made_at_unix_ms) >= CONTINGENCY_AGE_MS
            && plan.contingencies.iter().any(|(gone, contingency)| {
                let before = previous.contingencies.get(gone);
                before.is_none_or(|before| drift(before, contingency) > CONTINGENCY_DRIFT)
            })
    };
    if parts.is_empty() && drifted() {
        parts.push("contingencies follow the demand".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn region_difference(name: &RegionName, before: Option<&RegionPlan>, now: &RegionPlan) -> Option<String> {
    let Some(before) = before else { return Some(format!("{name} added")) };
    if before.state != now.state {
        return Some(format!("{name} {} -> {}: {}", before.state.as_str(), now.state.as_str(), now.reason));
    }
    if before.weight != now.weight {
        return Some(format!("{name} {} -> {}: {}", before.weight, now.weight, now.reason));
    }
    let what = match () {
        () if before.target_weight != now.target_weight || before.placement != now.placement => "placement",
        () if before.addresses != now.addresses => "addresses",
        () if before.capacity != now.capacity => "capacity",
        () if before.reason != now.reason => "reason",
        () => return None,
    };
    Some(format!("{what} of {name}: {}", now.reason))
}

fn drift(a: &meridian_types::Contingency, b: &meridian_types::Contingency) -> u32 {
    let rows = a.placements.iter().filter_map(|(origin, row)| Some(shares::distance(row, b.placements.get(origin)?)));
    rows.chain([shares::distance(&a.weights, &b.weights)]).max().unwrap_or(0)
}
