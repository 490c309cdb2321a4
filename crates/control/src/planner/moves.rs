//! What is said about each region that gives up traffic, or takes over what others give up.

use std::collections::{BTreeMap, BTreeSet};

use meridian_types::{RegionName, Shares};

use super::latency::Penalty;
use super::{Inputs, WHOLE, base, shares};

/// Shares differ by so much from rounding alone; that is nothing to tell.
const ROUNDING: u32 = 1;

/// A decision that is to be told.
pub(crate) struct Moves<'a> {
    pub(crate) inputs: &'a Inputs,
    pub(crate) open: &'a BTreeSet<RegionName>,
    pub(crate) rows: &'a BTreeMap<RegionName, Shares>,
    pub(crate) weights: &'a Shares,
    pub(crate) penalties: &'a BTreeMap<RegionName, Penalty>,
}

impl Moves<'_> {
    /// Parts of the reason of every open region to which anything happens.
    pub(crate) fn describe(&self) -> BTreeMap<RegionName, String> {
        let all = self.inputs.regions.keys().cloned().collect();
        let declared = shares::proportional(&base::declared(&self.inputs.regions, &all)).unwrap_or_default();
        let told = |name: &RegionName| {
            let parts: Vec<String> = self.away(name).into_iter().chain(self.gains(&declared, name)).collect();
            (!parts.is_empty()).then(|| (name.clone(), parts.join("; ")))
        };
        self.open.iter().filter_map(told).collect()
    }

    /// Why part of a region's own demand goes elsewhere; `None` if it does not.
    fn away(&self, name: &RegionName) -> Option<String> {
        let row = self.rows.get(name)?;
        let away: Vec<String> = row
            .iter()
            .filter(|(to, _)| *to != name)
            .map(|(to, share)| format!("{share}/{WHOLE} moved to {to}"))
            .collect();
        if away.is_empty() {
            return None;
        }
        let region = self.inputs.regions.get(name)?;
        let used = region.demand.unwrap_or(0.0) / f64::from(region.capacity.max(1)) * 100.0;
        let cause = match self.penalties.get(name) {
            Some(penalty) => penalty.reason.clone(),
            None => format!("load {used:.0} % of capacity {}", region.capacity),
        };
        Some(format!("{cause}: {}", away.join(", ")))
    }

    /// What a region takes over, and from whom: of all traffic, and of the clients that are nearest to others.
    fn gains(&self, declared: &Shares, name: &RegionName) -> Option<String> {
        let mut parts = Vec::new();
        let gained = shares::of(self.weights, name).saturating_sub(shares::of(declared, name));
        if gained > ROUNDING {
            let loses = |other: &&RegionName| {
                shares::of(declared, other) > shares::of(self.weights, other).saturating_add(ROUNDING)
            };
            let losers: Vec<String> =
                self.inputs.regions.keys().filter(loses).map(|other| self.called(other)).collect();
            if !losers.is_empty() {
                parts.push(format!("{gained}/{WHOLE} of all traffic from {}", losers.join(", ")));
            }
        }
        let others = self.rows.iter().filter(|(origin, _)| *origin != name);
        let nearest = others.filter_map(|(origin, row)| Some((origin, row.get(name).filter(|share| **share > 0)?)));
        let nearest: Vec<String> = nearest
            .map(|(origin, share)| format!("{share}/{WHOLE} of those nearest to {}", self.called(origin)))
            .collect();
        parts.extend(nearest);
        (!parts.is_empty()).then(|| format!("takes over {}", parts.join(", ")))
    }

    /// A region with why it gives up traffic.
    fn called(&self, name: &RegionName) -> String {
        let cause = match self.inputs.regions.get(name) {
            Some(region) if !region.state.takes_traffic() => region.state.as_str(),
            _ if self.penalties.contains_key(name) => "slow",
            _ => "loaded",
        };
        format!("{name} ({cause})")
    }
}
