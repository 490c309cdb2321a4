//! Where demand goes: at home while it fits, then to where there is room and it may go, nearest first.

use std::collections::{BTreeMap, BTreeSet};

use meridian_types::RegionName;

use super::RegionInput;
use super::shift::Shift;

/// Demand below this is taken for this much, so that a region without requests has a row too.
const LEAST_DEMAND: f64 = 0.01;

/// Demand placed: for each origin, how much goes where, and what fits nowhere.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed {
    /// Requests in flight by origin and region; each row adds up to the origin's demand.
    pub(crate) rows: BTreeMap<RegionName, BTreeMap<RegionName, f64>>,
    /// Requests in flight that are planned beyond the room of the region they go to.
    pub(crate) shed: f64,
}

/// Places `demand` (by origin) onto the `open` regions. Of its own demand a region keeps at most
/// `1 - penalty`, while others have room for the rest; nobody sheds to keep a penalty.
pub(crate) fn place(
    regions: &BTreeMap<RegionName, RegionInput>,
    open: &BTreeSet<RegionName>,
    demand: &BTreeMap<RegionName, f64>,
    penalties: &BTreeMap<RegionName, f64>,
) -> Placed {
    let placed = place_strictly(regions, open, demand, penalties);
    if placed.shed > 0.0 && !penalties.is_empty() {
        return place_strictly(regions, open, demand, &BTreeMap::new());
    }
    placed
}

fn place_strictly(
    regions: &BTreeMap<RegionName, RegionInput>,
    open: &BTreeSet<RegionName>,
    demand: &BTreeMap<RegionName, f64>,
    penalties: &BTreeMap<RegionName, f64>,
) -> Placed {
    let mut placed = Placed::default();
    let mut rest: BTreeMap<&RegionName, f64> = BTreeMap::new();
    let mut room: BTreeMap<&RegionName, f64> = BTreeMap::new();
    for (name, region) in regions {
        let own = demand.get(name).copied().unwrap_or(0.0).max(LEAST_DEMAND);
        let mut row = BTreeMap::new();
        if open.contains(name) {
            let penalty = penalties.get(name).copied().unwrap_or(0.0);
            let local = (own * (1.0 - penalty)).min(region.room());
            row.insert(name.clone(), local);
            room.insert(name, region.room() - local);
            rest.insert(name, own - local);
        } else {
            rest.insert(name, own);
        }
        placed.rows.insert(name.clone(), row);
    }
    for (origin, to) in by_distance(regions, open, penalties) {
        let (Some(rest), Some(room)) = (rest.get_mut(origin), room.get_mut(to)) else { continue };
        let moved = rest.min(*room);
        if moved > 0.0 {
            *rest -= moved;
            *room -= moved;
            *placed.rows.entry(origin.clone()).or_default().entry(to.clone()).or_default() += moved;
        }
    }
    let rows = &mut placed.rows;
    Shift { regions, open, rest: &mut rest, room: &mut room, rows }.run();
    leave(regions, open, &rest, &room, &mut placed);
    placed
}

/// Pairs of origin and other open region that it may use: those of its own jurisdiction first, slow receivers after all
/// others, then nearest first.
fn by_distance<'a>(
    regions: &'a BTreeMap<RegionName, RegionInput>,
    open: &'a BTreeSet<RegionName>,
    penalties: &BTreeMap<RegionName, f64>,
) -> Vec<(&'a RegionName, &'a RegionName)> {
    let mut pairs = Vec::new();
    for (origin, from) in regions {
        for to in open.iter().filter(|to| *to != origin) {
            let Some(region) = regions.get(to).filter(|region| from.may_use(region)) else { continue };
            let slow = penalties.get(to).is_some_and(|penalty| *penalty > 0.0);
            let rank = (from.jurisdiction != region.jurisdiction, slow);
            pairs.push((rank, from.coordinates.distance_km(region.coordinates), origin, to));
        }
    }
    pairs.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then_with(|| (a.2, a.3).cmp(&(b.2, b.3))));
    pairs.into_iter().map(|(_, _, origin, to)| (origin, to)).collect()
}

/// What has no room: a living region keeps it and sheds there, a closed one's is spread by capacity over those that it may
/// use. Where it may use none it stays: clients that it must not send elsewhere are told so there.
fn leave(
    regions: &BTreeMap<RegionName, RegionInput>,
    open: &BTreeSet<RegionName>,
    rest: &BTreeMap<&RegionName, f64>,
    room: &BTreeMap<&RegionName, f64>,
    placed: &mut Placed,
) {
    let capacity = |name: &RegionName| regions.get(name).map_or(1.0, |region| f64::from(region.capacity.max(1)));
    for (origin, rest) in rest.iter().filter(|(_, rest)| **rest > 0.0) {
        let row = placed.rows.entry((*origin).clone()).or_default();
        if open.contains(*origin) {
            *row.entry((*origin).clone()).or_default() += rest;
        } else {
            let allowed = allowed(regions, open, origin);
            let total: f64 = allowed.iter().copied().map(capacity).sum();
            for name in &allowed {
                *row.entry((*name).clone()).or_default() += rest * capacity(name) / total;
            }
            if allowed.is_empty() {
                row.insert((*origin).clone(), *rest);
            }
        }
        placed.shed += (rest - room.get(*origin).copied().unwrap_or(0.0)).max(0.0);
    }
    // No more than what regions without clients were given, to have a row at all: nobody's requests.
    if placed.shed <= regions.keys().map(|_| LEAST_DEMAND).sum() {
        placed.shed = 0.0;
    }
}

/// The open regions that `origin` may use.
pub(crate) fn allowed<'a>(
    regions: &BTreeMap<RegionName, RegionInput>,
    open: &'a BTreeSet<RegionName>,
    origin: &RegionName,
) -> Vec<&'a RegionName> {
    let Some(from) = regions.get(origin) else { return Vec::new() };
    open.iter().filter(|to| regions.get(*to).is_some_and(|region| from.may_use(region))).collect()
}
