//! Messages to domain types, every mistake with its field path, and back.

mod account;
mod model;
mod plan;
mod provider;
mod reader;
mod region;
mod zone;

use meridian_types::{Configuration, ErrorCode, Kind, Mistake};
use prost::Message;

pub use account::{key, tenant};
pub use model::model;
pub use plan::{plan, region_state};
pub use provider::provider;
pub use region::region;
pub use zone::zone;

use crate::resources::v1 as wire;

/// Decodes one resource of a commit and puts it into `configuration`.
pub fn add_resource(
    configuration: &mut Configuration,
    kind: &str,
    name: &str,
    body: &[u8],
) -> Result<(), Vec<Mistake>> {
    match Kind::parse(kind) {
        Some(Kind::Region) => {
            let region = region(&decode::<wire::Region>(Kind::Region, name, body)?)?;
            configuration.regions.insert(region.name.clone(), region);
        }
        Some(Kind::Provider) => {
            let provider = provider(&decode::<wire::Provider>(Kind::Provider, name, body)?)?;
            configuration.providers.insert(provider.name.clone(), provider);
        }
        Some(Kind::Model) => {
            let model = model(&decode::<wire::Model>(Kind::Model, name, body)?)?;
            configuration.models.insert(model.name.clone(), model);
        }
        Some(Kind::Zone) => {
            let zone = zone(&decode::<wire::Zone>(Kind::Zone, name, body)?)?;
            configuration.zones.insert(zone.name.clone(), zone);
        }
        // Accounts are no part of commits; a kind that a newer build knows has nothing to do here.
        Some(Kind::Tenant) | None => {}
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
