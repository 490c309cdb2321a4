//! The choice for one client: pure, and the same on every authority that holds the same plan.

use meridian_types::zone::Policy;
use smallvec::SmallVec;

use crate::arrange::{Behind, Row, first, turn};
use crate::classes::{Class, Found};
use crate::pool::{Address, Member, Members, Steering};
use crate::rendezvous::{Seed, score};
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

/// Clients for whom the regions are in one order, with the same parts of them for each to be first.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Crowd<'c> {
    /// Everybody.
    World,
    /// Those of a class and of one of the origins in its band.
    Class { found: Found<'c>, origin_place: usize },
    /// Those of whom nobody knows where they are.
    Strangers,
}

/// Regions that a crowd may be answered with.
#[derive(Debug)]
pub(crate) struct Ranks<'s> {
    /// Never empty.
    regions: Few<&'s Member>,
    /// By region: its part of the crowd.
    shares: Few<u32>,
    behind: Behind,
    max: usize,
}

impl Steering {
    /// Addresses for the clients of `unit`.
    pub(crate) fn choose<'s>(&'s self, members: &'s Members, unit: Unit) -> Option<Choice<'s>> {
        let crowd = self.crowd(members, unit);
        let ranks = match crowd {
            Crowd::Class { found, origin_place } => self.ranks_of_class(members, found.class, origin_place),
            Crowd::World | Crowd::Strangers => self.ranks_of_all(members),
        };
        let fronts: Few<_> = ranks.fronts().collect();
        let front = in_front(fronts.iter().copied(), unit, |(seed, share, _)| (*seed, *share))?;
        let row = ranks.row(front.2)?;
        let first = first(row.front.addresses.iter().map(|address| address.seed), unit);
        let addresses = row.arrange(first, turn(unit));
        let scope = if fronts.len() == 1 && row.is_everybodys() { crowd.scope(unit) } else { unit.prefix() };
        Some(Choice { addresses, scope, all_down: members.all_down })
    }

    /// Whom the clients of `unit` are among.
    pub(crate) fn crowd(&self, members: &Members, unit: Unit) -> Crowd<'_> {
        match self.classes.as_ref().filter(|_| self.minds_place(members)).map(|classes| classes.of(unit)) {
            Some(Some(found)) => Crowd::Class { found, origin_place: self.origin_place(found.class, unit) },
            Some(None) => Crowd::Strangers,
            None => Crowd::World,
        }
    }

    /// Whether it matters where clients are: of one region everybody gets the same, unless some get none of it.
    pub(crate) fn minds_place(&self, members: &Members) -> bool {
        self.classes.is_some() && (members.list.len() > 1 || self.is_fenced())
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

    /// By the policy alone, or by weight, for want of anything better, if it minds where clients are.
    pub(crate) fn ranks_of_all<'s>(&self, members: &'s Members) -> Ranks<'s> {
        match self.policy {
            Policy::Failover => self.by_preference(members),
            Policy::Weighted | Policy::Nearest => self.by_weight(members),
        }
    }

    /// First by the plan's placement of the clients' origin, the rest by distance.
    pub(crate) fn ranks_of_class<'s>(&self, members: &'s Members, class: &Class, origin_place: usize) -> Ranks<'s> {
        let mut regions: Few<&Member> = class.order.iter().filter_map(|at| members.of_candidate(*at)).collect();
        if regions.is_empty() {
            // The region to fail to need be nobody's candidate.
            regions.extend(&members.list);
        }
        self.placed(regions, class.order.get(origin_place).copied())
    }

    /// In the declared order. Everybody is a client of the first region that can serve, and the plan's placement of its
    /// clients holds: it sends those away whom the region has no room for, and lets one that comes back start slowly.
    fn by_preference<'s>(&self, members: &'s Members) -> Ranks<'s> {
        let first = members.list.first().map(|member| &member.region);
        let origin = self.candidates.iter().position(|candidate| Some(&candidate.region) == first);
        self.placed(members.list.iter().collect(), origin)
    }

    fn placed<'s>(&self, regions: Few<&'s Member>, origin: Option<usize>) -> Ranks<'s> {
        let share = |member: &&Member| origin.and_then(|origin| member.shares.get(origin).copied()).unwrap_or(0);
        let shares = regions.iter().map(share).collect();
        Ranks { regions, shares, behind: Behind::Listed, max: self.max_addresses }
    }

    /// A region without weight is answered only if all are without.
    fn by_weight<'s>(&self, members: &'s Members) -> Ranks<'s> {
        let is_weightless = members.list.iter().all(|member| member.weight == 0);
        let regions: Few<_> = members.list.iter().filter(|member| is_weightless || member.weight > 0).collect();
        let shares = regions.iter().map(|member| member.weight.max(1)).collect();
        Ranks { regions, shares, behind: Behind::Weighted, max: self.max_addresses }
    }
}

impl<'s> Ranks<'s> {
    /// Who may be first: seed, part of the crowd, and place among the regions. Without any part (every region that the
    /// plan places these clients in is gone) it is the first.
    pub(crate) fn fronts(&self) -> impl Iterator<Item = (Seed, u32, usize)> {
        let has_shares = self.shares.iter().any(|share| *share > 0);
        let all = self.regions.iter().zip(&self.shares).enumerate();
        let fronts = all.filter(move |(place, (_, share))| if has_shares { **share > 0 } else { *place == 0 });
        fronts.map(|(place, (member, share))| (member.seed, *share, place))
    }

    /// The answers with the region at `front` in front.
    pub(crate) fn row(&self, front: usize) -> Option<Row<'s>> {
        let mut others = self.regions.clone();
        let front = (front < others.len()).then(|| others.remove(front))?;
        Some(Row { front, others, behind: self.behind, max: self.max })
    }
}

impl Crowd<'_> {
    /// Prefix length of the network around the unit that is in the crowd.
    pub(crate) fn scope(self, unit: Unit) -> u8 {
        match self {
            Self::World => 0,
            Self::Class { found, .. } if found.class.band < 2 => found.block,
            Self::Class { .. } | Self::Strangers => unit.prefix(),
        }
    }
}

/// Who of them the unit gets first.
pub(crate) fn in_front<T>(
    fronts: impl ExactSizeIterator<Item = T>,
    unit: Unit,
    of: impl Fn(&T) -> (Seed, u32),
) -> Option<T> {
    let mut fronts = fronts;
    if fronts.len() == 1 {
        // Most crowds have one front: nothing to rank.
        return fronts.next();
    }
    let wanted = |(seed, share): (Seed, u32)| score(seed, unit.key(), share);
    fronts.max_by(|a, b| wanted(of(a)).total_cmp(&wanted(of(b))))
}
