//! Cases at the limits.

use std::sync::Arc;

use bytes::Bytes;

use super::{Harness, entry, put, receive, soon};
use crate::{Event, MAX_KEY_BYTES, MAX_TXN_OPS, MAX_VALUE_BYTES, Store, Txn};

/// More than one page of any backend.
const KEYS: usize = 2500;

/// The largest key with the largest value goes through writes, reads, lists and watches.
pub async fn stores_the_largest_value(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let key = format!("/large/{}", "k".repeat(MAX_KEY_BYTES - 7));
    let value: Bytes = (0..MAX_VALUE_BYTES).map(|n| n as u8).collect();
    let first = put(store, &key, value.clone()).await;
    // Several of them, so that a list is larger than one message of 4 MiB.
    for n in 0..4 {
        put(store, &format!("/large/{n}"), value.clone()).await;
    }
    assert_eq!(entry(store, &key).await.value, value);
    let listing = store.list("/large/").await.unwrap();
    assert!(listing.entries.len() == 5 && listing.entries.iter().all(|e| e.value == value));
    let mut watch = store.watch("/large/", first).await.unwrap();
    for _ in 0..5 {
        let Event::Put(entry) = receive(&mut watch).await.events.remove(0) else { panic!("a put") };
        assert_eq!(entry.value, value);
    }
}

/// A list of many keys shows one revision, while writers change its first and last key together.
pub async fn lists_many_keys_as_of_one_revision(harness: &mut dyn Harness) {
    let store = harness.store();
    let keys: Vec<String> = (0..KEYS).map(|n| format!("/many/{n:05}")).collect();
    for some in keys.chunks(MAX_TXN_OPS) {
        let txn = some.iter().fold(Txn::new(), |txn, key| txn.put(key, "0"));
        store.txn(txn).await.unwrap();
    }
    let writer = tokio::spawn(change_both_ends(store.clone(), keys[0].clone(), keys[KEYS - 1].clone()));
    while !writer.is_finished() {
        let listing = soon("a list", store.list("/many/")).await.unwrap();
        let found: Vec<_> = listing.entries.iter().map(|e| &e.key).collect();
        assert_eq!(found, keys.iter().collect::<Vec<_>>());
        assert_eq!(listing.entries[0].value, listing.entries[KEYS - 1].value, "both ends as of one revision");
        assert!(listing.entries.iter().all(|e| e.mod_revision <= listing.revision));
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

async fn change_both_ends(store: Arc<dyn Store>, first: String, last: String) {
    for n in 1..50 {
        store.txn(Txn::new().put(&first, n.to_string()).put(&last, n.to_string())).await.unwrap();
        tokio::task::yield_now().await;
    }
}
