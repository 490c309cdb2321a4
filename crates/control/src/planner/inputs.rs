//! What a plan is made from.

use std::collections::BTreeMap;
use std::net::IpAddr;

use meridian_health::Now;
use meridian_types::region::may_overflow;
use meridian_types::{CommitId, Coordinates, Jurisdiction, RegionName, RegionState, Shares};

/// Everything that the planner may know.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// Restores of the store.
    pub(crate) epoch: u64,
    /// The commit whose regions these are.
    pub(crate) commit: CommitId,
    /// Who plans.
    pub(crate) replica: String,
    /// Both clocks.
    pub(crate) now: Now,
    /// Every configured region.
    pub(crate) regions: BTreeMap<RegionName, RegionInput>,
}

impl Inputs {
    /// Where a row sends the clients of `origin` although they may not go there.
    pub(crate) fn crossing<'a>(&self, origin: &RegionName, row: &'a Shares) -> Option<&'a RegionName> {
        let from = self.regions.get(origin)?;
        let crosses =
            |to: &RegionName| to != origin && self.regions.get(to).is_some_and(|region| !from.may_use(region));
        row.iter().find(|(to, share)| **share > 0 && crosses(to)).map(|(to, _)| to)
    }
}

/// One configured region.
#[derive(Debug, Clone)]
pub(crate) struct RegionInput {
    /// Where it is.
    pub(crate) coordinates: Coordinates,
    /// Its legal area.
    pub(crate) jurisdiction: Jurisdiction,
    /// Where its load may go beside its own jurisdiction; empty: anywhere.
    pub(crate) overflow: Vec<Jurisdiction>,
    /// Declared weight, or the operator's override.
    pub(crate) weight: u32,
    /// Whether it takes traffic.
    pub(crate) state: RegionState,
    /// Its nodes are stopping by themselves: what points at it moves in the next plan, without a ramp.
    pub(crate) stops: bool,
    /// Why it is in that state with that weight, for people. Must not change while neither does.
    pub(crate) reason: String,
    /// What DNS hands out; empty: none known now, the last known stay.
    pub(crate) addresses: Vec<IpAddr>,
    /// Sum of `max_in_flight` of its nodes.
    pub(crate) capacity: u32,
    /// Offered requests in flight; `None`: nothing reported yet.
    pub(crate) demand: Option<f64>,
    /// Median time to the first token; `None`: too few recent requests.
    pub(crate) first_token_ms: Option<f64>,
}

impl RegionInput {
    /// Whether its load may be placed in `other`.
    pub(crate) fn may_use(&self, other: &Self) -> bool {
        may_overflow(&self.jurisdiction, &self.overflow, &other.jurisdiction)
    }

    /// What may be planned onto it.
    pub(crate) fn room(&self) -> f64 {
        f64::from(self.capacity) * super::UTILISATION
    }
}
