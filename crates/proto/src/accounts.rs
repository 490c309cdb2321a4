//! Tenants and keys as both ends of the account stream hold them, compared by 256 bucket digests.

use std::collections::BTreeMap;

use meridian_types::{Digest, Key, KeyHash, Tenant, TenantName};
use prost::Message;

use crate::convert;
use crate::node::v1::AccountUpdate;
use crate::resources::v1 as wire;

/// An account's bucket is the first byte of its hash.
const BUCKETS: usize = 256;
/// Bytes of one bucket's digest: enough against accidents, and 2 KiB for all.
const BUCKET_DIGEST_BYTES: usize = 8;

/// Every account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    /// Who pays.
    pub tenants: BTreeMap<TenantName, Tenant>,
    /// What they call with.
    pub keys: BTreeMap<KeyHash, Key>,
}

impl Accounts {
    /// 256 digests of 8 bytes.
    pub fn bucket_digests(&self) -> Vec<u8> {
        let mut entries: Vec<Vec<u8>> = vec![Vec::new(); BUCKETS];
        for tenant in self.tenants.values() {
            if let Some(bucket) = entries.get_mut(usize::from(tenant_bucket(&tenant.name))) {
                bucket.extend(wire::Tenant::from(tenant).encode_length_delimited_to_vec());
            }
        }
        for key in self.keys.values() {
            if let Some(bucket) = entries.get_mut(usize::from(key.hash.bucket())) {
                bucket.extend(wire::Key::from(key).encode_length_delimited_to_vec());
            }
        }
        entries.iter().flat_map(|bucket| Digest::of(bucket).0.into_iter().take(BUCKET_DIGEST_BYTES)).collect()
    }

    /// One digest over all.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.bucket_digests())
    }

    /// What a holder of `held` digests lacks: every bucket that differs, whole. Digests of another length hold
    /// nothing.
    pub fn difference(&self, held: &[u8]) -> AccountUpdate {
        let own = self.bucket_digests();
        let differs: Vec<u32> = (0..BUCKETS)
            .filter(|bucket| {
                let range = bucket * BUCKET_DIGEST_BYTES..(bucket + 1) * BUCKET_DIGEST_BYTES;
                held.len() != own.len() || held.get(range.clone()) != own.get(range)
            })
            .filter_map(|bucket| u32::try_from(bucket).ok())
            .collect();
        let is_sent = |bucket: u8| differs.binary_search(&u32::from(bucket)).is_ok();
        AccountUpdate {
            tenants: self.tenants.values().filter(|t| is_sent(tenant_bucket(&t.name))).map(Into::into).collect(),
            keys: self.keys.values().filter(|k| is_sent(k.hash.bucket())).map(Into::into).collect(),
            removed_tenants: Vec::new(),
            removed_keys: Vec::new(),
            replaced_buckets: differs,
        }
    }

    /// What turns `old` into `self`, account by account.
    pub fn changes_since(&self, old: &Self) -> AccountUpdate {
        let changed_tenants = self.tenants.iter().filter(|(name, tenant)| old.tenants.get(*name) != Some(tenant));
        let changed_keys = self.keys.iter().filter(|(hash, key)| old.keys.get(*hash) != Some(key));
        let removed_tenants = old.tenants.keys().filter(|name| !self.tenants.contains_key(*name));
        let removed_keys = old.keys.keys().filter(|hash| !self.keys.contains_key(*hash));
        AccountUpdate {
            replaced_buckets: Vec::new(),
            tenants: changed_tenants.map(|(_, tenant)| tenant.into()).collect(),
            keys: changed_keys.map(|(_, key)| key.into()).collect(),
            removed_tenants: removed_tenants.map(ToString::to_string).collect(),
            removed_keys: removed_keys.map(|hash| hash.0.as_bytes().to_vec().into()).collect(),
        }
    }

    /// Obeys an update. An account that cannot be read is left out and reported: it cannot be used, and must not
    /// keep a revocation beside it from taking effect.
    pub fn apply(&mut self, update: &AccountUpdate) -> Vec<String> {
        let replaced = |bucket: u8| update.replaced_buckets.contains(&u32::from(bucket));
        self.tenants.retain(|name, _| !replaced(tenant_bucket(name)));
        self.keys.retain(|hash, _| !replaced(hash.bucket()));
        self.tenants.retain(|name, _| !update.removed_tenants.iter().any(|removed| removed == name.as_str()));
        for hash in &update.removed_keys {
            if let Some(hash) = Digest::from_slice(hash) {
                self.keys.remove(&KeyHash(hash));
            }
        }
        let mut faults = Vec::new();
        for tenant in &update.tenants {
            match convert::tenant(tenant) {
                Ok(tenant) => {
                    self.tenants.insert(tenant.name.clone(), tenant);
                }
                Err(mistakes) => faults.extend(mistakes.iter().map(ToString::to_string)),
            }
        }
        for key in &update.keys {
            match convert::key(key) {
                Ok(key) => {
                    self.keys.insert(key.hash, key);
                }
                Err(fault) => faults.push(fault),
            }
        }
        faults
    }
}

fn tenant_bucket(name: &TenantName) -> u8 {
    Digest::of(name.as_str().as_bytes()).0[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accounts() -> impl Strategy<Value = Accounts> {
        let tenants = proptest::collection::btree_set("[a-d]", 0..4);
        let keys = proptest::collection::btree_map(0u8..8, any::<bool>(), 0..6);
        (tenants, keys).prop_map(|(tenants, keys)| {
            let tenant = |name: &str| Tenant {
                name: TenantName::new(name).unwrap(),
                allowed_jurisdictions: Vec::new(),
                allowed_models: Vec::new(),
                class: meridian_types::Class::Default,
            };
            let key = |seed: u8, revoked: bool| Key {
                hash: KeyHash::of(&seed.to_string()),
                tenant: TenantName::new("a").unwrap(),
                label: String::new(),
                created_at_unix_ms: 1,
                expires_at_unix_ms: None,
                revoked_at_unix_ms: revoked.then_some(2),
            };
            Accounts {
                tenants: tenants.iter().map(|name| (TenantName::new(name).unwrap(), tenant(name))).collect(),
                keys: keys.into_iter().map(|(seed, revoked)| key(seed, revoked)).map(|k| (k.hash, k)).collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn both_kinds_of_update_lead_to_the_same_accounts(old in accounts(), new in accounts()) {
            for update in [new.difference(&old.bucket_digests()), new.changes_since(&old), new.difference(&[])] {
                let mut moved = old.clone();
                prop_assert!(moved.apply(&update).is_empty());
                prop_assert_eq!(&moved, &new);
            }
            prop_assert!(new.difference(&new.bucket_digests()).replaced_buckets.is_empty());
        }
    }
}
