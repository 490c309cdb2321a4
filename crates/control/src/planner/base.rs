//! Which regions may get traffic at all, and how much each one is declared to get.

use std::collections::{BTreeMap, BTreeSet};

use meridian_types::{RegionName, RegionState};

use super::RegionInput;

/// The regions that traffic may be planned onto. Serving ones; if there is none the drained ones, which go on
/// serving what comes; if there is none of these either nothing is known to be better than anything else, and `None`
/// says that all stays as it was.
pub(crate) fn open(regions: &BTreeMap<RegionName, RegionInput>) -> Option<BTreeSet<RegionName>> {
    let of_state = |state: RegionState| -> BTreeSet<RegionName> {
        regions.iter().filter(|(_, region)| region.state == state).map(|(name, _)| name.clone()).collect()
    };
    [RegionState::Serving, RegionState::Drained].into_iter().map(of_state).find(|open| !open.is_empty())
}

/// Declared weights of the regions in `among`; equal parts when all of them are 0.
pub(crate) fn declared(
    regions: &BTreeMap<RegionName, RegionInput>,
    among: &BTreeSet<RegionName>,
) -> BTreeMap<RegionName, f64> {
    let weight = |name: &RegionName| regions.get(name).map_or(0, |region| region.weight);
    let none = among.iter().all(|name| weight(name) == 0);
    among.iter().map(|name| (name.clone(), if none { 1.0 } else { f64::from(weight(name)) })).collect()
}
