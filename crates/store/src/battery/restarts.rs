//! Cases about a backend that goes away and comes back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Harness, entry, put, receive, soon};
use crate::follow::{Follower, Interruption, Options};
use crate::{Error, Revision, Txn};

/// Data, identity, revision and history are what they were; the old watch says that it is lost.
pub async fn keeps_data_identity_and_history_over_a_restart(harness: &mut dyn Harness) {
    let store = harness.store();
    let identity = store.cluster_id().await.unwrap();
    let first = put(&*store, "/restart/a", "1").await;
    let second = store.txn(Txn::new().put("/restart/b", "2").delete("/restart/a")).await.unwrap().revision;
    let mut watch = store.watch("/restart/", second).await.unwrap();
    assert_eq!(receive(&mut watch).await.revision, second);
    let before = store.list("/restart/").await.unwrap();

    harness.restart().await;
    let lost = soon("the end of a watch", watch.recv()).await;
    assert!(matches!(lost, Err(Error::WatchLost { .. })), "{lost:?}");

    soon("the store's return", async {
        while store.get("/restart/b").await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(store.cluster_id().await.unwrap(), identity);
    assert_eq!(store.list("/restart/").await.unwrap(), before);
    let mut again = store.watch("/restart/", first).await.unwrap();
    assert_eq!(receive(&mut again).await.revision, first);
    assert_eq!(receive(&mut again).await.events.len(), 2);
    let third = put(&*store, "/restart/b", "3").await;
    assert_eq!(third, second.next());
    assert_eq!(receive(&mut again).await.revision, third);
}

/// A holder that could not renew while the store was away still finds its lease, and the lease can still end.
pub async fn keeps_a_lease_over_a_restart(harness: &mut dyn Harness) {
    let ttl = Duration::from_secs(20);
    let store = harness.store();
    let lease = store.grant_lease(ttl).await.unwrap();
    store.txn(Txn::new().put_with_lease("/leased", "x", lease)).await.unwrap();
    harness.restart().await;
    let left = soon("a renewal", async {
        loop {
            match store.keep_alive(lease).await {
                Ok(left) => return left,
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert!(left >= ttl);
    assert_eq!(entry(&*store, "/leased").await.lease, Some(lease));
    assert_ne!(store.grant_lease(ttl).await.unwrap(), lease, "numbers are not used twice");
    store.revoke_lease(lease).await.unwrap();
    assert_eq!(store.get("/leased").await.unwrap(), None);
}

/// A follower's mirror equals the store again after history that it missed was compacted away.
pub async fn lets_a_follower_converge_over_restart_and_compaction(harness: &mut dyn Harness) {
    let store = harness.store();
    put(&*store, "/mirror/kept", "1").await;
    put(&*store, "/mirror/deleted", "1").await;
    let mut follower = Follower::new(store.clone(), Options::new("/mirror/"), Box::new(|| 0.5));
    let mut mirror = BTreeMap::new();
    assert!(advance(&mut follower, &mut mirror).await);
    assert_eq!(mirror.len(), 2);

    harness.restart().await;
    soon("an interruption", async { while advance(&mut follower, &mut mirror).await {} }).await;
    assert_eq!(mirror.len(), 2, "an outage clears nothing");
    let last = soon("the writes after the restart", async {
        loop {
            let txn = Txn::new().put("/mirror/new", "2").delete("/mirror/deleted");
            match store.txn(txn).await {
                Ok(outcome) => return outcome.revision,
                Err(error) => assert!(!matches!(error, Error::Corrupt { .. }), "{error:?}"),
            }
        }
    })
    .await;
    store.compact(last).await.unwrap();

    soon("the mirror to converge", async {
        while follower.revision() < last {
            advance(&mut follower, &mut mirror).await;
        }
    })
    .await;
    let expected = store.list("/mirror/").await.unwrap();
    let expected: BTreeMap<_, _> = expected.entries.into_iter().map(|e| (e.key, e.mod_revision)).collect();
    assert_eq!(mirror, expected);
}

/// Takes one step of the follower into the mirror; false when it was an interruption.
async fn advance(follower: &mut Follower, mirror: &mut BTreeMap<String, Revision>) -> bool {
    match soon("a step of the follower", follower.next()).await {
        Ok(change) => {
            mirror.retain(|key, _| !change.deletes.contains(key));
            mirror.extend(change.upserts.into_iter().map(|e| (e.key, e.mod_revision)));
            true
        }
        Err(Interruption::Retrying(_)) => false,
        Err(Interruption::Ended(ended)) => panic!("{ended}"),
    }
}
