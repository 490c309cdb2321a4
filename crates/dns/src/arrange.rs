//! The order of an answer's addresses. Whose address is first is chosen for each unit of clients; what stands behind it
//! is the same for all units of one turn, so that a name has few answers and each can be encoded before anybody asks.
//!
//! A turn is a position of a wheel on which each choice has a part: its weight, or the same as all others. Over all turns
//! everybody stands next in line as often as that says, and no table of random orders is needed for it.

use crate::choose::Few;
use crate::pool::{Address, Member};
use crate::rendezvous::Seed;
use crate::subnet::Unit;

/// Positions of the wheel. Divided by as many small numbers as any that is not much greater: so many addresses of a region
/// are second exactly equally often.
pub(crate) const TURNS: usize = 60;

/// Another hash of the unit than the choices in front are made by: any number will do that is never changed.
const TURN_SEED: u64 = 0x7475_726E;

/// The unit's position.
pub(crate) fn turn(unit: Unit) -> usize {
    // Less than `TURNS`, so it fits.
    (Seed::of_number(TURN_SEED).with(unit.key()) % TURNS as u64) as usize
}

/// The address of those with these seeds that the unit gets first.
pub(crate) fn first(seeds: impl Iterator<Item = Seed>, unit: Unit) -> usize {
    seeds.enumerate().max_by_key(|(_, seed)| seed.with(unit.key())).map_or(0, |(place, _)| place)
}

/// How the regions behind the one in front are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Behind {
    /// As they are listed.
    Listed,
    /// By weight, each turn another way.
    Weighted,
}

/// The regions of an answer, when it is known which is in front.
#[derive(Debug)]
pub(crate) struct Row<'s> {
    pub(crate) front: &'s Member,
    /// Without the one in front; under [`Behind::Weighted`] all have weight, or none.
    pub(crate) others: Few<&'s Member>,
    pub(crate) behind: Behind,
    /// Addresses at most; at least one.
    pub(crate) max: usize,
}

impl<'s> Row<'s> {
    /// One address of each region, then what is left of the best region, of the second, and so on. `first`: of the front
    /// region's addresses.
    pub(crate) fn arrange(&self, first: usize, turn: usize) -> Few<(&'s Member, &'s Address)> {
        let mut others = self.others.clone();
        if self.behind == Behind::Weighted {
            let next = self.next(turn);
            others.rotate_left(next);
        }
        others.truncate(self.max.saturating_sub(1));
        // What is left of the front's addresses takes turns at being the next one, too.
        let front = (self.front, first, turn);
        let regions = || std::iter::once(front).chain(others.iter().map(|other| (*other, turn, 0)));
        let firsts = regions().filter_map(|(member, first, _)| Some((member, address(member, first)?)));
        let rest = regions().flat_map(|(member, first, shift)| {
            let left = member.addresses.len().saturating_sub(1);
            (0..left).filter_map(move |i| Some((member, address(member, first + 1 + (shift + i) % left)?)))
        });
        firsts.chain(rest).take(self.max).collect()
    }

    /// Turns after which the answers are the same again; divides [`TURNS`], or is that.
    pub(crate) fn turns(&self) -> usize {
        let shown = self.others.len().min(self.max.saturating_sub(1));
        if self.behind == Behind::Weighted && shown > 0 && self.others.len() > 1 {
            return TURNS;
        }
        let has_rest = 1 + shown < self.max;
        let front = if has_rest { self.front.addresses.len().saturating_sub(1) } else { 1 };
        let places = |turns: usize| {
            let others = self.others.iter().take(shown).map(|other| other.addresses.len());
            others.chain([front]).all(|places| turns.is_multiple_of(places.max(1)))
        };
        (1..TURNS).find(|turns| TURNS.is_multiple_of(*turns) && places(*turns)).unwrap_or(TURNS)
    }

    /// Whether every unit gets the same.
    pub(crate) fn is_everybodys(&self) -> bool {
        self.front.addresses.len() == 1 && self.turns() == 1
    }

    /// The one of the others that is next in line.
    fn next(&self, turn: usize) -> usize {
        // Without any weight they are alike.
        let weights = || self.others.iter().map(|other| u64::from(other.weight.max(1)));
        // The middle of the turn, in units that make every number whole.
        let mut left = (2 * turn as u64 + 1) * weights().sum::<u64>();
        for (place, weight) in weights().enumerate() {
            let part = weight * 2 * TURNS as u64;
            if left < part {
                return place;
            }
            left -= part;
        }
        0
    }
}

/// The places go round.
fn address(member: &Member, place: usize) -> Option<&Address> {
    member.addresses.get(place % member.addresses.len().max(1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use meridian_types::RegionName;

    use super::*;
    use crate::metrics::Series;

    fn member(number: usize, weight: u32, addresses: usize) -> Member {
        let name = format!("region-{number}");
        let address = |i: usize| Address::new(&[10, number as u8, 0, i as u8].into());
        Member {
            region: RegionName::new(&name).unwrap(),
            number,
            seed: Seed::of(name.as_bytes()),
            weight,
            shares: Vec::new(),
            addresses: (0..addresses).map(address).collect(),
            series: Series::default(),
        }
    }

    fn row(members: &[Member], behind: Behind, max: usize) -> Row<'_> {
        Row { front: &members[0], others: members[1..].iter().collect(), behind, max }
    }

    /// How often each address has the place in the answers of all turns.
    fn at(row: &Row<'_>, place: usize) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for answer in (0..TURNS).map(|turn| row.arrange(0, turn)) {
            *found.entry(answer[place].1.ip.to_string()).or_insert(0) += 1;
        }
        found
    }

    #[test]
    fn an_answer_has_one_address_of_each_region_and_then_the_rest_and_none_twice() {
        let members = [member(0, 1, 3), member(1, 1, 2), member(2, 1, 1)];
        for (behind, max) in [Behind::Listed, Behind::Weighted].into_iter().flat_map(|b| (1..=8).map(move |m| (b, m))) {
            let row = row(&members, behind, max);
            for (first, turn) in (0..3).flat_map(|first| (0..TURNS).map(move |turn| (first, turn))) {
                let answer = row.arrange(first, turn);
                let regions: Vec<usize> = answer.iter().map(|(member, _)| member.number).collect();
                let listed = [0, 1, 2, 0, 0, 1];
                assert_eq!(regions.len(), max.min(6));
                assert_eq!(answer[0].1.ip.to_string(), format!("10.0.0.{first}"));
                if behind == Behind::Listed {
                    assert_eq!(regions, listed[..max.min(6)]);
                }
                let mut distinct: Vec<String> = answer.iter().map(|(_, address)| address.ip.to_string()).collect();
                distinct.sort();
                distinct.dedup();
                assert_eq!(distinct.len(), answer.len(), "{behind:?} {max} {first} {turn}");
            }
        }
    }

    #[test]
    fn behind_the_front_everybody_is_next_as_often_as_weights_say_and_addresses_equally_often() {
        let members = [member(0, 500, 1), member(1, 300, 3), member(2, 100, 2), member(3, 200, 1)];
        let found = at(&row(&members, Behind::Weighted, 2), 1);
        let expected =
            [("10.1.0.0", 10), ("10.1.0.1", 10), ("10.1.0.2", 10), ("10.2.0.0", 5), ("10.2.0.1", 5), ("10.3.0.0", 20)];
        assert_eq!(found, expected.map(|(address, times)| (address.to_owned(), times)).into());
        // Of one region, so that none of its nodes bears alone what another one loses.
        let members = [member(0, 1, 4)];
        let expected = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| (address.to_owned(), TURNS / 3));
        assert_eq!(at(&row(&members, Behind::Listed, 2), 1), expected.into());
    }

    #[test]
    fn answers_come_again_after_the_turns_that_are_kept_and_not_before() {
        let check = |sizes: &[usize], behind: Behind, max: usize, expected: usize| {
            let members: Vec<Member> =
                sizes.iter().enumerate().map(|(i, size)| member(i, 10 + i as u32, *size)).collect();
            let row = row(&members, behind, max);
            let shown =
                |turn: usize| -> Vec<_> { row.arrange(0, turn).iter().map(|(_, address)| address.ip).collect() };
            assert_eq!(row.turns(), expected, "{sizes:?} {behind:?} {max}");
            for turn in 0..TURNS {
                assert_eq!(shown(turn), shown(turn % expected), "{sizes:?} {behind:?} {max} {turn}");
            }
            let all: std::collections::BTreeSet<_> = (0..expected).map(shown).collect();
            assert!(all.len() == expected || expected == TURNS, "{sizes:?} {max}");
        };
        check(&[1, 1, 1], Behind::Listed, 2, 1);
        check(&[3, 3, 3], Behind::Listed, 1, 1);
        check(&[3, 3, 3], Behind::Listed, 2, 3);
        check(&[3, 2, 1], Behind::Listed, 3, 2);
        check(&[3, 2, 5], Behind::Listed, 3, 10);
        check(&[10, 10], Behind::Listed, 2, 10);
        check(&[4], Behind::Listed, 8, 3);
        check(&[4, 2], Behind::Listed, 8, 6);
        check(&[2, 7, 1], Behind::Listed, 2, TURNS);
        check(&[1, 1, 1], Behind::Weighted, 2, TURNS);
        check(&[3, 1, 1], Behind::Weighted, 1, 1);
        check(&[1, 3], Behind::Weighted, 2, 3);
    }

    #[test]
    fn units_are_spread_evenly_over_turns_and_first_addresses_and_neither_tells_of_the_other() {
        const UNITS: u32 = 240_000;
        let seeds: Vec<Seed> = (0..4u8).map(|i| Seed::of(&[i])).collect();
        let mut found = vec![[0u32; 4]; TURNS];
        for i in 0..UNITS {
            let unit = Unit::of(std::net::Ipv4Addr::from_bits(i << 8).into());
            found[turn(unit)][first(seeds.iter().copied(), unit)] += 1;
        }
        for times in found.into_iter().flatten() {
            // A thousand each; five standard deviations.
            assert!((840..1_160).contains(&times), "{times}");
        }
    }
}
