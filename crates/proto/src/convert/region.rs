//! Regions.

use meridian_types::region::{DEFAULT_WEIGHT, MAX_WEIGHT};
use meridian_types::{Coordinates, ErrorCode, Kind, Region};

use super::reader::{Reader, Reading};
use super::{STAND_IN, STAND_IN_JURISDICTION};
use crate::resources::v1 as wire;

/// Reads a region.
pub(super) fn read(message: &wire::Region) -> Reading<Region> {
    let mut reader = Reader::new(Kind::Region, &message.name);
    let name = reader.text_or("name", &message.name, STAND_IN);
    let coordinates = match &message.coordinates {
        Some(message) => coordinates(&mut reader, "coordinates", message),
        None => {
            reader.mistake("coordinates", ErrorCode::MissingField, "this field is required: {latitude, longitude}");
            None
        }
    };
    let jurisdiction = reader.text_or("jurisdiction", &message.jurisdiction, STAND_IN_JURISDICTION);
    let weight = reader.in_range("weight", message.weight.unwrap_or(DEFAULT_WEIGHT), 0..=MAX_WEIGHT);
    let mut addresses = Vec::new();
    for (i, address) in message.addresses.iter().enumerate() {
        addresses.extend(reader.text::<std::net::IpAddr>(&format!("addresses[{i}]"), address));
    }
    addresses.sort();
    addresses.dedup();
    let mut overflow_jurisdictions = Vec::new();
    for (i, text) in message.overflow_jurisdictions.iter().enumerate() {
        overflow_jurisdictions.extend(reader.text(&format!("overflow_jurisdictions[{i}]"), text));
    }
    let coordinates = coordinates.or_else(|| Coordinates::new(0.0, 0.0));
    let region = name.zip(coordinates).zip(jurisdiction).map(|((name, coordinates), jurisdiction)| Region {
        name,
        coordinates,
        jurisdiction,
        weight,
        addresses,
        overflow_jurisdictions,
    });
    reader.finish(region)
}

pub(super) fn coordinates(reader: &mut Reader, path: &str, message: &wire::Coordinates) -> Option<Coordinates> {
    let coordinates = Coordinates::new(message.latitude, message.longitude);
    if coordinates.is_none() {
        let text = "latitude must be -90 to 90, longitude -180 to 180 degrees";
        reader.mistake(path, ErrorCode::InvalidField, text);
    }
    coordinates
}
