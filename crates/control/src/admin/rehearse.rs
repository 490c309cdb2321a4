//! Rehearsals: where the planner would end if things were otherwise.

use meridian_proto::admin::v1::{self as admin, supposition::What};
use meridian_proto::fleet::v1 as fleet;
use meridian_types::RegionName;
use meridian_types::region::MAX_WEIGHT;
use tonic::Status;

use crate::lead;
use crate::planner::{self, Rehearsed, Supposition};
use crate::shared::Shared;
use crate::view::View;

/// Suppositions of one rehearsal; more regions than anybody has.
const MAX_SUPPOSITIONS: usize = 1000;
/// Differences below this are noise of the estimate.
const NOISE: f64 = 0.5;

/// Answers a rehearsal.
pub(super) fn rehearse(shared: &Shared, request: &admin::RehearseRequest) -> Result<admin::Rehearsal, Status> {
    if request.suppose.len() > MAX_SUPPOSITIONS {
        return Err(Status::invalid_argument(format!("suppose may name {MAX_SUPPOSITIONS} things at most")));
    }
    let view = shared.mirror.view();
    let suppose: Vec<Supposition> =
        request.suppose.iter().map(|supposition| read(&view, supposition)).collect::<Result<_, _>>()?;
    Ok(message(&view, &with(shared, &view, &suppose)))
}

/// Why a drain of `region` would leave requests without room, or every region drained; `None` if it leaves no more than now.
pub(super) fn objection(shared: &Shared, region: &RegionName) -> Option<String> {
    let view = shared.mirror.view();
    let now = with(shared, &view, &[]);
    let then = with(shared, &view, &[Supposition::Drained(region.clone(), true)]);
    let serves = |rehearsed: &Rehearsed| rehearsed.regions.values().any(|region| region.state.takes_traffic());
    if serves(&now) && !serves(&then) {
        let with_weight = then.regions.iter().filter(|(_, then)| then.weight > 0);
        let back: Vec<String> = with_weight.map(|(name, then)| format!("{name} {}", then.weight)).collect();
        return Some(format!(
            "no other region takes traffic: drained ones would get it, whatever they were drained for ({} of 1000); undrain one \
             first, or --force does it anyway",
            back.join(", ")
        ));
    }
    if then.shed <= now.shed + NOISE {
        return None;
    }
    let full = then.regions.iter().filter(|(_, then)| then.shed > NOISE);
    let full: Vec<String> = full
        .map(|(name, then)| format!("{name} would carry {:.0} of its capacity {}", then.load_after, then.capacity))
        .collect();
    Some(format!(
        "draining {region} would leave about {:.0} of {:.0} requests in flight without room: {}; `meridian plan --if \
         \"region {region} drained\"` shows it whole, and --force does it anyway",
        then.shed,
        then.demand,
        full.join(", ")
    ))
}

fn with(shared: &Shared, view: &View, suppose: &[Supposition]) -> Rehearsed {
    let plan = view.plan.as_ref().map(|published| &*published.plan);
    planner::rehearse(&lead::inputs(shared, view), plan, suppose)
}

fn read(view: &View, supposition: &admin::Supposition) -> Result<Supposition, Status> {
    let name = RegionName::new(&supposition.region).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let known = || view.head.iter().flat_map(|head| head.configuration.regions.keys());
    if !known().any(|region| *region == name) {
        let known = super::listed(known().map(RegionName::as_str));
        return Err(Status::not_found(format!("there is no region {name}; there are: {known}")));
    }
    match supposition.what {
        Some(What::Down(true)) => Ok(Supposition::Down(name)),
        Some(What::Drained(drained)) => Ok(Supposition::Drained(name, drained)),
        Some(What::Weight(weight)) if weight <= MAX_WEIGHT => Ok(Supposition::Weight(name, weight)),
        Some(What::Weight(_)) => Err(Status::invalid_argument(format!("weight must be 0 to {MAX_WEIGHT}"))),
        Some(What::Demand(demand)) if demand.is_finite() && demand >= 0.0 => Ok(Supposition::Demand(name, demand)),
        Some(What::Demand(_)) => Err(Status::invalid_argument("demand must be 0 or more")),
        Some(What::Down(false)) | None => {
            Err(Status::invalid_argument("a supposition must be one of down: true, drained, weight, demand"))
        }
    }
}

fn message(view: &View, rehearsed: &Rehearsed) -> admin::Rehearsal {
    let plan = view.plan.as_ref().map(|published| &*published.plan);
    let regions = rehearsed.regions.iter().map(|(name, region)| admin::RehearsedRegion {
        region: name.to_string(),
        state: fleet::RegionState::from(region.state).into(),
        weight_before: plan.and_then(|plan| plan.regions.get(name)).map_or(0, |before| before.weight),
        weight_after: region.weight,
        capacity: region.capacity,
        load_before: region.load_before,
        load_after: region.load_after,
        shed: region.shed,
        reason: region.reason.clone(),
    });
    let id = plan.map(|plan| plan.id).unwrap_or_default();
    admin::Rehearsal {
        epoch: id.epoch,
        number: id.number,
        regions: regions.collect(),
        demand: rehearsed.demand,
        shed: rehearsed.shed,
    }
}
