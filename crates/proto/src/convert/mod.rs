//! Messages to domain types, every mistake with its field path, and back.

mod account;
mod latency;
mod model;
mod plan;
mod provider;
mod reader;
mod region;
mod zone;

use meridian_types::{Configuration, ErrorCode, Kind, Mistake, Model, Provider, Region, Tenant, Zone};
use prost::Message;

pub use account::{key, read as read_tenant};
pub use latency::{latencies, latencies_to_wire};
pub use plan::{plan, region_state};
pub use reader::Reading;

use crate::resources::v1 as wire;

/// Stands for a name that cannot be read: valid as the name of anything.
const STAND_IN: &str = "unnamed";
/// As [`STAND_IN`], for what is missing or wrong of a jurisdiction.
const STAND_IN_JURISDICTION: &str = "XX";

/// A resource of a commit.
#[derive(Debug)]
pub enum Readable {
    /// A region.
    Region(Region),
    /// A provider.
    Provider(Provider),
    /// A model.
    Model(Model),
    /// A zone.
    Zone(Zone),
}

impl Readable {
    /// Puts it into a configuration.
    pub fn put(self, configuration: &mut Configuration) {
        match self {
            Self::Region(region) => drop(configuration.regions.insert(region.name.clone(), region)),
            Self::Provider(provider) => drop(configuration.providers.insert(provider.name.clone(), provider)),
            Self::Model(model) => drop(configuration.models.insert(model.name.clone(), model)),
            Self::Zone(zone) => drop(configuration.zones.insert(zone.name.clone(), zone)),
        }
    }
}

/// Decodes one resource of a commit and reads as much of it as can be read.
pub fn resource(kind: &str, name: &str, body: &[u8]) -> Reading<Readable> {
    fn of<M: Message + Default, T>(
        (kind, name, body): (Kind, &str, &[u8]),
        read: impl Fn(&M) -> Reading<T>,
        readable: impl Fn(T) -> Readable,
    ) -> Reading<Readable> {
        match decode(kind, name, body) {
            Ok(message) => {
                let Reading { value, mistakes } = read(&message);
                Reading { value: value.map(readable), mistakes }
            }
            Err(mistakes) => Reading { value: None, mistakes },
        }
    }
    match Kind::parse(kind) {
        Some(kind @ Kind::Region) => of((kind, name, body), region::read, Readable::Region),
        Some(kind @ Kind::Provider) => of((kind, name, body), provider::read, Readable::Provider),
        Some(kind @ Kind::Model) => of((kind, name, body), model::read, Readable::Model),
        Some(kind @ Kind::Zone) => of((kind, name, body), zone::read, Readable::Zone),
        // Accounts are no part of commits; a kind that a newer build knows has nothing to do here.
        Some(Kind::Tenant) | None => Reading { value: None, mistakes: Vec::new() },
    }
}

/// Checks a region.
pub fn region(message: &wire::Region) -> Result<Region, Vec<Mistake>> {
    region::read(message).checked()
}

/// Checks a provider. Whether its codec exists is for who has the registry.
pub fn provider(message: &wire::Provider) -> Result<Provider, Vec<Mistake>> {
    provider::read(message).checked()
}

/// Checks a model.
pub fn model(message: &wire::Model) -> Result<Model, Vec<Mistake>> {
    model::read(message).checked()
}

/// Checks a zone. Its `regions` lists are filled in by `Configuration::complete`.
pub fn zone(message: &wire::Zone) -> Result<Zone, Vec<Mistake>> {
    zone::read(message).checked()
}

/// Checks a tenant.
pub fn tenant(message: &wire::Tenant) -> Result<Tenant, Vec<Mistake>> {
    account::read(message).checked()
}

/// Decodes one resource of a commit and puts it into `configuration`.
pub fn add_resource(
    configuration: &mut Configuration,
    kind: &str,
    name: &str,
    body: &[u8],
) -> Result<(), Vec<Mistake>> {
    let Reading { value, mistakes } = resource(kind, name, body);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    if let Some(value) = value {
        value.put(configuration);
    }
    Ok(())
}

/// Decodes a message; the one mistake says that it cannot be read.
pub fn decode<M: Message + Default>(kind: Kind, name: &str, body: &[u8]) -> Result<M, Vec<Mistake>> {
    M::decode(body).map_err(|error| {
        vec![Mistake {
            kind,
            name: name.to_owned(),
            path: String::new(),
            code: ErrorCode::InvalidRequest,
            text: format!("the message cannot be read: {error}"),
        }]
    })
}
