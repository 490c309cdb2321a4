//! What only the embedded store promises: its file, its lock, and what a start finds.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use meridian_store::embedded::EmbeddedStore;
use meridian_store::{Error, Revision, Store, Txn};
use tempfile::TempDir;

async fn put(store: &EmbeddedStore, key: &str) -> Result<Revision, Error> {
    Ok(store.txn(Txn::new().put(key, "x")).await?.revision)
}

#[tokio::test]
async fn a_second_open_is_refused_with_the_reason_and_works_after_the_first_is_closed() {
    let dir = TempDir::new().unwrap();
    let first = EmbeddedStore::open(dir.path(), 1).await.unwrap();
    let refused = EmbeddedStore::open(dir.path(), 2).await.unwrap_err();
    assert!(matches!(refused, Error::InUse { .. }));
    assert!(refused.to_string().ends_with("store.redb is already in use by another process"), "{refused}");
    first.close().await;
    let again = EmbeddedStore::open(dir.path(), 2).await.unwrap();
    assert_eq!(again.cluster_id().await.unwrap(), 1, "the identity of the first open stays");
}

#[tokio::test]
async fn a_closed_store_is_unavailable_to_its_other_clones_and_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let store = EmbeddedStore::open(dir.path(), 1).await.unwrap();
    let clone = store.clone();
    let at = put(&store, "/a").await.unwrap();
    store.close().await;
    assert!(matches!(put(&clone, "/b").await, Err(Error::Unavailable { .. })));
    assert!(matches!(clone.get("/a").await, Err(Error::Unavailable { .. })));
    assert!(matches!(clone.list("/").await, Err(Error::Unavailable { .. })));
    assert!(matches!(clone.watch("/", at).await, Err(Error::Unavailable { .. })));
    let again = EmbeddedStore::open(dir.path(), 1).await.unwrap();
    assert_eq!(again.list("").await.unwrap().revision, at);
}

#[tokio::test]
async fn the_directory_is_made_for_its_owner_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("state/store");
    EmbeddedStore::open(&path, 1).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_file_that_is_not_ours_and_a_place_that_cannot_be_are_refused() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("store.redb"), "not a database").unwrap();
    let error = EmbeddedStore::open(dir.path(), 1).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. } | Error::Corrupt { .. }), "{error:?}");
    let file = dir.path().join("store.redb");
    assert!(matches!(EmbeddedStore::open(&file, 1).await, Err(Error::Unavailable { .. })));
}

#[tokio::test]
async fn an_orphaned_lease_ends_after_a_restart_and_takes_its_keys() {
    let dir = TempDir::new().unwrap();
    let store = EmbeddedStore::open(dir.path(), 1).await.unwrap();
    let lease = store.grant_lease(Duration::from_secs(1)).await.unwrap();
    let at = store.txn(Txn::new().put_with_lease("/a", "x", lease)).await.unwrap().revision;
    store.close().await;
    let store = EmbeddedStore::open(dir.path(), 1).await.unwrap();
    let mut watch = store.watch("/a", at.next()).await.unwrap();
    let batch = tokio::time::timeout(Duration::from_secs(20), watch.recv()).await.unwrap().unwrap();
    assert_eq!(batch.revision, at.next());
    assert_eq!(store.get("/a").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_share_commits_and_all_survive() {
    const WRITES: usize = 500;
    let dir = TempDir::new().unwrap();
    let store = EmbeddedStore::open(dir.path(), 1).await.unwrap();
    let writes: Vec<_> = (0..WRITES)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &format!("/k/{n}")).await.unwrap() })
        })
        .collect();
    let mut revisions = Vec::new();
    for write in writes {
        revisions.push(write.await.unwrap());
    }
    revisions.sort();
    revisions.dedup();
    assert_eq!(revisions.len(), WRITES, "each has a revision of its own");
    store.close().await;
    let store = EmbeddedStore::open(dir.path(), 1).await.unwrap();
    assert_eq!(store.list("/k/").await.unwrap().entries.len(), WRITES);
}
