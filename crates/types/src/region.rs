//! Regions and where they are.

use std::net::IpAddr;

use crate::{Jurisdiction, RegionName};

/// Weight of a region or target for which none is written.
pub const DEFAULT_WEIGHT: u32 = 100;
/// Highest declared weight: a share finer than 1 in 1,000 cannot be kept in DNS anyway.
pub const MAX_WEIGHT: u32 = 1000;

/// A place where nodes run.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Its name.
    pub name: RegionName,
    /// Where it is.
    pub coordinates: Coordinates,
    /// Its legal area.
    pub jurisdiction: Jurisdiction,
    /// Relative share under the `weighted` policy: 0 to [`MAX_WEIGHT`].
    pub weight: u32,
    /// Declared VIPs, sorted; empty: the public addresses of the serving nodes.
    pub addresses: Vec<IpAddr>,
    /// Where its load may be placed beside its own jurisdiction; empty: anywhere.
    pub overflow_jurisdictions: Vec<Jurisdiction>,
}

impl Region {
    /// Whether its load, and so its clients, may go to `other`.
    pub fn may_use(&self, other: &Self) -> bool {
        may_overflow(&self.jurisdiction, &self.overflow_jurisdictions, &other.jurisdiction)
    }
}

/// Whether load of `from` may go to `to`: to its own legal area and to those in `overflow`; anywhere if there are none.
pub fn may_overflow(from: &Jurisdiction, overflow: &[Jurisdiction], to: &Jurisdiction) -> bool {
    overflow.is_empty() || from == to || overflow.contains(to)
}

/// Degrees, WGS 84; latitude -90 to 90, longitude -180 to 180.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Coordinates {
    /// North is positive.
    pub latitude: f64,
    /// East is positive.
    pub longitude: f64,
}

impl Coordinates {
    /// `None` outside the ranges.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let valid = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
        valid.then_some(Self { latitude, longitude })
    }

    /// Great-circle distance in kilometres on a sphere of the mean Earth radius (haversine formula).
    pub fn distance_km(self, other: Self) -> f64 {
        const MEAN_EARTH_RADIUS_KM: f64 = 6371.009;
        let (a, b) = (self.latitude.to_radians(), other.latitude.to_radians());
        let half_latitude = ((b - a) / 2.0).sin();
        let half_longitude = ((other.longitude - self.longitude).to_radians() / 2.0).sin();
        let h = half_latitude.powi(2) + a.cos() * b.cos() * half_longitude.powi(2);
        2.0 * MEAN_EARTH_RADIUS_KM * h.clamp(0.0, 1.0).sqrt().asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_an_atlas() {
        let paris = Coordinates::new(48.8566, 2.3522).unwrap();
        let new_york = Coordinates::new(40.7128, -74.0060).unwrap();
        let distance = paris.distance_km(new_york);
        assert!((5830.0..5845.0).contains(&distance), "{distance}");
        assert!(paris.distance_km(paris) < 1e-6);
        let (west, east) = (Coordinates::new(0.0, -179.5).unwrap(), Coordinates::new(0.0, 179.5).unwrap());
        assert!(west.distance_km(east) < 112.0);
    }
}
