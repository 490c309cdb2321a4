//! Cases about watches and compaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Harness, delete, put, receive, soon, text};
use crate::{Error, Event, Revision, Store, Txn, Watch};

/// History comes again from any past revision, batch by batch, and goes on with what is new.
pub async fn replays_from_a_past_revision(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let first = put(store, "/past/a", "1").await;
    let second = store.txn(Txn::new().put("/past/a", "2").put("/past/b", "3")).await.unwrap().revision;
    let third = delete(store, "/past/a").await;

    let mut all = store.watch("/past/", first).await.unwrap();
    let mut rest = store.watch("/past/", second).await.unwrap();
    let batch = receive(&mut all).await;
    assert_eq!((batch.revision, text(&batch)), (first, vec!["+/past/a=1".to_owned()]));
    for watch in [&mut all, &mut rest] {
        let batch = receive(watch).await;
        assert_eq!((batch.revision, text(&batch)), (second, vec!["+/past/a=2".into(), "+/past/b=3".into()]));
        let batch = receive(watch).await;
        assert_eq!((batch.revision, text(&batch)), (third, vec!["-/past/a".to_owned()]));
    }
    let fourth = put(store, "/past/c", "4").await;
    assert_eq!(receive(&mut all).await.revision, fourth);
    let Event::Put(entry) = &receive(&mut rest).await.events[0] else { panic!("a put") };
    assert_eq!((entry.create_revision, entry.mod_revision, entry.version), (fourth, fourth, 1));
}

/// A watch from after the present delivers nothing earlier.
pub async fn waits_for_a_future_revision(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let now = put(store, "/future", "0").await;
    let mut watch = store.watch("/future", Revision(now.0 + 2)).await.unwrap();
    put(store, "/future", "1").await;
    put(store, "/future", "2").await;
    assert_eq!(text(&receive(&mut watch).await), ["+/future=2"]);
    assert!(matches!(store.watch("/future", Revision::ZERO).await, Err(Error::Invalid { .. })));
}

/// Watchers that start before, during and after concurrent writes all see every revision once, in order.
pub async fn watches_without_gap_or_repeat_under_concurrent_writers(harness: &mut dyn Harness) {
    const WRITERS: usize = 4;
    const WRITES: usize = 25;
    let store = harness.store();
    let start = store.list("/busy/").await.unwrap().revision.next();
    let mut watches = vec![store.watch("/busy/", start).await.unwrap()];
    let writers: Vec<_> = (0..WRITERS).map(|n| tokio::spawn(write_many(store.clone(), n, WRITES))).collect();
    watches.push(store.watch("/busy/", start).await.unwrap());
    for writer in writers {
        soon("a writer", writer).await.unwrap();
    }
    watches.push(store.watch("/busy/", start).await.unwrap());
    for watch in &mut watches {
        check_complete(watch, WRITERS * WRITES).await;
    }
}

async fn write_many(store: Arc<dyn Store>, writer: usize, writes: usize) {
    for n in 0..writes {
        let txn = Txn::new().put(format!("/busy/{writer}"), n.to_string()).put("/busy/shared", format!("{writer}.{n}"));
        assert!(store.txn(txn).await.unwrap().succeeded);
    }
}

/// Every transaction wrote one key of its writer and the shared key, so both versions count up without a hole.
async fn check_complete(watch: &mut Watch, transactions: usize) {
    let mut last = Revision::ZERO;
    let mut versions: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..transactions {
        let batch = receive(watch).await;
        assert!(last < batch.revision, "{} after {last}", batch.revision);
        assert_eq!(batch.events.len(), 2, "both writes of the transaction come together");
        last = batch.revision;
        for event in batch.events {
            let Event::Put(entry) = event else { panic!("a put") };
            let version = versions.entry(entry.key.clone()).or_default();
            *version += 1;
            assert_eq!(entry.version, *version, "{}", entry.key);
        }
    }
    assert_eq!(versions["/busy/shared"], transactions as u64);
}

/// Of a transaction, only what lies under the prefix.
pub async fn delivers_only_the_watched_prefix(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let start = put(store, "/w", "x").await.next();
    let mut watch = store.watch("/w/", start).await.unwrap();
    put(store, "/w0", "out").await;
    store.txn(Txn::new().put("/v", "out").put("/w/a", "in").put("/w.", "out")).await.unwrap();
    assert_eq!(text(&receive(&mut watch).await), ["+/w/a=in"]);
    let mut everything = store.watch("", start).await.unwrap();
    assert_eq!(text(&receive(&mut everything).await), ["+/w0=out"]);
    assert_eq!(receive(&mut everything).await.events.len(), 3);
}

/// After a compaction old history is refused, and the way out (list, watch from there) works.
pub async fn refuses_to_watch_from_before_a_compaction(harness: &mut dyn Harness) {
    let store = &*harness.store();
    let first = put(store, "/compact/a", "1").await;
    put(store, "/compact/a", "2").await;
    let last = put(store, "/compact/a", "3").await;
    let mut early = store.watch("/compact/", first).await.unwrap();
    let mut current = store.watch("/compact/", last.next()).await.unwrap();
    assert_eq!(receive(&mut early).await.revision, first, "the watch has begun");
    assert!(matches!(store.compact(Revision(last.0 + 10)).await, Err(Error::Invalid { .. })));
    store.compact(last).await.unwrap();
    assert!(matches!(store.compact(first).await, Err(Error::Compacted { .. })));

    let ended = match store.watch("/compact/", first).await {
        Ok(mut watch) => soon("the end of a watch", watch.recv()).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(ended, Error::Compacted { at } if at == last), "{ended:?}");

    let listing = store.list("/compact/").await.unwrap();
    assert_eq!((listing.entries.len(), listing.revision), (1, last));
    let mut again = store.watch("/compact/", listing.revision.next()).await.unwrap();
    let next = put(store, "/compact/b", "4").await;
    assert_eq!(receive(&mut again).await.revision, next);
    assert_eq!(receive(&mut current).await.revision, next, "a watch past the compaction lives on");
}

/// Megabytes that nobody reads hold up no writer; whoever reads late has everything, or is told to list again.
pub async fn is_not_held_up_by_a_watcher_that_does_not_read(harness: &mut dyn Harness) {
    const WRITES: usize = 100;
    let store = &*harness.store();
    let start = store.list("/slow").await.unwrap().revision.next();
    let mut idle = store.watch("/slow", start).await.unwrap();
    let value = Bytes::from(vec![7; 100 * 1024]);
    soon("the writes", async {
        for _ in 0..WRITES {
            put(store, "/slow", value.clone()).await;
        }
    })
    .await;
    for n in 0..WRITES {
        match soon("a late read", idle.recv()).await {
            Ok(batch) => assert_eq!(batch.revision.0, start.0 + n as u64),
            Err(error) => return assert!(matches!(error, Error::Compacted { .. } | Error::WatchLost { .. })),
        }
    }
}
