//! Cases about transactions.

use bytes::Bytes;

use super::{Harness, entry, put, soon};
use crate::{Compare, Error, MAX_KEY_BYTES, MAX_TXN_OPS, MAX_VALUE_BYTES, Revision, Txn};

/// "Absent" holds for a key that never was or was deleted, in both ways to say it.
pub async fn creates_only_what_is_absent(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let create = |value: &'static str| Txn::new().when(Compare::absent("/create")).put("/create", value);
    assert!(store.txn(create("1")).await.unwrap().succeeded);
    assert!(!store.txn(create("2")).await.unwrap().succeeded);
    assert_eq!(entry(store, "/create").await.value, "1");
    store.txn(Txn::new().delete("/create")).await.unwrap();
    let by_mod = Txn::new().when(Compare::mod_revision("/create", Revision::ZERO)).put("/create", "3");
    assert!(store.txn(by_mod).await.unwrap().succeeded);
}

/// A write that was decided on an older revision changes nothing.
pub async fn refuses_a_lost_update(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let read = put(store, "/head", "1").await;
    let newer = put(store, "/head", "2").await;
    let stale = Txn::new().when(Compare::mod_revision("/head", read)).put("/head", "3").put("/req", "x");
    let outcome = store.txn(stale).await.unwrap();
    assert_eq!((outcome.succeeded, outcome.revision), (false, newer));
    assert_eq!(entry(store, "/head").await.value, "2");
    assert_eq!(store.get("/req").await.unwrap(), None);
    let fresh = Txn::new().when(Compare::mod_revision("/head", newer)).put("/head", "3");
    assert!(store.txn(fresh).await.unwrap().succeeded);
}

/// The token of a leader who lost the key is refused, even when the key is there again with the same value.
pub async fn fences_by_create_revision(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let token = put(store, "/lead", "me").await;
    put(store, "/lead", "me").await;
    let write = |token| Txn::new().when(Compare::create_revision("/lead", token)).put("/plan", "p");
    assert!(store.txn(write(token)).await.unwrap().succeeded, "a rewrite keeps the token");
    store.txn(Txn::new().delete("/lead")).await.unwrap();
    assert!(!store.txn(write(token)).await.unwrap().succeeded, "a deletion ends it");
    put(store, "/lead", "me").await;
    assert!(!store.txn(write(token)).await.unwrap().succeeded, "a new key has a new one");
}

/// All writes of a transaction have its one revision; with one false compare of many there are none.
pub async fn applies_a_transaction_whole_and_under_one_revision(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let old = put(store, "/whole/old", "x").await;
    let txn = || Txn::new().put("/whole/a", "1").put("/whole/b", "2").delete("/whole/old");
    let refused = txn().when(Compare::mod_revision("/whole/old", old)).when(Compare::mod_revision("/whole/a", old));
    assert!(!store.txn(refused).await.unwrap().succeeded);
    assert_eq!(store.list("/whole/").await.unwrap().entries.len(), 1);

    let outcome = store.txn(txn().when(Compare::mod_revision("/whole/old", old))).await.unwrap();
    assert_eq!((outcome.succeeded, outcome.revision), (true, old.next()));
    let listing = store.list("/whole/").await.unwrap();
    let found: Vec<_> = listing.entries.iter().map(|e| (e.key.as_str(), e.mod_revision)).collect();
    assert_eq!(found, [("/whole/a", outcome.revision), ("/whole/b", outcome.revision)]);
}

/// Deleting what is absent, or writing nothing, succeeds and makes no revision.
pub async fn does_not_move_when_nothing_changes(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let before = put(store, "/still", "x").await;
    for txn in [Txn::new(), Txn::new().delete("/absent"), Txn::new().when(Compare::absent("/absent"))] {
        let outcome = store.txn(txn).await.unwrap();
        assert_eq!((outcome.succeeded, outcome.revision), (true, before));
    }
}

/// Mistakes are told apart, and a transaction with one of them changes nothing.
pub async fn refuses_transactions_that_make_no_sense(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let many = (0..=MAX_TXN_OPS).fold(Txn::new(), |txn, n| txn.put(format!("/many/{n}"), "x"));
    let large = Bytes::from(vec![0; MAX_VALUE_BYTES + 1]);
    let half = Bytes::from(vec![0; MAX_VALUE_BYTES * 2 / 3]);
    let too_large = [
        many,
        Txn::new().put("/large", large),
        Txn::new().put("/half/1", half.clone()).put("/half/2", half),
        Txn::new().put("k".repeat(MAX_KEY_BYTES + 1), "x"),
    ];
    for txn in too_large {
        assert!(matches!(store.txn(txn).await, Err(Error::TooLarge { .. })));
    }
    for txn in [Txn::new().put("", "x"), Txn::new().put("/twice", "1").delete("/twice")] {
        assert!(matches!(store.txn(txn).await, Err(Error::Invalid { .. })));
    }
    assert!(store.list("").await.unwrap().entries.is_empty());
}

/// Concurrent read-compare-write loops on one counter lose no step.
pub async fn lets_one_of_many_concurrent_writers_win_each_step(harness: &mut dyn Harness) {
    const WRITERS: usize = 4;
    const STEPS: usize = 10;
    let store = harness.store();
    put(&*store, "/counter", "0").await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut won = 0;
                while won < STEPS {
                    let read = entry(&*store, "/counter").await;
                    let value: usize = String::from_utf8_lossy(&read.value).parse().unwrap();
                    let txn = Txn::new()
                        .when(Compare::mod_revision("/counter", read.mod_revision))
                        .put("/counter", (value + 1).to_string());
                    won += usize::from(store.txn(txn).await.unwrap().succeeded);
                }
            })
        })
        .collect();
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    let end = entry(&*store, "/counter").await;
    assert_eq!(end.value, (WRITERS * STEPS).to_string());
    assert_eq!(end.version, (WRITERS * STEPS + 1) as u64);
}
