//! Plans.

use std::collections::BTreeMap;

use meridian_types::{CommitId, Contingency, Plan, PlanId, RegionName, RegionPlan, RegionState, Settled, Shares};

use crate::fleet::v1 as wire;

/// Reads a plan and checks that it keeps its promises.
pub fn plan(message: &wire::Plan) -> Result<Plan, String> {
    let mut regions = BTreeMap::new();
    for region in &message.regions {
        regions.insert(name(&region.region)?, region_plan(region)?);
    }
    let mut contingencies = BTreeMap::new();
    for contingency in &message.contingencies {
        let mut placements = BTreeMap::new();
        for placement in &contingency.placements {
            placements.insert(name(&placement.origin)?, shares(&placement.shares)?);
        }
        let weights = shares(&contingency.weights)?;
        contingencies.insert(name(&contingency.gone)?, Contingency { weights, placements });
    }
    let plan = Plan {
        id: PlanId { epoch: message.epoch, number: message.number },
        commit: CommitId(message.commit),
        made_at_unix_ms: message.made_at_unix_ms,
        made_by: message.made_by.clone(),
        reason: message.reason.clone(),
        regions,
        contingencies,
    };
    plan.check().map_err(|error| error.to_string())?;
    Ok(plan)
}

fn region_plan(message: &wire::RegionPlan) -> Result<RegionPlan, String> {
    let addresses = message.addresses.iter().map(|text| text.parse().map_err(|_| format!("{text} is no address")));
    Ok(RegionPlan {
        state: region_state(message.state())?,
        weight: message.weight,
        target_weight: message.target_weight,
        reason: message.reason.clone(),
        addresses: addresses.collect::<Result<_, String>>()?,
        placement: shares(&message.placement)?,
        capacity: message.capacity,
        demand: message.demand,
        settled: message.settled.as_ref().map(settled).transpose()?,
    })
}

fn settled(message: &wire::Settled) -> Result<Settled, String> {
    let placement = shares(&message.placement)?;
    Ok(Settled { placement, demand: message.demand, weight: message.weight })
}

/// Reads a region's state.
pub fn region_state(message: wire::RegionState) -> Result<RegionState, String> {
    match message {
        wire::RegionState::Serving => Ok(RegionState::Serving),
        wire::RegionState::Drained => Ok(RegionState::Drained),
        wire::RegionState::Down => Ok(RegionState::Down),
        wire::RegionState::Empty => Ok(RegionState::Empty),
        wire::RegionState::Unspecified => Err("a region has no state that this build knows".to_owned()),
    }
}

fn name(text: &str) -> Result<RegionName, String> {
    RegionName::new(text).map_err(|error| error.to_string())
}

fn shares(message: &[wire::Share]) -> Result<Shares, String> {
    message.iter().map(|share| Ok((name(&share.region)?, share.permille))).collect()
}

impl From<RegionState> for wire::RegionState {
    fn from(state: RegionState) -> Self {
        match state {
            RegionState::Serving => Self::Serving,
            RegionState::Drained => Self::Drained,
            RegionState::Down => Self::Down,
            RegionState::Empty => Self::Empty,
        }
    }
}

impl From<&Plan> for wire::Plan {
    fn from(plan: &Plan) -> Self {
        Self {
            epoch: plan.id.epoch,
            number: plan.id.number,
            commit: plan.commit.0,
            made_at_unix_ms: plan.made_at_unix_ms,
            made_by: plan.made_by.clone(),
            reason: plan.reason.clone(),
            regions: plan.regions.iter().map(|(name, region)| region_message(name, region)).collect(),
            contingencies: plan.contingencies.iter().map(|(gone, c)| contingency_message(gone, c)).collect(),
        }
    }
}

fn region_message(name: &RegionName, region: &RegionPlan) -> wire::RegionPlan {
    wire::RegionPlan {
        region: name.to_string(),
        state: wire::RegionState::from(region.state).into(),
        weight: region.weight,
        reason: region.reason.clone(),
        addresses: region.addresses.iter().map(ToString::to_string).collect(),
        placement: share_messages(&region.placement),
        capacity: region.capacity,
        demand: region.demand,
        target_weight: region.target_weight,
        settled: region.settled.as_ref().map(|settled| wire::Settled {
            placement: share_messages(&settled.placement),
            demand: settled.demand,
            weight: settled.weight,
        }),
    }
}

fn contingency_message(gone: &RegionName, contingency: &Contingency) -> wire::Contingency {
    let placement = |(origin, shares): (&RegionName, &Shares)| wire::Placement {
        origin: origin.to_string(),
        shares: share_messages(shares),
    };
    wire::Contingency {
        gone: gone.to_string(),
        weights: share_messages(&contingency.weights),
        placements: contingency.placements.iter().map(placement).collect(),
    }
}

fn share_messages(shares: &Shares) -> Vec<wire::Share> {
    shares.iter().map(|(region, permille)| wire::Share { region: region.to_string(), permille: *permille }).collect()
}
