//! Weight plans: where the fleet's traffic should go.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::{CommitId, PlanId, RegionName};

/// Parts per 1,000.
pub type Permille = u32;

/// The whole.
const WHOLE: Permille = 1000;

/// Parts per 1,000 by region; they add up to 1,000.
pub type Shares = BTreeMap<RegionName, Permille>;

/// One computed plan; immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its place in the order of plans.
    pub id: PlanId,
    /// The commit whose regions it is about.
    pub commit: CommitId,
    /// When, in milliseconds since 1970.
    pub made_at_unix_ms: i64,
    /// Which control replica made it.
    pub made_by: String,
    /// What made it differ from the plan before.
    pub reason: String,
    /// Every configured region.
    pub regions: BTreeMap<RegionName, RegionPlan>,
    /// What holds if a region is gone, by that region.
    pub contingencies: BTreeMap<RegionName, Contingency>,
}

/// What a plan says about one region.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionPlan {
    /// Whether it serves.
    pub state: RegionState,
    /// Its share of all traffic now.
    pub weight: Permille,
    /// Its share when nothing moves any more.
    pub target_weight: Permille,
    /// Why, for people.
    pub reason: String,
    /// What DNS hands out; kept as last known while the region is down.
    pub addresses: Vec<IpAddr>,
    /// Where the clients nearest to this region go.
    pub placement: Shares,
    /// Sum of `max_in_flight` of its serving nodes.
    pub capacity: u32,
    /// Offered requests in flight, smoothed.
    pub demand: f64,
    /// Where everything ends; `None` in plans of builds that did not say.
    pub settled: Option<Settled>,
}

/// Where the clients nearest to a region go once the ramp is over, and what that was settled for: who sends every
/// region's demand through its placement has the load that is planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Settled {
    /// Where they go then.
    pub placement: Shares,
    /// What they offered, in requests in flight.
    pub demand: f64,
    /// The region's declared weight, or an operator's.
    pub weight: u32,
}

/// Whether a region serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegionState {
    /// It does.
    Serving,
    /// An operator moved its traffic away.
    Drained,
    /// It does not.
    Down,
    /// No node has ever reported for it.
    Empty,
}

impl RegionState {
    /// Whether new clients may be sent to it.
    pub fn takes_traffic(self) -> bool {
        matches!(self, Self::Serving)
    }

    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Drained => "drained",
            Self::Down => "down",
            Self::Empty => "empty",
        }
    }
}

/// What holds at once if one region is gone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contingency {
    /// Weights of the others.
    pub weights: Shares,
    /// Placements of the clients of each region, the lost one included.
    pub placements: BTreeMap<RegionName, Shares>,
}

/// Why a plan cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It names no region.
    #[error("the plan names no region")]
    NoRegion,
    /// Weights do not add up.
    #[error("{what} add up to {sum}, not to 1000")]
    Sum {
        /// Which.
        what: String,
        /// To what they add up.
        sum: u64,
    },
    /// A share names a region that the plan does not.
    #[error("{what} name the unknown region {region}")]
    UnknownRegion {
        /// Which.
        what: String,
        /// The name.
        region: RegionName,
    },
}

impl Plan {
    /// Whether the plan keeps its promises: it is not empty and every set of shares adds up. Makers check before they
    /// publish, receivers before they obey.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.regions.is_empty() {
            return Err(PlanError::NoRegion);
        }
        let weights = self.regions.iter().map(|(name, region)| (name, region.weight));
        self.check_shares("the weights", weights)?;
        for (name, region) in &self.regions {
            self.check_shares(&format!("the placement of {name}"), region.placement.iter().map(|(n, s)| (n, *s)))?;
            if let Some(settled) = &region.settled {
                let shares = settled.placement.iter().map(|(n, s)| (n, *s));
                self.check_shares(&format!("the placement of {name} after the ramp"), shares)?;
            }
        }
        for (gone, contingency) in &self.contingencies {
            let what = format!("the weights without {gone}");
            self.check_shares(&what, contingency.weights.iter().map(|(n, s)| (n, *s)))?;
            for (origin, shares) in &contingency.placements {
                let what = format!("the placement of {origin} without {gone}");
                self.check_shares(&what, shares.iter().map(|(n, s)| (n, *s)))?;
            }
        }
        Ok(())
    }

    fn check_shares<'a>(
        &self,
        what: &str,
        shares: impl Iterator<Item = (&'a RegionName, Permille)>,
    ) -> Result<(), PlanError> {
        let mut sum = 0u64;
        for (region, share) in shares {
            if !self.regions.contains_key(region) {
                return Err(PlanError::UnknownRegion { what: what.to_owned(), region: region.clone() });
            }
            sum = sum.saturating_add(u64::from(share));
        }
        if sum == u64::from(WHOLE) { Ok(()) } else { Err(PlanError::Sum { what: what.to_owned(), sum }) }
    }
}
