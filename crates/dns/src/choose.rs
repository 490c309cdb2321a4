//! The choice for one client: pure, and the same on every authority that holds the same plan.

use std::cmp::Ordering;

use meridian_types::zone::Policy;
use smallvec::SmallVec;

use crate::classes::Class;
use crate::pool::{Address, Member, Members, Steering};
use crate::rendezvous::score;
use crate::subnet::Unit;

/// On the stack as long as there are no more than that: a query then allocates nothing.
pub(crate) type Few<T> = SmallVec<[T; 8]>;

/// What a client is answered.
#[derive(Debug)]
pub(crate) struct Choice<'s> {
    /// Best first; never empty.
    pub(crate) addresses: Few<(&'s Member, &'s Address)>,
    /// Prefix length of the network around the client that gets the same.
    pub(crate) scope: u8,
    /// Why regions are answered that do not take traffic, if so.
    pub(crate) all_down: Option<&'static str>,
}

/// For whom an order of regions holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Breadth {
    /// Everybody.
    World,
    /// Every client of the same block.
    Block(u8),
    /// The clients that are hashed as one.
    Unit,
}

impl Steering {
    /// Addresses for the clients of `unit`.
    pub(crate) fn choose<'s>(&'s self, members: &'s Members, unit: Unit) -> Choice<'s> {
        let (regions, breadth) = match self.policy {
            _ if members.list.len() == 1 && !self.is_fenced() => (members.list.iter().collect(), Breadth::World),
            Policy::Failover => self.by_preference(members, unit),
            Policy::Weighted => by_weight(members, unit),
            Policy::Nearest => match self.classes.as_ref().and_then(|classes| classes.of(unit)) {
                Some(found) => self.by_class(members, unit, found.class, found.block),
                None => by_weight(members, unit),
            },
        };
        let (addresses, is_one_each) = spread(&regions, unit, self.max_addresses);
        let scope = match breadth {
            Breadth::World if is_one_each => 0,
            Breadth::Block(block) if is_one_each => block,
            _ => unit.prefix(),
        };
        Choice { addresses, scope, all_down: members.all_down }
    }

    /// The candidate that the clients of `unit` are the clients of, whatever its health: what a client is does not
    /// change when a region dies, what the plan says about such clients does. Within the band by declared weight.
    pub(crate) fn origin(&self, class: &Class, unit: Unit) -> usize {
        class.order.get(self.origin_place(class, unit)).copied().unwrap_or(0)
    }

    /// Its place in the class's order.
    pub(crate) fn origin_place(&self, class: &Class, unit: Unit) -> usize {
        if class.band < 2 {
            return 0;
        }
        let wanted = |(place, at): (usize, &usize)| {
            let candidate = self.candidates.get(*at)?;
            Some((score(candidate.origin_seed, unit.key(), candidate.weight), place))
        };
        let near = class.order.iter().take(class.band).enumerate().filter_map(wanted);
        // Without any weight the nearest keeps its own.
        let best = near.filter(|(wanted, _)| *wanted > 0.0).max_by(|a, b| a.0.total_cmp(&b.0));
        best.map_or(0, |(_, place)| place)
    }

    /// In the declared order. Everybody is a client of the first region that can serve, and the plan's placement of its
    /// clients holds: it sends those away whom the region has no room for, and lets one that comes back start slowly.
    fn by_preference<'s>(&self, members: &'s Members, unit: Unit) -> (Few<&'s Member>, Breadth) {
        let regions: Few<&Member> = members.list.iter().collect();
        let Some(origin) = self.first_origin(members) else { return (regions, Breadth::World) };
        let (regions, is_one) = placed(regions, origin, unit);
        (regions, if is_one { Breadth::World } else { Breadth::Unit })
    }

    /// The candidate that is the first member.
    pub(crate) fn first_origin(&self, members: &Members) -> Option<usize> {
        let first = members.list.first().map(|member| &member.region);
        self.candidates.iter().position(|candidate| Some(&candidate.region) == first)
    }

    /// First by the plan's placement of the client's origin, the rest by distance.
    fn by_class<'s>(&self, members: &'s Members, unit: Unit, class: &Class, block: u8) -> (Few<&'s Member>, Breadth) {
        let regions = class.order.iter().filter_map(|at| members.of_candidate(*at)).collect();
        let (regions, is_one) = placed(regions, self.origin(class, unit), unit);
        (regions, if is_one && class.band < 2 { Breadth::Block(block) } else { Breadth::Unit })
    }
}

/// The regions with the one in front where the plan places this unit of the origin's clients, and whether it places all
/// of them there.
fn placed(mut regions: Few<&Member>, origin: usize, unit: Unit) -> (Few<&Member>, bool) {
    let share = |member: &Member| member.shares.get(origin).copied().unwrap_or(0);
    let sharing = regions.iter().filter(|member| share(member) > 0).count();
    let wanted = |member: &&Member| score(member.seed, unit.key(), share(member));
    // With no share at all (every region that the plan places these clients in is gone) the first stays first.
    let best = regions.iter().enumerate().filter(|(_, member)| share(member) > 0);
    if let Some((best, _)) = best.max_by(|a, b| wanted(a.1).total_cmp(&wanted(b.1)))
        && let Some(front) = regions.get_mut(..=best)
    {
        front.rotate_right(1);
    }
    (regions, sharing < 2)
}

/// By weight alone. A region without weight is answered only if all are without.
fn by_weight(members: &Members, unit: Unit) -> (Few<&Member>, Breadth) {
    let weightless = members.list.iter().all(|member| member.weight == 0);
    let weight = |member: &Member| if weightless { 1 } else { member.weight };
    let mut regions: Few<(f64, &Member)> = members
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
/// region comes first differs by unit, so that its nodes share the load. And whether there was nothing to spread.
fn spread<'s>(regions: &[&'s Member], unit: Unit, max: usize) -> (Few<(&'s Member, &'s Address)>, bool) {
    let mut firsts = Few::new();
    let mut rest: Few<(&Member, &Address)> = Few::new();
    let mut is_one_each = true;
    for member in regions.iter().take(max) {
        if let [only] = member.addresses.as_slice() {
            // Most regions have one virtual address: nothing to rank.
            firsts.push((*member, only));
            continue;
        }
        is_one_each = false;
        let mut ranked: Few<&Address> = member.addresses.iter().collect();
        ranked.sort_by(|a, b| rank(a.seed.with(unit.key()), b.seed.with(unit.key())));
        let mut ranked = ranked.into_iter().map(|address| (*member, address));
        firsts.extend(ranked.next());
        rest.extend(ranked);
    }
    firsts.extend(rest);
    firsts.truncate(max);
    (firsts, is_one_each)
}

/// Highest first.
fn rank(a: u64, b: u64) -> Ordering {
    b.cmp(&a)
}
