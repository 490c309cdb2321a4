//! What is known about the regions: the plan, what the fleet's nodes agreed on since, and before any plan the
//! configuration alone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use meridian_types::{Configuration, Contingency, Permille, Plan, RegionName, RegionState};

/// The whole, in parts per 1,000.
const WHOLE: Permille = 1000;

/// One moment's knowledge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fleet<'a> {
    configuration: &'a Configuration,
    plan: Option<&'a Plan>,
    gone: &'a BTreeSet<RegionName>,
    contingency: Option<&'a Contingency>,
}

/// Whether a region may be answered, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What the plan says.
    Planned(RegionState),
    /// The plan says that it serves, but nodes agreed that it is gone.
    Gone,
    /// No plan speaks of it.
    Unknown,
}

impl Verdict {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Planned(state) => state.as_str(),
            Self::Gone => "gone by agreement of the nodes",
            Self::Unknown => "not in a plan yet",
        }
    }
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(
        configuration: &'a Configuration,
        plan: Option<&'a Plan>,
        gone: &'a BTreeSet<RegionName>,
    ) -> Self {
        let news = |plan: &Plan, region: &RegionName| plan.regions.get(region).is_some_and(|r| r.state.takes_traffic());
        let contingency = plan.and_then(|plan| {
            let mut lost = gone.iter().filter(|region| news(plan, region));
            // The planner made a vector for each single loss. After two at once its own shares, restricted to the
            // living, are the best there is.
            match (lost.next(), lost.next()) {
                (Some(region), None) => plan.contingencies.get(region),
                _ => None,
            }
        });
        Self { configuration, plan, gone, contingency }
    }

    pub(crate) fn verdict(&self, region: &RegionName) -> Verdict {
        match self.plan.and_then(|plan| plan.regions.get(region)) {
            Some(known) if known.state.takes_traffic() && self.gone.contains(region) => Verdict::Gone,
            Some(known) => Verdict::Planned(known.state),
            None => Verdict::Unknown,
        }
    }

    /// Whether new clients may be sent to it.
    pub(crate) fn serves(&self, region: &RegionName) -> bool {
        matches!(self.verdict(region), Verdict::Planned(state) if state.takes_traffic())
    }

    /// Whether its part of the traffic is about to change: it ramps, or nodes know what the plan does not yet.
    pub(crate) fn is_moving(&self, region: &RegionName) -> bool {
        let ramps = self.plan.and_then(|plan| plan.regions.get(region)).is_some_and(|r| r.weight != r.target_weight);
        ramps || self.verdict(region) == Verdict::Gone
    }

    /// Whether it is alive although clients should go elsewhere.
    pub(crate) fn is_drained(&self, region: &RegionName) -> bool {
        self.verdict(region) == Verdict::Planned(RegionState::Drained) && !self.gone.contains(region)
    }

    /// What DNS hands out for it: what the plan knows, else what is declared.
    pub(crate) fn addresses(&self, region: &RegionName) -> &'a [IpAddr] {
        let planned = self.plan.and_then(|plan| plan.regions.get(region)).map(|known| known.addresses.as_slice());
        let declared = self.configuration.regions.get(region).map(|declared| declared.addresses.as_slice());
        planned.filter(|addresses| !addresses.is_empty()).or(declared).unwrap_or_default()
    }

    /// Its share of all traffic.
    pub(crate) fn weight(&self, region: &RegionName) -> Permille {
        match (self.contingency, self.plan) {
            (Some(contingency), _) => contingency.weights.get(region).copied().unwrap_or(0),
            (None, Some(plan)) => plan.regions.get(region).map_or(0, |known| known.weight),
            (None, None) => self.declared_weight(region),
        }
    }

    /// Its share of the clients nearest to `origin`.
    pub(crate) fn share(&self, origin: &RegionName, region: &RegionName) -> Permille {
        let planned = || self.plan.and_then(|plan| plan.regions.get(origin)).map(|known| &known.placement);
        let placement = self.contingency.and_then(|c| c.placements.get(origin)).or_else(planned);
        match placement {
            Some(shares) => shares.get(region).copied().unwrap_or(0),
            None => home_share(origin, region),
        }
    }

    /// What an operator declared, for when no plan can be followed.
    pub(crate) fn declared_weight(&self, region: &RegionName) -> u32 {
        self.configuration.regions.get(region).map_or(0, |declared| declared.weight)
    }
}

/// Everybody at home: placement when no plan can be followed.
pub(crate) fn home_share(origin: &RegionName, region: &RegionName) -> Permille {
    if origin == region { WHOLE } else { 0 }
}
