//! Room for what may go to few places, by moving on what may go to more: nobody sheds while a chain of allowed moves
//! leads to room. An augmenting path of the transport problem, the shortest first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use meridian_types::RegionName;

use super::{RegionInput, waterfall};

/// Requests in flight; less is not worth a move.
const LEAST: f64 = 0.01;
/// Moves of one placement: far more than any fleet needs. What is left then is shed as if there were no room.
const MAX_MOVES: usize = 1000;

/// One link of a chain: load of `origin` comes to a region from another, or is new.
struct Link<'a> {
    origin: &'a RegionName,
    from: Option<&'a RegionName>,
}

/// What is being placed.
pub(super) struct Shift<'a, 'm> {
    pub(super) regions: &'a BTreeMap<RegionName, RegionInput>,
    pub(super) open: &'a BTreeSet<RegionName>,
    /// Of each origin, what has no place yet.
    pub(super) rest: &'m mut BTreeMap<&'a RegionName, f64>,
    /// What each open region has left.
    pub(super) room: &'m mut BTreeMap<&'a RegionName, f64>,
    /// What was placed, by origin.
    pub(super) rows: &'m mut BTreeMap<RegionName, BTreeMap<RegionName, f64>>,
}

impl<'a> Shift<'a, '_> {
    /// Places as much of the rest as chains of moves allow.
    pub(super) fn run(mut self) {
        let origins: Vec<&RegionName> = self.rest.keys().copied().collect();
        let mut moves = 0;
        for origin in origins {
            while moves < MAX_MOVES && self.rest.get(origin).is_some_and(|rest| *rest > LEAST) {
                let Some((to, links)) = self.chain(origin) else { break };
                self.apply(origin, to, &links);
                moves += 1;
            }
        }
    }

    /// The shortest chain that ends where there is room: that region, and how each region on the way is reached.
    fn chain(&self, origin: &'a RegionName) -> Option<(&'a RegionName, BTreeMap<&'a RegionName, Link<'a>>)> {
        let allowed = |origin: &'a RegionName| waterfall::allowed(self.regions, self.open, origin);
        let mut links = BTreeMap::new();
        let mut next = VecDeque::new();
        let mut reach = |origin: &'a RegionName, from: Option<&'a RegionName>, next: &mut VecDeque<_>| {
            for to in allowed(origin) {
                links.entry(to).or_insert_with(|| {
                    next.push_back(to);
                    Link { origin, from }
                });
            }
        };
        reach(origin, None, &mut next);
        while let Some(at) = next.pop_front() {
            if self.room.get(at).is_some_and(|room| *room > LEAST) {
                return Some((at, links));
            }
            for other in self.regions.keys().filter(|other| self.flow(other, at) > LEAST) {
                reach(other, Some(at), &mut next);
            }
        }
        None
    }

    fn flow(&self, origin: &RegionName, to: &RegionName) -> f64 {
        self.rows.get(origin).and_then(|row| row.get(to)).copied().unwrap_or(0.0)
    }

    fn apply(&mut self, origin: &'a RegionName, end: &'a RegionName, links: &BTreeMap<&'a RegionName, Link<'a>>) {
        let mut steps = Vec::new();
        let mut at = Some(end);
        while let Some((to, link)) = at.and_then(|to| Some((to, links.get(to)?))) {
            steps.push((link.origin, link.from, to));
            at = link.from;
        }
        let narrow = steps.iter().filter_map(|(mover, from, _)| from.map(|from| self.flow(mover, from)));
        let ends = [self.rest.get(origin), self.room.get(end)].into_iter().flatten().copied();
        let amount = narrow.chain(ends).fold(f64::INFINITY, f64::min);
        for (mover, from, to) in steps {
            let row = self.rows.entry(mover.clone()).or_default();
            if let Some(left) = from.and_then(|from| row.get_mut(from)) {
                *left -= amount;
            }
            *row.entry(to.clone()).or_default() += amount;
        }
        if let (Some(rest), Some(room)) = (self.rest.get_mut(origin), self.room.get_mut(end)) {
            *rest -= amount;
            *room -= amount;
        }
    }
}
