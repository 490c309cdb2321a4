//! Geo classes: clients for whom the regions lie in the same order are answered alike. All networks of the world fall
//! into a handful of classes, and with neighbours of one class merged a table of them is small and scopes are wide.
//!
//! Classes depend on the configuration and the database alone, not on health: they are compiled when one of those
//! changes, and plans come and go without it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use meridian_types::Coordinates;

use crate::geo::GeoDatabase;
use crate::ranges::{Builder, Family, Hit, NOTHING, Ranges, units};
use crate::subnet::Unit;

/// What the clients of one class have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    /// Every candidate, the nearest first; candidates equally far are in the declared order.
    pub(crate) order: Box<[usize]>,
    /// The first so many are near enough to share the class's clients; at least one.
    pub(crate) band: usize,
}

/// The class of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found<'c> {
    pub(crate) class: &'c Class,
    /// Its place among the classes.
    pub(crate) number: usize,
    /// Prefix length of the block around the unit that has the same class.
    pub(crate) block: u8,
}

/// Which class each unit has, for one list of candidates.
#[derive(Debug)]
pub(crate) struct Classes {
    v4: Ranges,
    v6: Ranges,
    list: Vec<Class>,
}

/// What classes are made from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Criteria {
    /// Where the candidates are; not empty.
    pub(crate) candidates: Vec<Coordinates>,
    /// How much farther than the nearest one a candidate may be to share its clients; 0: not at all.
    pub(crate) band_km: u32,
}

impl Criteria {
    pub(crate) fn class(&self, client: Coordinates) -> Class {
        let distances: Vec<f64> = self.candidates.iter().map(|candidate| candidate.distance_km(client)).collect();
        let distance = |candidate: usize| distances.get(candidate).copied().unwrap_or(f64::INFINITY);
        let mut order: Vec<usize> = (0..distances.len()).collect();
        // A stable sort, so that the declared order decides between equals.
        order.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)));
        let reach = order.first().map_or(0.0, |nearest| distance(*nearest)) + f64::from(self.band_km);
        let band = if self.band_km == 0 { 1 } else { order.iter().filter(|at| distance(**at) <= reach).count() };
        Class { order: order.into(), band: band.max(1) }
    }
}

impl Classes {
    /// `networks` are taken before the database: an operator wrote them down because they know better.
    pub(crate) fn compile(criteria: &Criteria, database: Option<&GeoDatabase>, networks: &Networks) -> Self {
        let mut interned = Interned { criteria, ids: BTreeMap::new(), list: Vec::new() };
        let places: Vec<u32> =
            database.map_or(&[][..], GeoDatabase::places).iter().map(|at| interned.class(*at)).collect();
        let [v4, v6] = Family::BOTH.map(|family| {
            let mut declared = networks.of(family).map(|(units, at)| (units, interned.class(at))).peekable();
            let mut builder = Builder::new(family);
            for (units, place) in database.into_iter().flat_map(|database| database.ranges(family).iter()) {
                let class = places.get(place as usize).copied().unwrap_or(NOTHING);
                while let Some((ours, id)) = declared.next_if(|(ours, _)| ours.start() <= units.end()) {
                    if let Some(end) = ours.start().checked_sub(1) {
                        // The builder leaves alone what it has: only what lies between is new.
                        builder.push(*units.start()..=end, class);
                    }
                    builder.push(ours, id);
                }
                builder.push(units, class);
            }
            declared.for_each(|(units, id)| builder.push(units, id));
            builder.finish()
        });
        Self { v4, v6, list: interned.list }
    }

    /// The class of a unit; `None`: nobody knows where it is.
    pub(crate) fn of(&self, unit: Unit) -> Option<Found<'_>> {
        let (family, number) = unit.number();
        let ranges = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let Hit { value, block } = ranges.get(number)?;
        let number = value as usize;
        Some(Found { class: self.list.get(number)?, number, block })
    }

    /// Every class, by its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Class> {
        self.list.iter()
    }
}

struct Interned<'c> {
    criteria: &'c Criteria,
    ids: BTreeMap<Class, u32>,
    list: Vec<Class>,
}

impl Interned<'_> {
    fn class(&mut self, client: Coordinates) -> u32 {
        let class = self.criteria.class(client);
        let next = u32::try_from(self.list.len()).unwrap_or(NOTHING);
        *self.ids.entry(class).or_insert_with_key(|class| {
            self.list.push(class.clone());
            next
        })
    }
}

/// A zone's own table of where clients are, without overlaps.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    v4: BTreeMap<u64, (u64, Coordinates)>,
    v6: BTreeMap<u64, (u64, Coordinates)>,
}

impl Networks {
    /// The longest prefix wins. Networks smaller than a unit are widened to the unit that they are in: a unit is
    /// answered as one.
    pub(crate) fn compile(mut declared: Vec<(IpNet, Coordinates)>) -> Self {
        let mut networks = Self::default();
        // Networks lie within each other or apart, so that with the widest first each one falls into one that is there
        // or beside all of them.
        declared.sort_by_key(|(network, _)| network.prefix_len());
        for (network, at) in declared {
            let (family, units) = units(network);
            let table = match family {
                Family::V4 => &mut networks.v4,
                Family::V6 => &mut networks.v6,
            };
            let (first, last) = units.into_inner();
            let around = table.range(..=first).next_back().map(|(start, (end, at))| (*start, *end, *at));
            if let Some((start, end, outer)) = around.filter(|(_, end, _)| *end >= first) {
                table.insert(start, (first.wrapping_sub(1), outer));
                if start == first {
                    table.remove(&start);
                }
                if end > last {
                    table.insert(last.saturating_add(1), (end, outer));
                }
            }
            table.insert(first, (last, at));
        }
        networks
    }

    fn of(&self, family: Family) -> impl Iterator<Item = (RangeInclusive<u64>, Coordinates)> {
        let table = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        table.iter().map(|(first, (last, at))| (*first..=*last, *at))
    }

    pub(crate) fn find(&self, unit: Unit) -> Option<Coordinates> {
        let (family, number) = unit.number();
        let table = match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        };
        let (_, (last, at)) = table.range(..=number).next_back()?;
        (*last >= number).then_some(*at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(address: &str) -> Unit {
        Unit::of(address.parse().unwrap())
    }

    fn at(longitude: f64) -> Coordinates {
        Coordinates::new(0.0, longitude).unwrap()
    }

    fn networks() -> Networks {
        Networks::compile(vec![
            ("203.0.113.128/25".parse().unwrap(), at(4.0)),
            ("203.0.0.0/16".parse().unwrap(), at(1.0)),
            ("203.0.113.0/24".parse().unwrap(), at(2.0)),
            ("203.0.114.77/32".parse().unwrap(), at(3.0)),
            ("203.0.255.0/24".parse().unwrap(), at(7.0)),
            ("203.0.0.0/24".parse().unwrap(), at(6.0)),
            ("2001:db8::/32".parse().unwrap(), at(5.0)),
        ])
    }

    #[test]
    fn the_longest_prefix_wins_in_each_family() {
        let networks = networks();
        let check = |address: &str, expected: Option<f64>| {
            assert_eq!(networks.find(unit(address)).map(|c| c.longitude), expected, "{address}");
        };
        check("203.0.0.1", Some(6.0));
        check("203.0.1.1", Some(1.0));
        check("203.0.112.1", Some(1.0));
        check("203.0.113.1", Some(4.0));
        check("203.0.114.1", Some(3.0));
        check("203.0.115.1", Some(1.0));
        check("203.0.255.1", Some(7.0));
        check("203.1.0.1", None);
        check("2001:db8:7::1", Some(5.0));
        check("198.51.100.1", None);
        check("2001:db9::1", None);
    }

    #[test]
    fn neighbours_of_one_class_are_merged() {
        // Between regions at 0 and 4 degrees, everything below 2 is nearer to the first.
        let criteria = Criteria { candidates: vec![at(0.0), at(4.0)], band_km: 0 };
        let classes = Classes::compile(&criteria, None, &networks());
        let check = |address: &str, expected: Option<(&[usize], u8)>| {
            let found = classes.of(unit(address)).map(|found| (&*found.class.order, found.block));
            assert_eq!(found, expected, "{address}");
        };
        check("203.0.1.1", Some((&[0, 1], 24)));
        check("203.0.64.1", Some((&[0, 1], 19)));
        check("203.0.113.1", Some((&[1, 0], 24)));
        check("203.0.114.1", Some((&[1, 0], 24)));
        check("203.1.0.1", None);
    }

    #[test]
    fn the_band_holds_who_is_nearly_as_near() {
        // A degree of the equator has 111 km.
        let candidates = vec![at(10.0), at(0.0), at(1.0), at(3.0)];
        let check = |band_km: u32, client: f64, order: &[usize], band: usize| {
            let class = Criteria { candidates: candidates.clone(), band_km }.class(at(client));
            assert_eq!((&*class.order, class.band), (order, band), "{band_km} {client}");
        };
        check(0, 0.0, &[1, 2, 3, 0], 1);
        check(100, 0.0, &[1, 2, 3, 0], 1);
        check(112, 0.0, &[1, 2, 3, 0], 2);
        check(400, 0.0, &[1, 2, 3, 0], 3);
        check(0, 0.5, &[1, 2, 3, 0], 1);
        check(20_000, 9.0, &[0, 3, 2, 1], 4);
    }

    /// Prints what a look-up costs; with `--release` the numbers mean something.
    #[test]
    #[ignore = "needs a real database: tests/run names one in MERIDIAN_TEST_GEO_DB"]
    fn a_real_database_makes_few_classes_and_few_ranges() {
        const ROUNDS: u32 = 2_000_000;
        let path = std::env::var_os("MERIDIAN_TEST_GEO_DB").expect("MERIDIAN_TEST_GEO_DB names a database");
        let database = GeoDatabase::from_bytes(std::fs::read(path).unwrap()).unwrap();
        let regions = [(37.4, -122.1), (53.3, -6.3), (1.35, 103.9), (39.0, -77.5), (35.7, 139.7), (-23.5, -46.6)];
        let candidates: Vec<_> = regions.map(|(lat, lon)| Coordinates::new(lat, lon).unwrap()).into();
        for (regions, band_km) in [(3, 0), (6, 0), (6, 1000)] {
            let criteria = Criteria { candidates: candidates[..regions].to_vec(), band_km };
            let classes = Classes::compile(&criteria, Some(&database), &Networks::default());
            let begun = tokio::time::Instant::now();
            let mut wide = 0;
            for round in 0..ROUNDS {
                let unit = Unit::of(std::net::Ipv4Addr::from_bits(round.wrapping_mul(0x9E37_79B1)).into());
                wide += u32::from(classes.of(unit).is_some_and(|found| found.block < 24));
            }
            let each = begun.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS);
            let (ranges, count) = (classes.v4.len() + classes.v6.len(), classes.list.len());
            println!("{regions} regions, band {band_km} km: {count} classes, {ranges} ranges, {each:.1} ns a look-up");
            println!(
                "{:.0} % of random addresses have a scope shorter than /24",
                100.0 * f64::from(wide) / f64::from(ROUNDS)
            );
            assert!(count < 2_000 && ranges < 1_000_000, "{count} {ranges}");
            // A unit's class is that of the place where the database has it.
            for round in 0..10_000u32 {
                let address = std::net::Ipv4Addr::from_bits(round.wrapping_mul(0x9E37_79B1)).into();
                let expected = database.place(address).map(|at| criteria.class(at));
                assert_eq!(classes.of(Unit::of(address)).map(|found| found.class), expected.as_ref(), "{address}");
            }
        }
    }
}
