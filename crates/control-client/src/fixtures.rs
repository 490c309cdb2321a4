//! What the unit tests of several modules hold.

use std::sync::Arc;

use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_proto::fleet::v1 as fleet;
use meridian_proto::resources::v1::{Coordinates, Region, Resource};
use meridian_types::{CommitId, Key, KeyHash, Tenant, TenantName};
use prost::Message;

use crate::held::{Held, HeldAccounts, HeldCommit};

/// One region, told apart by `latitude`.
pub(crate) fn content(latitude: u64) -> Content {
    let region = Region {
        name: "eu-west".to_owned(),
        coordinates: Some(Coordinates { latitude: latitude as f64 % 90.0, longitude: -6.0 }),
        jurisdiction: "EU".to_owned(),
        ..Region::default()
    };
    let body = region.encode_to_vec().into();
    Content::from_resources([Resource { kind: "Region".to_owned(), name: region.name, body }])
}

/// A plan of one region.
pub(crate) fn plan(epoch: u64, number: u64) -> fleet::Plan {
    let share = fleet::Share { region: "eu-west".to_owned(), permille: 1000 };
    let region = fleet::RegionPlan {
        region: "eu-west".to_owned(),
        state: fleet::RegionState::Serving.into(),
        weight: 1000,
        target_weight: 1000,
        addresses: vec!["192.0.2.1".to_owned()],
        placement: vec![share],
        ..fleet::RegionPlan::default()
    };
    fleet::Plan { epoch, number, regions: vec![region], ..fleet::Plan::default() }
}

/// A commit, a tenant with a key, and a plan.
pub(crate) fn held(commit: u64) -> Held {
    let content = content(commit);
    let tenant = TenantName::new("acme").unwrap();
    let key = Key {
        hash: KeyHash::of("mk-test"),
        tenant: tenant.clone(),
        label: "test".to_owned(),
        created_at_unix_ms: 1,
        expires_at_unix_ms: None,
        revoked_at_unix_ms: None,
    };
    let accounts = Accounts {
        tenants: [(
            tenant.clone(),
            Tenant {
                name: tenant,
                allowed_jurisdictions: Vec::new(),
                allowed_models: Vec::new(),
                class: meridian_types::Class::Default,
            },
        )]
        .into(),
        keys: [(key.hash, key)].into(),
    };
    Held {
        cluster: None,
        commit: Some(HeldCommit { id: CommitId(commit), digest: content.digest(), content: Arc::new(content) }),
        accounts: Some(HeldAccounts::new(Arc::new(accounts))),
        plan: Some(Arc::new(meridian_proto::convert::plan(&plan(1, commit)).unwrap())),
        peers: None,
        switches: None,
    }
}

/// Compares by value.
pub(crate) fn assert_same(a: &Held, b: &Held) {
    let commit = |held: &Held| held.commit.as_ref().map(|c| (c.id, c.digest, c.content.clone()));
    assert_eq!(commit(a), commit(b));
    let accounts = |held: &Held| held.accounts.as_ref().map(|held| (held.accounts.clone(), held.digest));
    assert_eq!(accounts(a), accounts(b));
    assert_eq!((&a.plan, &a.peers, a.cluster, &a.switches), (&b.plan, &b.peers, b.cluster, &b.switches));
}
