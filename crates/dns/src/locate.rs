//! Where clients are, for people: answers are chosen by the classes that were made from the same sources.

use meridian_types::Coordinates;

use crate::classes::Networks;
use crate::geo::GeoDatabase;
use crate::subnet::Unit;

/// Where the clients of a unit are taken to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Location {
    pub(crate) coordinates: Option<Coordinates>,
    /// Who knew it.
    pub(crate) source: &'static str,
}

/// The zone's own table first: an operator wrote it down because the database does not know or is wrong.
pub(crate) fn locate(unit: Unit, database: Option<&GeoDatabase>, networks: &Networks) -> Location {
    let declared = networks.find(unit).map(|at| (at, "the zone's networks"));
    let known = || database.and_then(|database| database.locate(unit)).map(|(at, _)| (at, "geo database"));
    match declared.or_else(known) {
        Some((at, source)) => Location { coordinates: Some(at), source },
        None => Location { coordinates: None, source: "nobody knows it" },
    }
}
