//! What operators may rely on.

use meridian_proto::admin::v1::{self as admin, change::Action};
use meridian_store::memory::MemoryStore;
use meridian_types::KeyHash;
use tonic::Code;

use super::sandbox::{Replica, apply, everything, model, provider, region, removal, request_id, resource, tenant};

#[tokio::test]
async fn a_commit_is_applied_shown_and_rolled_back() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    let first = replica.apply(apply(0, everything(), Vec::new())).await;
    assert_eq!(first.commit, 1);
    assert!(first.changes.iter().all(|change| change.action() == Action::Created));

    let second = replica.apply(apply(1, vec![region("sa", -50.0)], vec![removal("Region", "ap")])).await;
    let seen: Vec<_> = second.changes.iter().map(|change| (change.action(), change.name.as_str())).collect();
    assert_eq!(seen, [(Action::Removed, "ap"), (Action::Created, "sa")]);

    let get = |kind: &str, name: &str| admin::GetResourcesRequest { kind: kind.to_owned(), name: name.to_owned() };
    let regions = replica.admin.get_resources(get("regions", "")).await.unwrap().into_inner();
    assert_eq!(regions.commit, 2);
    assert_eq!(regions.resources.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["eu", "sa", "us"]);
    assert_eq!(replica.admin.get_resources(get("Region", "ap")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(replica.admin.get_resources(get("Galaxy", "")).await.unwrap_err().code(), Code::InvalidArgument);

    let rollback = admin::RollbackRequest {
        request_id: request_id(),
        expected_commit: 2,
        to_commit: 1,
        reason: "oops".to_owned(),
        rollout: None,
    };
    let rolled = replica.admin.rollback(rollback).await.unwrap().into_inner();
    assert_eq!((rolled.commit, rolled.mistakes.len(), rolled.changes.len()), (3, 0, 2));
    let history = replica.admin.history(admin::HistoryRequest { limit: 0 }).await.unwrap().into_inner().commits;
    assert_eq!(history.iter().map(|commit| commit.commit).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(history[0].digest, history[2].digest);
    assert_eq!(history[0].author, "anonymous@127.0.0.1");
    assert_eq!(history[0].reason, "rollback to commit 1: oops");
    replica.stop().await;
}

#[tokio::test]
async fn a_dry_run_and_an_unchanged_apply_write_nothing() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    let request = admin::ApplyRequest { dry_run: true, ..apply(0, everything(), Vec::new()) };
    let dry = replica.apply(request).await;
    assert_eq!((dry.commit, dry.changes.len()), (0, 6));
    replica.apply(apply(0, everything(), Vec::new())).await;
    let same = replica.apply(apply(1, everything(), Vec::new())).await;
    assert_eq!(same.commit, 1);
    assert!(same.changes.iter().all(|change| change.action() == Action::Unchanged));
    replica.stop().await;
}

#[tokio::test]
async fn a_lost_update_is_refused_and_a_repeated_request_is_harmless() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    let request = apply(0, everything(), Vec::new());
    let first = replica.apply(request.clone()).await;
    // The answer was lost: the same request again gives the same answer.
    assert_eq!(replica.apply(request.clone()).await, first);
    assert_eq!(replica.fleet().await.head_commit, 1);
    // Somebody else decided on the same head.
    let late = replica.try_apply(apply(0, vec![region("sa", -50.0)], Vec::new())).await.unwrap_err();
    assert_eq!(late.code(), Code::Aborted);
    assert!(late.message().contains("the head is commit 1 (by anonymous@127.0.0.1: test)"), "{late}");
    // One id, two requests.
    let forged = admin::ApplyRequest { reason: "other".to_owned(), ..request };
    assert_eq!(replica.try_apply(forged).await.unwrap_err().code(), Code::InvalidArgument);
    let nameless = admin::ApplyRequest { request_id: "1".to_owned(), ..apply(1, everything(), Vec::new()) };
    assert_eq!(replica.try_apply(nameless).await.unwrap_err().code(), Code::InvalidArgument);
    replica.stop().await;
}

#[tokio::test]
async fn every_mistake_is_told_at_once_and_nothing_is_applied() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let told = async |replica: &mut Replica, request| {
        let response = replica.try_apply(request).await.unwrap();
        assert_eq!(response.commit, 1);
        let mistake = |m: &admin::Mistake| format!("{}/{} {} {}", m.kind, m.name, m.field_path, m.code);
        response.mistakes.iter().map(mistake).collect::<Vec<_>>()
    };
    let upserts = vec![
        provider("bad", "telepathy"),
        region("Not A Name", 0.0),
        resource("Galaxy", "milky-way", &()),
        region("twice", 0.0),
        region("twice", 1.0),
        meridian_proto::resources::v1::Resource { name: "other".to_owned(), ..region("mine", 0.0) },
    ];
    let found = told(&mut replica, apply(1, upserts, vec![removal("Region", "nowhere")])).await;
    assert_eq!(
        found,
        [
            "Region/nowhere  not_found",
            "Galaxy/milky-way  unknown_reference",
            "Region/twice  duplicate",
            "Region/other  invalid_field",
            "Region/Not A Name name invalid_field",
            "Provider/bad codec unknown_reference",
        ]
    );
    let found = told(&mut replica, apply(1, vec![model("lost", "nobody")], Vec::new())).await;
    assert_eq!(found, ["Model/lost tiers[0].targets[0].provider unknown_reference"]);
    // What is used stays, and the users are named.
    let response = replica.try_apply(apply(1, Vec::new(), vec![removal("Provider", "openai")])).await.unwrap();
    assert_eq!(response.mistakes.len(), 1);
    assert_eq!(response.mistakes[0].code, "in_use");
    assert!(response.mistakes[0].text.contains("Model/gpt (tiers[0].targets[0].provider)"), "{response:?}");
    // Unless the users go with it.
    let both = vec![removal("Provider", "openai"), removal("Model", "gpt")];
    assert_eq!(replica.apply(apply(1, Vec::new(), both)).await.commit, 2);
    replica.stop().await;
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_and_hold_their_tenant() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let hash = KeyHash::of("mk-secret");
    let create = |tenant: &str| admin::CreateKeyRequest {
        request_id: request_id(),
        tenant: tenant.to_owned(),
        label: "laptop".to_owned(),
        expires_at_unix_ms: 0,
        hash: hash.0.as_bytes().to_vec().into(),
        expected_revision: 0,
        reason: "a laptop".to_owned(),
    };
    let unknown = replica.admin.create_key(create("nobody")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let key = replica.admin.create_key(create("acme")).await.unwrap().into_inner().key.unwrap();
    assert_eq!(key.id, hash.id());
    assert_eq!(replica.admin.create_key(create("acme")).await.unwrap_err().code(), Code::AlreadyExists);

    let held = replica.try_apply(apply(1, Vec::new(), vec![removal("Tenant", "acme")])).await.unwrap();
    assert!(held.mistakes[0].text.contains(&hash.id()), "{held:?}");

    let revoke =
        |id: &str| admin::RevokeKeyRequest { request_id: request_id(), id: id.to_owned(), ..Default::default() };
    let revoked = replica.admin.revoke_key(revoke(&key.id)).await.unwrap().into_inner().key.unwrap();
    assert!(revoked.revoked_at_unix_ms > 0);
    let again = replica.admin.revoke_key(revoke(&key.id)).await.unwrap().into_inner().key.unwrap();
    assert_eq!(again, revoked);
    assert_eq!(replica.admin.revoke_key(revoke("0123")).await.unwrap_err().code(), Code::NotFound);
    let listed = replica.admin.list_keys(admin::ListKeysRequest { tenant: String::new() }).await.unwrap();
    assert_eq!(listed.into_inner().keys, [revoked]);
    // Tenants are no part of commits.
    assert_eq!(replica.apply(apply(1, vec![tenant("other")], vec![removal("Tenant", "acme")])).await.commit, 1);
    replica.stop().await;
}

#[tokio::test]
async fn writes_to_keys_compare_the_revision_they_were_decided_on() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let list = async |replica: &mut Replica| {
        replica.admin.list_keys(admin::ListKeysRequest { tenant: String::new() }).await.unwrap().into_inner().revision
    };
    let create = |text: &str, expected_revision: u64| admin::CreateKeyRequest {
        request_id: request_id(),
        tenant: "acme".to_owned(),
        hash: KeyHash::of(text).0.as_bytes().to_vec().into(),
        expected_revision,
        ..admin::CreateKeyRequest::default()
    };
    let before = list(&mut replica).await;
    replica.admin.create_key(create("one", before)).await.unwrap();
    // The tenant has a key now that the second did not know of.
    let late = replica.admin.create_key(create("two", before)).await.unwrap_err();
    assert_eq!(late.code(), Code::Aborted);
    assert!(late.message().contains("tenant acme or its keys changed at revision"), "{late}");
    let with_one = list(&mut replica).await;
    let second = create("two", with_one);
    let made = replica.admin.create_key(second.clone()).await.unwrap().into_inner();
    assert_eq!(replica.admin.create_key(second).await.unwrap().into_inner(), made, "repeating it is harmless");

    let revoke = |expected_revision: u64| admin::RevokeKeyRequest {
        request_id: request_id(),
        id: KeyHash::of("one").id(),
        expected_revision,
        ..admin::RevokeKeyRequest::default()
    };
    let late = replica.admin.revoke_key(revoke(before)).await.unwrap_err();
    assert_eq!(late.code(), Code::Aborted);
    assert!(late.message().starts_with(&format!("key {} changed at", KeyHash::of("one").id())), "{late}");
    // What happened to others since does not matter.
    let request = revoke(with_one);
    let revoked = replica.admin.revoke_key(request.clone()).await.unwrap().into_inner();
    assert_eq!(replica.admin.revoke_key(request).await.unwrap().into_inner(), revoked, "repeating it is harmless");
    assert_eq!(replica.admin.revoke_key(revoke(with_one)).await.unwrap_err().code(), Code::Aborted);
    replica.stop().await;
}

#[tokio::test]
async fn overrides_compare_the_revision_they_were_decided_on() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let revision = replica.drain("eu", true).await.unwrap();
    let mut request = admin::SetOverrideRequest {
        request_id: request_id(),
        region: "eu".to_owned(),
        expected_revision: 0,
        change: Some(admin::set_override_request::Change::Weight(50)),
        reason: "less".to_owned(),
        until_unix_ms: 0,
        force: false,
    };
    let late = replica.admin.set_override(request.clone()).await.unwrap_err();
    assert_eq!(late.code(), Code::Aborted);
    assert!(late.message().contains("maintenance"), "{late}");
    request.expected_revision = revision;
    let newer = replica.admin.set_override(request.clone()).await.unwrap().into_inner().revision;
    assert!(newer > revision);
    // Repeating it gives the same revision.
    assert_eq!(replica.admin.set_override(request.clone()).await.unwrap().into_inner().revision, newer);
    let fleet = replica.fleet().await;
    let eu = super::sandbox::shown(&fleet, "eu");
    assert_eq!((eu.drained, eu.weight_override, eu.override_revision), (true, Some(50), newer));
    for (region, change, until, expected) in [
        ("mars", admin::set_override_request::Change::Drained(true), 0, Code::NotFound),
        ("us", admin::set_override_request::Change::Weight(1001), 0, Code::InvalidArgument),
        ("us", admin::set_override_request::Change::ClearWeight(false), 0, Code::InvalidArgument),
        ("us", admin::set_override_request::Change::Drained(true), 1, Code::InvalidArgument),
    ] {
        let request = admin::SetOverrideRequest {
            request_id: request_id(),
            region: region.to_owned(),
            expected_revision: 0,
            change: Some(change),
            until_unix_ms: until,
            ..request.clone()
        };
        assert_eq!(replica.admin.set_override(request).await.unwrap_err().code(), expected, "{region} {change:?}");
    }
    replica.stop().await;
}

#[tokio::test]
async fn without_the_store_writes_are_refused_with_a_reason_and_reads_go_on() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    store.set_available(false);
    let refused = replica.try_apply(apply(1, vec![region("sa", 1.0)], Vec::new())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().starts_with("read-only: "), "{refused}");
    assert!(refused.metadata().contains_key(meridian_proto::NOT_ATTEMPTED));
    let fleet = replica.fleet_with("read-only is shown", |fleet| !fleet.read_only.is_empty()).await;
    assert_eq!(fleet.head_commit, 1);
    store.set_available(true);
    replica.fleet_with("read-only ends", |fleet| fleet.read_only.is_empty()).await;
    replica.apply(apply(1, vec![region("sa", 1.0)], Vec::new())).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_hundred_commits_are_kept() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    for commit in 0..103 {
        let longitude = commit as f64;
        replica.apply(apply(commit, vec![region("us", longitude)], Vec::new())).await;
    }
    let history = replica.admin.history(admin::HistoryRequest { limit: 100 }).await.unwrap().into_inner().commits;
    assert_eq!((history.len(), history[0].commit, history[99].commit), (100, 103, 4));
    let rollback =
        admin::RollbackRequest { request_id: request_id(), expected_commit: 103, to_commit: 3, ..Default::default() };
    assert_eq!(replica.admin.rollback(rollback).await.unwrap_err().code(), Code::NotFound);
    replica.stop().await;
}

#[tokio::test]
async fn every_write_is_in_the_audit_and_what_was_refused_is_not() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    let first = apply(0, everything(), Vec::new());
    let id = first.request_id.clone();
    replica.apply(first).await;
    let create = admin::CreateKeyRequest {
        request_id: request_id(),
        tenant: "acme".to_owned(),
        hash: KeyHash::of("mk-secret").0.as_bytes().to_vec().into(),
        reason: "new laptop".to_owned(),
        ..admin::CreateKeyRequest::default()
    };
    replica.admin.create_key(create.clone()).await.unwrap();
    let again = admin::CreateKeyRequest { request_id: request_id(), ..create };
    assert_eq!(replica.admin.create_key(again).await.unwrap_err().code(), Code::AlreadyExists);
    replica.force_drain("eu").await.unwrap();
    // A dry run and a write that changes nothing are no writes.
    replica.apply(admin::ApplyRequest { dry_run: true, ..apply(1, vec![region("us", 1.0)], Vec::new()) }).await;
    replica.apply(apply(1, everything(), Vec::new())).await;

    let audit = async |limit: u32, before: &str| {
        let request = admin::AuditRequest { limit, before: before.to_owned() };
        replica.admin.clone().audit(request).await.map(|found| found.into_inner().records)
    };
    let records = audit(0, "").await.unwrap();
    let told: Vec<_> = records.iter().map(|r| (r.call.as_str(), r.reason.as_str(), r.outcome.as_str())).collect();
    let expected = [
        ("set_override", "maintenance", "in force from the next plan on"),
        ("create_key", "new laptop", "the key opens"),
        ("apply", "test", "head is commit 1"),
    ];
    assert_eq!(told, expected);
    assert_eq!(records[0].summary, "region eu drained");
    assert_eq!((records[2].author.as_str(), &records[2].request_id), ("anonymous@127.0.0.1", &id));
    assert!(records[2].summary.starts_with("6 changes: "), "{}", records[2].summary);
    assert!(records.iter().all(|record| record.at_unix_ms > 0 && !format!("{record:?}").contains("mk-secret")));
    // Page by page it is the same.
    let page = audit(2, "").await.unwrap();
    assert_eq!(page, records[..2]);
    assert_eq!(audit(2, &page[1].id).await.unwrap(), records[2..]);
    assert_eq!(audit(101, "").await.unwrap_err().code(), Code::InvalidArgument);
    replica.stop().await;
}
