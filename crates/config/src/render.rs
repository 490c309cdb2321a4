//! Resources as YAML and JSON that `load` reads back.

use meridian_proto::resources::v1 as wire;
use meridian_types::Kind;
use prost::Message;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::yaml;

/// Why a resource cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The kind is of a newer build.
    #[error("this build knows no kind {0}")]
    UnknownKind(String),
    /// The bytes are no message of the kind.
    #[error("{kind}/{name} is damaged")]
    Damaged {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
    /// The message has no JSON form.
    #[error("write JSON")]
    Json(#[from] serde_json::Error),
    /// The JSON has no YAML form.
    #[error("write YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// One resource as JSON: `kind`, `name`, then its fields by their names in `proto/`.
pub fn describe(resource: &wire::Resource) -> Result<Value, RenderError> {
    let body = match Kind::parse(&resource.kind) {
        Some(Kind::Region) => decode::<wire::Region>(resource),
        Some(Kind::Provider) => decode::<wire::Provider>(resource),
        Some(Kind::Model) => decode::<wire::Model>(resource),
        Some(Kind::Zone) => decode::<wire::Zone>(resource),
        Some(Kind::Tenant) => decode::<wire::Tenant>(resource),
        None => Err(RenderError::UnknownKind(resource.kind.clone())),
    }?;
    let mut fields = Map::new();
    fields.insert("kind".to_owned(), resource.kind.clone().into());
    fields.insert("name".to_owned(), resource.name.clone().into());
    if let Value::Object(body) = body {
        fields.extend(body.into_iter().filter(|(field, _)| field != "name"));
    }
    Ok(Value::Object(fields))
}

/// Some resources as one YAML text, a document each.
pub fn to_yaml<'a>(resources: impl IntoIterator<Item = &'a wire::Resource>) -> Result<String, RenderError> {
    let mut text = String::new();
    for resource in resources {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        text.push_str(&yaml::write(&describe(resource)?)?);
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    Ok(text)
}

/// Some resources as one JSON array.
pub fn to_json<'a>(resources: impl IntoIterator<Item = &'a wire::Resource>) -> Result<Value, RenderError> {
    resources.into_iter().map(describe).collect()
}

fn decode<M: Message + Default + Serialize>(resource: &wire::Resource) -> Result<Value, RenderError> {
    let message = M::decode(resource.body.clone()).map_err(|source| RenderError::Damaged {
        kind: resource.kind.clone(),
        name: resource.name.clone(),
        source,
    })?;
    Ok(serde_json::to_value(message)?)
}
