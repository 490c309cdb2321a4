//! The choice for one client: pure, and the same on every authority that holds the same plan.

use std::cmp::Ordering;
use std::net::IpAddr;

use meridian_types::Coordinates;
use meridian_types::zone::Policy;

use crate::locate::Location;
use crate::pool::{Member, Members, Steering};
use crate::rendezvous::score;
use crate::subnet::Unit;

/// What a client is answered.
#[derive(Debug)]
pub(crate) struct Choice<'s> {
    /// Best first; never empty.
    pub(crate) addresses: Vec<(&'s Member, IpAddr)>,
    /// For whom it holds.
    pub(crate) breadth: Breadth,
}

/// For whom an answer holds, from wide to narrow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Breadth {
    /// Everybody.
    World,
    /// Every client at the same place.
    Block,
    /// The clients that are hashed as one.
    Unit,
}

impl Steering {
    /// Addresses for the clients of `unit`. Only `nearest` calls `locate`.
    pub(crate) fn choose<'s>(
        &'s self,
        members: &'s Members,
        unit: Unit,
        locate: impl FnOnce() -> Location,
    ) -> Choice<'s> {
        let (regions, breadth) = match self.policy {
            Policy::Failover => (members.list.iter().collect(), Breadth::World),
            Policy::Weighted => by_weight(members, unit),
            Policy::Nearest if members.list.len() == 1 => (members.list.iter().collect(), Breadth::World),
            Policy::Nearest => match locate().coordinates {
                Some(client) => self.by_distance(members, unit, client),
                None => by_weight(members, unit),
            },
        };
        spread(&regions, unit, self.max_addresses, breadth)
    }

    /// The nearest candidate's place in the list, whatever its health: a client's class does not change when a region
    /// dies, what the plan says about the class does.
    pub(crate) fn origin(&self, client: Coordinates) -> Option<usize> {
        let distances = self.candidates.iter().map(|candidate| candidate.coordinates.distance_km(client));
        distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place)
    }

    /// First by the plan's placement of the client's origin, the rest by distance.
    fn by_distance<'s>(&self, members: &'s Members, unit: Unit, client: Coordinates) -> (Vec<&'s Member>, Breadth) {
        let mut regions: Vec<(f64, &Member)> =
            members.list.iter().map(|member| (member.coordinates.distance_km(client), member)).collect();
        // A stable sort: equal distances keep the declared order.
        regions.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut regions: Vec<&Member> = regions.into_iter().map(|(_, member)| member).collect();
        let Some(origin) = self.origin(client) else { return (regions, Breadth::Unit) };
        let share = |member: &Member| member.shares.get(origin).copied().unwrap_or(0);
        let sharing = regions.iter().filter(|member| share(member) > 0).count();
        let wanted = |member: &&Member| score(member.seed, unit.key(), share(member));
        // With no share at all (every region that the plan places these clients in is gone) the nearest stays first.
        let best = regions.iter().enumerate().filter(|(_, member)| share(member) > 0);
        if let Some((best, _)) = best.max_by(|a, b| wanted(a.1).total_cmp(&wanted(b.1)))
            && let Some(front) = regions.get_mut(..=best)
        {
            front.rotate_right(1);
        }
        (regions, if sharing > 1 { Breadth::Unit } else { Breadth::Block })
    }
}

/// By weight alone. A region without weight is answered only if all are without.
fn by_weight(members: &Members, unit: Unit) -> (Vec<&Member>, Breadth) {
    let weightless = members.list.iter().all(|member| member.weight == 0);
    let weight = |member: &Member| if weightless { 1 } else { member.weight };
    let mut regions: Vec<(f64, &Member)> = members
        .list
        .iter()
        .filter(|member| weight(member) > 0)
        .map(|member| (score(member.seed, unit.key(), weight(member)), member))
        .collect();
    regions.sort_by(|a, b| b.0.total_cmp(&a.0));
    let breadth = if regions.len() > 1 { Breadth::Unit } else { Breadth::World };
    (regions.into_iter().map(|(_, member)| member).collect(), breadth)
}

/// One address of each region, then what is left of the best region, of the second, and so on. Which address of a
/// region comes first differs by unit, so that its nodes share the load.
fn spread<'s>(regions: &[&'s Member], unit: Unit, max: usize, mut breadth: Breadth) -> Choice<'s> {
    let mut firsts = Vec::with_capacity(max);
    let mut rest = Vec::new();
    for member in regions.iter().take(max) {
        if let [(_, only)] = member.addresses.as_slice() {
            firsts.push((*member, *only));
            continue;
        }
        breadth = Breadth::Unit;
        let mut ranked: Vec<_> = member.addresses.iter().collect();
        ranked.sort_by(|a, b| rank(a.0.with(unit.key()), b.0.with(unit.key())));
        let mut ranked = ranked.into_iter().map(|(_, address)| (*member, *address));
        firsts.extend(ranked.next());
        rest.extend(ranked);
    }
    firsts.extend(rest);
    firsts.truncate(max);
    Choice { addresses: firsts, breadth }
}

/// Highest first.
fn rank(a: u64, b: u64) -> Ordering {
    b.cmp(&a)
}
