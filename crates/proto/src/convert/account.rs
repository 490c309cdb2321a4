//! Accounts: tenants and keys.

use meridian_types::{Class, Digest, Key, KeyHash, Kind, Tenant};

use super::STAND_IN;
use super::reader::{Reader, Reading};
use crate::resources::v1 as wire;

/// Reads a tenant.
pub fn read(message: &wire::Tenant) -> Reading<Tenant> {
    let mut reader = Reader::new(Kind::Tenant, &message.name);
    let name = reader.text_or("name", &message.name, STAND_IN);
    let mut allowed_jurisdictions = Vec::new();
    for (i, text) in message.allowed_jurisdictions.iter().enumerate() {
        allowed_jurisdictions.extend(reader.text(&format!("allowed_jurisdictions[{i}]"), text));
    }
    let mut allowed_models = Vec::new();
    for (i, text) in message.allowed_models.iter().enumerate() {
        allowed_models.extend(reader.text_or(&format!("allowed_models[{i}]"), text, STAND_IN));
    }
    let class = class(message.class());
    reader.finish(name.map(|name| Tenant { name, allowed_jurisdictions, allowed_models, class }))
}

fn class(class: wire::PriorityClass) -> Class {
    match class {
        wire::PriorityClass::Critical => Class::Critical,
        wire::PriorityClass::Unspecified | wire::PriorityClass::Default => Class::Default,
        wire::PriorityClass::Batch => Class::Batch,
    }
}

/// Checks a key. Operators do not write these, so that one text is enough.
pub fn key(message: &wire::Key) -> Result<Key, String> {
    let hash = Digest::from_slice(&message.hash).ok_or("the hash of a key must have 32 bytes")?;
    let tenant = message.tenant.parse().map_err(|error| format!("key {}: {error}", message.id))?;
    let time = |unix_ms: i64| (unix_ms != 0).then_some(unix_ms);
    Ok(Key {
        hash: KeyHash(hash),
        tenant,
        label: message.label.clone(),
        created_at_unix_ms: message.created_at_unix_ms,
        expires_at_unix_ms: time(message.expires_at_unix_ms),
        revoked_at_unix_ms: time(message.revoked_at_unix_ms),
    })
}

impl From<&Tenant> for wire::Tenant {
    fn from(tenant: &Tenant) -> Self {
        Self {
            name: tenant.name.to_string(),
            allowed_jurisdictions: tenant.allowed_jurisdictions.iter().map(ToString::to_string).collect(),
            allowed_models: tenant.allowed_models.iter().map(ToString::to_string).collect(),
            class: match tenant.class {
                Class::Critical => wire::PriorityClass::Critical,
                // As a tenant's document that says nothing.
                Class::Default => wire::PriorityClass::Unspecified,
                Class::Batch => wire::PriorityClass::Batch,
            }
            .into(),
        }
    }
}

impl From<&Key> for wire::Key {
    fn from(key: &Key) -> Self {
        Self {
            id: key.hash.id(),
            hash: key.hash.0.as_bytes().to_vec().into(),
            tenant: key.tenant.to_string(),
            label: key.label.clone(),
            created_at_unix_ms: key.created_at_unix_ms,
            expires_at_unix_ms: key.expires_at_unix_ms.unwrap_or(0),
            revoked_at_unix_ms: key.revoked_at_unix_ms.unwrap_or(0),
        }
    }
}
