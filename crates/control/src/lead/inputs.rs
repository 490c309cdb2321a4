//! What the planner would be told now, as far as any replica can say it: for rehearsals and explanations.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_health::Now;
use meridian_types::RegionState;

use super::{evidence, regions};
use crate::fleet::{RegionLoad, Smoothed};
use crate::planner::Inputs;
use crate::shared::Shared;
use crate::view::View;

/// Verdicts come from the store and load from this replica's own streams, or from the store where it has none.
pub(crate) fn inputs(shared: &Shared, view: &View) -> Inputs {
    let now = Now { monotonic: Duration::ZERO, unix_ms: shared.now_unix_ms() };
    let (live, verdicts) = (shared.fleet.nodes(), evidence::stored(view));
    let mut inputs = Inputs {
        epoch: view.epoch,
        commit: view.head_id(),
        replica: shared.replica.clone(),
        now,
        regions: BTreeMap::new(),
    };
    for (name, region) in view.head.iter().flat_map(|head| &head.configuration.regions) {
        let mut load = Smoothed::of(RegionLoad::of(live.values().filter(|node| node.region == *name)));
        load.demand = load.demand.or_else(|| view.summaries.get(name).map(|summary| summary.demand));
        let members = regions::members(view, &live, &verdicts, name);
        let overridden = view.overridden(name, now.unix_ms);
        let mut input = regions::input(region, &members, overridden, &load);
        // Summaries may be a second old; the plan is the leader's newest word. What is drained says so from its plan on,
        // and is meant from the override on.
        if let Some(planned) = view.plan.as_ref().and_then(|published| published.plan.regions.get(name)) {
            let drained = overridden.drain.is_some();
            input.state = if planned.state.takes_traffic() && drained { RegionState::Drained } else { planned.state };
            input.capacity = planned.capacity;
        }
        inputs.regions.insert(name.clone(), input);
    }
    inputs
}
