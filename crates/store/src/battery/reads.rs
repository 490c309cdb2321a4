//! Cases about `get` and `list`.

use super::{Harness, delete, entry, put};
use crate::Revision;

/// A list is sorted and says at which revision it was read, also when the last write was elsewhere.
pub async fn lists_sorted_entries_with_their_revision(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let empty = store.list("/sorted/").await.unwrap();
    assert!(empty.entries.is_empty());
    put(store, "/sorted/b", "2").await;
    put(store, "/sorted/a", "1").await;
    put(store, "/sorted/é", "3").await;
    let last = put(store, "/elsewhere", "x").await;
    let listing = store.list("/sorted/").await.unwrap();
    let keys: Vec<_> = listing.entries.iter().map(|e| e.key.as_str()).collect();
    assert_eq!(keys, ["/sorted/a", "/sorted/b", "/sorted/é"]);
    assert_eq!(listing.revision, last);
    assert!(empty.revision < listing.revision);
}

/// Creation, last write and number of writes are counted, and begin anew after a deletion.
pub async fn counts_creation_writes_and_versions(harness: &mut dyn Harness) {
    let store = &*harness.store();
    assert_eq!(store.get("/counted").await.unwrap(), None);
    let first = put(store, "/counted", "1").await;
    let second = put(store, "/counted", "2").await;
    let e = entry(store, "/counted").await;
    assert_eq!((e.create_revision, e.mod_revision, e.version), (first, second, 2));
    assert_eq!((&e.value[..], e.lease), (&b"2"[..], None));
    let gone = delete(store, "/counted").await;
    assert_eq!(gone, Revision(second.0 + 1));
    assert_eq!(store.get("/counted").await.unwrap(), None);
    let third = put(store, "/counted", "").await;
    let e = entry(store, "/counted").await;
    assert_eq!((e.create_revision, e.mod_revision, e.version), (third, third, 1));
    assert!(e.value.is_empty());
}

/// A prefix is bytes, not path segments; its neighbours in order are not in it.
pub async fn isolates_prefixes(harness: &mut dyn Harness) {
    let store = &*harness.store();
    for key in ["/iso", "/iso.", "/iso/", "/iso/a", "/iso/a/b", "/iso0", "/isp"] {
        put(store, key, "x").await;
    }
    let list = async |prefix: &str| {
        let listing = store.list(prefix).await.unwrap();
        listing.entries.into_iter().map(|e| e.key).collect::<Vec<_>>()
    };
    assert_eq!(list("/iso/").await, ["/iso/", "/iso/a", "/iso/a/b"]);
    assert_eq!(list("/iso/a").await, ["/iso/a", "/iso/a/b"]);
    assert_eq!(list("/iso/b").await, [""; 0]);
    assert_eq!(list("").await.len(), 7);
}
