//! Keys: create, list, revoke. Their text is never seen here, only its hash.

use meridian_proto::admin::v1 as admin;
use meridian_proto::convert;
use meridian_proto::resources::v1 as resources;
use meridian_store::{Compare, Revision, Txn};
use meridian_types::{Digest, Key, KeyHash, TenantName};
use prost::Message;
use tonic::Status;

use super::write::{Decision, refused};
use crate::shared::Shared;
use crate::store::document;

/// A label stands in lists and logs.
const MAX_LABEL: usize = 200;

/// Decides the creation of a key.
pub(super) async fn create(
    shared: &Shared,
    request: &admin::CreateKeyRequest,
) -> Result<Decision<admin::CreateKeyResponse>, Status> {
    let tenant = TenantName::new(&request.tenant).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let hash = Digest::from_slice(&request.hash)
        .map(KeyHash)
        .ok_or_else(|| Status::invalid_argument("hash must be the SHA-256 of the key's text: 32 bytes"))?;
    if request.label.len() > MAX_LABEL {
        return Err(Status::invalid_argument(format!("label may have {MAX_LABEL} bytes at most")));
    }
    let now = shared.now_unix_ms();
    if request.expires_at_unix_ms != 0 && request.expires_at_unix_ms <= now {
        return Err(Status::invalid_argument("expires_at_unix_ms is in the past; 0 means never"));
    }
    let tenant_key = shared.layout.tenant(&tenant);
    let held = shared.store.get(&tenant_key).await.map_err(|error| refused(&error))?;
    let Some(held) = held else {
        return Err(Status::not_found(format!("there is no tenant {tenant}; apply it first")));
    };
    check_expected(request.expected_revision, held.mod_revision, || format!("tenant {tenant} or its keys"))?;
    let path = shared.layout.account_key(hash);
    if shared.store.get(&path).await.map_err(|error| refused(&error))?.is_some() {
        return Err(Status::already_exists(format!("key {} exists already", hash.id())));
    }
    let key = Key {
        hash,
        tenant,
        label: request.label.clone(),
        created_at_unix_ms: now,
        expires_at_unix_ms: (request.expires_at_unix_ms != 0).then_some(request.expires_at_unix_ms),
        revoked_at_unix_ms: None,
    };
    let message = resources::Key::from(&key);
    let txn = Txn::new()
        .when(Compare::absent(&path))
        // Written again unchanged, so that a removal of the tenant that has not seen this key fails its compare.
        .when(Compare::mod_revision(&tenant_key, held.mod_revision))
        .put(tenant_key, held.value)
        .put(path, document::write(&message));
    let summary = format!("key {} of tenant {}", hash.id(), key.tenant);
    let outcome = "the key opens".to_owned();
    Ok(Decision::Write { txn, answer: admin::CreateKeyResponse { key: Some(message) }, summary, outcome })
}

/// Decides the revocation of a key. Revoking it again changes nothing.
pub(super) async fn revoke(
    shared: &Shared,
    request: &admin::RevokeKeyRequest,
) -> Result<Decision<admin::RevokeKeyResponse>, Status> {
    let listing = shared.store.list(&shared.layout.account_keys()).await.map_err(|error| refused(&error))?;
    let read = |entry: meridian_store::Entry| {
        let key = resources::Key::decode(entry.value).ok().and_then(|message| convert::key(&message).ok())?;
        (key.hash.id() == request.id).then_some((entry.key, entry.mod_revision, key))
    };
    let mut found = listing.entries.into_iter().filter_map(read);
    let (path, revision, key) = match (found.next(), found.next()) {
        (Some(found), None) => found,
        (None, _) => return Err(Status::not_found(format!("there is no key {}", request.id))),
        (Some(_), Some(_)) => {
            return Err(Status::failed_precondition("two keys have this id; that cannot be resolved"));
        }
    };
    check_expected(request.expected_revision, revision, || format!("key {}", request.id))?;
    if key.revoked_at_unix_ms.is_some() {
        return Ok(Decision::Answer(admin::RevokeKeyResponse { key: Some((&key).into()) }));
    }
    let key = Key { revoked_at_unix_ms: Some(shared.now_unix_ms()), ..key };
    let message = resources::Key::from(&key);
    let txn = Txn::new().when(Compare::mod_revision(&path, revision)).put(path, document::write(&message));
    let summary = format!("key {} of tenant {}", request.id, key.tenant);
    let outcome = "the key is revoked".to_owned();
    Ok(Decision::Write { txn, answer: admin::RevokeKeyResponse { key: Some(message) }, summary, outcome })
}

/// Refuses a change that was decided on something older. The transaction compares the revision that is checked here, so
/// that nothing comes between.
fn check_expected(expected: u64, held: Revision, what: impl Fn() -> String) -> Result<(), Status> {
    if expected == 0 || held.0 <= expected {
        return Ok(());
    }
    Err(Status::aborted(format!(
        "{} changed at revision {held}, and the change was decided on revision {expected}; look at the keys and try again",
        what()
    )))
}

/// Keys of a tenant, or all.
pub(super) fn list(shared: &Shared, tenant: &str) -> admin::ListKeysResponse {
    let view = shared.mirror.view();
    let keys = view.accounts.keys.values().filter(|key| tenant.is_empty() || key.tenant.as_str() == tenant);
    admin::ListKeysResponse { keys: keys.map(Into::into).collect(), revision: view.revision.0 }
}
