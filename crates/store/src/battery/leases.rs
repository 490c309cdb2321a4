//! Cases about leases. Time is their subject, so they let it pass.

use std::time::Duration;

use super::{Harness, entry, put, receive, text};
use crate::{Error, LeaseId, Txn};

/// Short, but not shorter than what etcd rounds up to.
const TTL: Duration = Duration::from_secs(2);

/// The keys go together, under one revision, and watchers are told.
pub async fn ends_a_lease_that_nobody_renews_and_deletes_its_keys(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let start = put(store, "/ends/stays", "x").await.next();
    let mut watch = store.watch("/ends/", start).await.unwrap();
    let lease = store.grant_lease(TTL).await.unwrap();
    let txn = Txn::new().put_with_lease("/ends/a", "1", lease).put_with_lease("/ends/b", "2", lease);
    store.txn(txn).await.unwrap();
    assert_eq!(entry(store, "/ends/a").await.lease, Some(lease));
    assert_eq!(receive(&mut watch).await.events.len(), 2);
    let mut deleted = text(&receive(&mut watch).await);
    deleted.sort();
    assert_eq!(deleted, ["-/ends/a", "-/ends/b"]);
    assert_eq!(store.list("/ends/").await.unwrap().entries.len(), 1);
    assert!(matches!(store.keep_alive(lease).await, Err(Error::LeaseGone)));
}

/// Renewal holds a lease for longer than its time.
pub async fn keeps_a_lease_that_is_renewed(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let lease = store.grant_lease(TTL).await.unwrap();
    store.txn(Txn::new().put_with_lease("/kept", "x", lease)).await.unwrap();
    let started = tokio::time::Instant::now();
    while started.elapsed() < TTL * 2 {
        tokio::time::sleep(TTL / 8).await;
        let left = store.keep_alive(lease).await.unwrap();
        assert!(left >= TTL, "{left:?} left after a renewal");
        assert_eq!(entry(store, "/kept").await.version, 1);
    }
}

/// Revoking deletes the keys at once, and what is revoked is gone for every use.
pub async fn revokes_a_lease_at_once(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let lease = store.grant_lease(Duration::from_secs(600)).await.unwrap();
    let at = store.txn(Txn::new().put_with_lease("/revoked", "x", lease)).await.unwrap().revision;
    let mut watch = store.watch("/revoked", at.next()).await.unwrap();
    store.revoke_lease(lease).await.unwrap();
    assert_eq!(store.get("/revoked").await.unwrap(), None);
    assert_eq!(text(&receive(&mut watch).await), ["-/revoked"]);
    let put = Txn::new().put_with_lease("/revoked", "y", lease);
    assert!(matches!(store.txn(put).await, Err(Error::LeaseGone)));
    assert!(matches!(store.revoke_lease(lease).await, Err(Error::LeaseGone)));
    assert!(matches!(store.keep_alive(LeaseId(987_654_321)).await, Err(Error::LeaseGone)));
    assert!(matches!(store.grant_lease(Duration::ZERO).await, Err(Error::Invalid { .. })));
}

/// A plain write, or another lease, takes a key out of the lease it had.
pub async fn keeps_a_key_that_left_its_lease(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let (first, second) = (store.grant_lease(TTL * 30).await.unwrap(), store.grant_lease(TTL * 30).await.unwrap());
    assert_ne!(first, second);
    let txn = ["/left/free", "/left/moved", "/left/held"];
    let txn = txn.iter().fold(Txn::new(), |txn, key| txn.put_with_lease(*key, "1", first));
    store.txn(txn).await.unwrap();
    store.txn(Txn::new().put("/left/free", "2").put_with_lease("/left/moved", "2", second)).await.unwrap();
    store.revoke_lease(first).await.unwrap();
    let left = store.list("/left/").await.unwrap().entries;
    let left: Vec<_> = left.iter().map(|e| (e.key.as_str(), e.lease)).collect();
    assert_eq!(left, [("/left/free", None), ("/left/moved", Some(second))]);
}
