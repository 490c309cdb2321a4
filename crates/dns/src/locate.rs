//! Where clients are: a zone's own table of networks, and which source of location is asked first.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use meridian_types::Coordinates;

use crate::geo::GeoDatabase;
use crate::subnet::Unit;

/// Where the clients of a unit are taken to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Location {
    pub(crate) coordinates: Option<Coordinates>,
    pub(crate) source: Source,
    /// Prefix length of the block around the unit that is known to be at the same place; never longer than the unit's.
    pub(crate) block: u8,
}

/// Who knew it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Database,
    Networks,
    Nobody,
}

impl Source {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Database => "geo database",
            Self::Networks => "the zone's networks",
            Self::Nobody => "nobody knows it",
        }
    }
}

/// The database first, then the zone's own table.
pub(crate) fn locate(unit: Unit, database: Option<&GeoDatabase>, networks: &Networks) -> Location {
    if let Some((coordinates, block)) = database.and_then(|database| database.locate(unit.address())) {
        return Location {
            coordinates: Some(coordinates),
            source: Source::Database,
            block: block.unwrap_or(unit.prefix()).min(unit.prefix()),
        };
    }
    // Networks may lie within each other, so that nothing can be said beyond the unit.
    let (coordinates, source) = match networks.find(unit.address()) {
        Some(coordinates) => (Some(coordinates), Source::Networks),
        None => (None, Source::Nobody),
    };
    Location { coordinates, source, block: unit.prefix() }
}

/// A zone's table; the longest prefix wins.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    v4: Table,
    v6: Table,
}

/// By prefix length, then by network.
type Table = BTreeMap<u8, BTreeMap<IpAddr, Coordinates>>;

impl Networks {
    /// Networks smaller than a unit are widened to the unit that they are in: a unit is answered as one.
    pub(crate) fn compile(declared: &[(IpNet, Coordinates)]) -> Self {
        let mut networks = Self::default();
        let mut sorted: Vec<_> = declared.iter().collect();
        // Of several networks in one unit, the longest is inserted last and stays.
        sorted.sort_by_key(|(network, _)| network.prefix_len());
        for (network, coordinates) in sorted {
            let prefix = network.prefix_len().min(Unit::of(network.addr()).prefix());
            let table = if network.addr().is_ipv4() { &mut networks.v4 } else { &mut networks.v6 };
            table.entry(prefix).or_default().insert(masked(network.addr(), prefix), *coordinates);
        }
        networks
    }

    fn find(&self, address: IpAddr) -> Option<Coordinates> {
        let table = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        table.iter().rev().find_map(|(prefix, entries)| entries.get(&masked(address, *prefix)).copied())
    }
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    IpNet::new(address, prefix).map_or(address, |network| network.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_in_each_family() {
        let at = |longitude: f64| Coordinates::new(0.0, longitude).unwrap();
        let networks = Networks::compile(&[
            ("203.0.113.128/25".parse().unwrap(), at(4.0)),
            ("203.0.0.0/16".parse().unwrap(), at(1.0)),
            ("203.0.113.0/24".parse().unwrap(), at(2.0)),
            ("203.0.114.77/32".parse().unwrap(), at(3.0)),
            ("2001:db8::/32".parse().unwrap(), at(5.0)),
        ]);
        let check = |address: &str, expected: Option<f64>| {
            let unit = Unit::of(address.parse().unwrap());
            let location = locate(unit, None, &networks);
            assert_eq!(location.coordinates.map(|c| c.longitude), expected, "{address}");
            assert_eq!(location.block, unit.prefix());
        };
        check("203.0.1.1", Some(1.0));
        check("203.0.113.1", Some(4.0));
        check("203.0.114.1", Some(3.0));
        check("2001:db8:7::1", Some(5.0));
        check("198.51.100.1", None);
        check("2001:db9::1", None);
    }
}
