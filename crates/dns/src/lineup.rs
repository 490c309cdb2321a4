//! Answers of a steered name that are encoded when a plan comes: one for each geo class and each region that the plan
//! sends the class's clients to. A query finds its class, picks a region and copies.
//!
//! [`Steering::choose`] says the same for any client, and the tests compare.

use meridian_types::zone::Policy;

use crate::classes::Class;
use crate::pool::{Member, Members, Steering};
use crate::ready::Template;
use crate::rendezvous::{Seed, score};
use crate::subnet::Unit;

/// Answers of one snapshot. They take at most some 5 MB and a few milliseconds of the task that brings a plan; names
/// that find no room are answered from their addresses' records.
pub(crate) const MAX_FRONTS: usize = 16_384;

/// The answers for one name and type under one plan: by class, and within it by the origin's place in the class's band.
/// Where it does not matter where clients are, there is one class.
#[derive(Debug)]
pub(crate) struct Lineups(Vec<Vec<Lineup>>);

/// The answers for the clients of one origin: by the region in front. Never empty.
#[derive(Debug)]
struct Lineup(Vec<Front>);

/// A region in front of the others, which are behind it in the order of preference.
#[derive(Debug)]
pub(crate) struct Front {
    seed: Seed,
    share: u32,
    /// Its place among the members.
    member: usize,
    pub(crate) records: Template,
}

impl Steering {
    /// The answer for the clients of `unit`, the region in front, and the scope; `None`: it is not ready.
    pub(crate) fn ready<'s>(&self, members: &'s Members, unit: Unit) -> Option<(&'s Front, &'s Member, u8)> {
        let lineups = &members.lineups.as_ref()?.0;
        let (lineup, block) = match &self.classes {
            Some(classes) if members.list.len() > 1 => {
                let found = classes.of(unit)?;
                let lineup = lineups.get(found.number)?.get(self.origin_place(found.class, unit))?;
                (lineup, if found.class.band < 2 { found.block } else { unit.prefix() })
            }
            _ => (lineups.first()?.first()?, 0),
        };
        let wanted = |front: &&Front| score(front.seed, unit.key(), front.share);
        let front = lineup.0.iter().max_by(|a, b| wanted(a).total_cmp(&wanted(b)))?;
        let scope = if lineup.0.len() < 2 { block } else { unit.prefix() };
        Some((front, members.list.get(front.member)?, scope))
    }

    /// Encodes the answers of `members`, for which `room` is left; `None`: there are none that many clients share.
    pub(crate) fn line_up(&self, members: &Members, room: &mut usize) -> Option<Lineups> {
        let mut builder = Builder { members, max_addresses: self.max_addresses, room };
        let everybody: Vec<usize> = (0..members.list.len()).collect();
        let lineups = match (self.policy, &self.classes) {
            _ if members.list.len() == 1 => vec![vec![builder.lineup(&everybody, None)?]],
            (Policy::Failover, _) => vec![vec![builder.lineup(&everybody, self.first_origin(members))?]],
            (Policy::Nearest, Some(classes)) => {
                let of_class = |class: &Class| {
                    let order: Vec<usize> = class.order.iter().filter_map(|at| members.place(*at)).collect();
                    let origins = class.order.iter().take(class.band);
                    origins.map(|origin| builder.lineup(&order, Some(*origin))).collect()
                };
                classes.iter().map(of_class).collect::<Option<_>>()?
            }
            // Every unit has an order of its own.
            (Policy::Weighted | Policy::Nearest, _) => return None,
        };
        Some(Lineups(lineups))
    }
}

struct Builder<'b> {
    members: &'b Members,
    max_addresses: usize,
    room: &'b mut usize,
}

impl Builder<'_> {
    /// `order`: places among the members.
    fn lineup(&mut self, order: &[usize], origin: Option<usize>) -> Option<Lineup> {
        let share = |place: &usize| Some(*self.members.list.get(*place)?.shares.get(origin?)?);
        let mut fronts: Vec<usize> = order.iter().copied().filter(|place| share(place) > Some(0)).collect();
        if fronts.is_empty() {
            fronts.extend(order.first());
        }
        *self.room = self.room.checked_sub(fronts.len())?;
        let front = |place: usize| {
            let others = order.iter().copied().filter(|other| *other != place);
            let places = std::iter::once(place).chain(others).take(self.max_addresses);
            let addresses = places.map(|place| match self.members.list.get(place)?.addresses.as_slice() {
                [only] => Some(only.ip),
                // Which of several is first differs by unit.
                _ => None,
            });
            let (seed, share) = (self.members.list.get(place)?.seed, share(&place).unwrap_or(0));
            let records = Template::of(&addresses.collect::<Option<Vec<_>>>()?);
            Some(Front { seed, share, member: place, records })
        };
        fronts.into_iter().map(front).collect::<Option<_>>().map(Lineup)
    }
}
