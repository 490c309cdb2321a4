//! A MaxMind-format database of where networks are (<https://maxmind.github.io/MaxMind-DB/>): GeoLite2/GeoIP2 City,
//! DB-IP City and whatever else has `location.latitude` and `location.longitude`.
//!
//! It is read once, checked whole, and compiled to a flat table; the file's content is not kept. A mapped file that
//! somebody overwrites in place would kill the process.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use maxminddb::{LookupResult, MaxMindDbError, PathElement, Reader};
use meridian_host::Files;
use meridian_types::Coordinates;

use crate::apart::apart;
use crate::ranges::{Builder, Family, Hit, NOTHING, Ranges, units};
use crate::subnet::Unit;

/// GeoLite2-City has 60 MB, the largest commercial ones ten times as much; more is a mistake in the path.
pub const MAX_DATABASE_BYTES: usize = 1 << 30;

/// Places are told apart to a tenth of a degree, at most 11 km: databases are rarely that good, and regions are farther
/// apart. GeoLite2-City then has a tenth of its places.
const STEPS_PER_DEGREE: f64 = 10.0;

/// A database that was found sound.
pub struct GeoDatabase {
    kind: String,
    built_unix_s: u64,
    v4: Ranges,
    v6: Ranges,
    places: Vec<Coordinates>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// It cannot be read.
    #[error("the geo database cannot be read")]
    Read(#[source] std::io::Error),
    /// It is larger than [`MAX_DATABASE_BYTES`].
    #[error("the geo database has {0} bytes, more than {MAX_DATABASE_BYTES}")]
    TooLarge(usize),
    /// It is no database, or a damaged one.
    #[error("the geo database is damaged")]
    Damaged(#[source] MaxMindDbError),
    /// The thread that checked it ended before it was through.
    #[error("the check of the geo database broke off")]
    Aborted(#[source] std::io::Error),
    /// It knows no coordinates: one of countries or of networks' owners, for example.
    #[error("the geo database {0:?} has no coordinates")]
    NoCoordinates(String),
}

impl GeoDatabase {
    /// Reads and checks the file, on a thread of its own: the check is long, and queries go on meanwhile.
    pub async fn load(files: &dyn Files, path: &Path) -> Result<Self, GeoError> {
        let bytes = files.read(path).await.map_err(GeoError::Read)?;
        apart("geo-check", move || Self::from_bytes(bytes)).await.map_err(GeoError::Aborted)?
    }

    /// Checks the whole of the database, so that nothing that is damaged is ever used, and compiles it: about two
    /// seconds of CPU for GeoLite2-City.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, GeoError> {
        if bytes.len() > MAX_DATABASE_BYTES {
            return Err(GeoError::TooLarge(bytes.len()));
        }
        let reader = Reader::from_source(bytes).map_err(GeoError::Damaged)?;
        reader.verify().map_err(GeoError::Damaged)?;
        let metadata = reader.metadata();
        let (kind, built_unix_s) = (metadata.database_type.clone(), metadata.build_epoch);
        let mut places = Places::default();
        let v4 = compile(&reader, Family::V4, &mut places).map_err(GeoError::Damaged)?;
        let v6 = compile(&reader, Family::V6, &mut places).map_err(GeoError::Damaged)?;
        if places.list.is_empty() {
            return Err(GeoError::NoCoordinates(kind));
        }
        Ok(Self { kind, built_unix_s, v4, v6, places: places.list })
    }

    /// What it calls itself, for example `GeoLite2-City`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// When it was made, in seconds since 1970.
    pub fn built_unix_s(&self) -> u64 {
        self.built_unix_s
    }

    /// Where an address is; to a tenth of a degree.
    pub fn place(&self, address: IpAddr) -> Option<Coordinates> {
        self.locate(Unit::of(address)).map(|(coordinates, _)| coordinates)
    }

    /// Where the unit is, and the prefix length of the block around it that is at the same place.
    pub(crate) fn locate(&self, unit: Unit) -> Option<(Coordinates, u8)> {
        let (family, number) = unit.number();
        let Hit { value, block } = self.ranges(family).get(number)?;
        Some((*self.places.get(value as usize)?, block))
    }

    /// The places of a family's units, as positions in [`GeoDatabase::places`].
    pub(crate) fn ranges(&self, family: Family) -> &Ranges {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    pub(crate) fn places(&self) -> &[Coordinates] {
        &self.places
    }
}

impl std::fmt::Debug for GeoDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GeoDatabase")
            .field("kind", &self.kind)
            .field("built_unix_s", &self.built_unix_s)
            .field("ranges", &self.v4.len().saturating_add(self.v6.len()))
            .field("places", &self.places.len())
            .finish_non_exhaustive()
    }
}

fn compile(reader: &Reader<Vec<u8>>, family: Family, places: &mut Places) -> Result<Ranges, MaxMindDbError> {
    let mut builder = Builder::new(family);
    if family == Family::V6 && reader.metadata().ip_version == 4 {
        return Ok(builder.finish());
    }
    let network = family.network().parse().map_err(|_| MaxMindDbError::invalid_input("a network"))?;
    for entry in reader.within(network, Default::default())? {
        let entry = entry?;
        let network = entry.network()?;
        let unit = Unit::of(network.network());
        // A unit is where its first address is: what else lies in it is not told apart.
        if network.network() != unit.address() {
            continue;
        }
        if let Some(place) = places.of(&entry)
            && let Ok(network) = IpNet::new(network.network(), network.prefix())
            && let (of, units) = units(network)
            && of == family
        {
            builder.push(units, place);
        }
    }
    Ok(builder.finish())
}

/// The places met so far. Entries share their records, so that each is decoded once.
#[derive(Default)]
struct Places {
    list: Vec<Coordinates>,
    by_step: HashMap<(i32, i32), u32>,
    by_offset: HashMap<usize, Option<u32>>,
}

impl Places {
    /// `None`: not known.
    fn of(&mut self, entry: &LookupResult<'_, Vec<u8>>) -> Option<u32> {
        let offset = entry.offset()?;
        if let Some(place) = self.by_offset.get(&offset) {
            return *place;
        }
        let place = coordinates(entry).map(|coordinates| self.intern(coordinates));
        self.by_offset.insert(offset, place);
        place
    }

    fn intern(&mut self, coordinates: Coordinates) -> u32 {
        let step = |degrees: f64| (degrees * STEPS_PER_DEGREE).round() as i32;
        let key = (step(coordinates.latitude), step(coordinates.longitude));
        *self.by_step.entry(key).or_insert_with(|| {
            let place = u32::try_from(self.list.len()).unwrap_or(NOTHING);
            let degrees = |steps: i32| f64::from(steps) / STEPS_PER_DEGREE;
            self.list.push(Coordinates { latitude: degrees(key.0), longitude: degrees(key.1) });
            place
        })
    }
}

fn coordinates(entry: &LookupResult<'_, Vec<u8>>) -> Option<Coordinates> {
    let degrees = |key| {
        let path = [PathElement::Key("location"), PathElement::Key(key)];
        entry.decode_path::<f64>(&path).ok().flatten()
    };
    Coordinates::new(degrees("latitude")?, degrees("longitude")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendezvous::Seed;

    const ADDRESSES: u64 = 50_000;

    /// Addresses of both families, where databases know some.
    fn addresses() -> impl Iterator<Item = IpAddr> {
        let seed = Seed::of(b"addresses");
        (0..ADDRESSES).map(move |i| match (i % 4, seed.with(i)) {
            (0, bits) => IpAddr::from((0x2001_0db8_0000u128 << 80 | u128::from(bits) << 55).to_be_bytes()),
            (1, bits) => IpAddr::from((0x2000u128 << 112 | u128::from(bits) << 60).to_be_bytes()),
            (2, bits) => IpAddr::from([203, 0, bits as u8, 1]),
            (_, bits) => IpAddr::from((bits as u32).to_be_bytes()),
        })
    }

    fn check(bytes: Vec<u8>) {
        let table = GeoDatabase::from_bytes(bytes.clone()).unwrap();
        let tree = Reader::from_source(bytes).unwrap();
        let mut known = 0;
        // Databases know 6to4 and Teredo by way of IPv4; nobody is there any more (RFC 7526).
        let is_tunnel = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if matches!(v6.segments(), [0x2002, ..] | [0x2001, 0, ..]));
        for address in addresses().filter(|address| !is_tunnel(address)) {
            let found = coordinates(&tree.lookup(Unit::of(address).address()).unwrap());
            let place = table.place(address);
            known += u64::from(found.is_some());
            assert_eq!(place.is_some(), found.is_some(), "{address}");
            if let (Some(place), Some(found)) = (place, found) {
                let off = (place.latitude - found.latitude).abs().max((place.longitude - found.longitude).abs());
                assert!(off <= 0.5 / STEPS_PER_DEGREE + 1e-9, "{address}: {place:?} {found:?}");
            }
        }
        assert!(known > ADDRESSES / 100, "{known}");
        println!("{table:?}: {known} of {ADDRESSES} known");
    }

    #[test]
    fn the_table_says_what_the_tree_says() {
        check(include_bytes!("../tests/data/geo.mmdb").to_vec());
    }

    #[test]
    #[ignore = "needs a real database: tests/run names one in MERIDIAN_TEST_GEO_DB"]
    fn also_of_a_real_database() {
        let path = std::env::var_os("MERIDIAN_TEST_GEO_DB").expect("MERIDIAN_TEST_GEO_DB names a database");
        check(std::fs::read(path).unwrap());
    }
}
