//! A follower over a store that fails on purpose: it must neither lose a change, nor repeat one, nor forget the mirror.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use tokio::time::Instant;

use super::*;
use crate::memory::MemoryStore;
use crate::{Batch, LeaseId, Listing, Result, Txn, TxnOutcome};

/// What the next watch does before it behaves.
enum Fault {
    /// Cannot be opened.
    Refuse,
    /// Ends after so many batches.
    Break(usize),
    /// Ends at once because history is gone.
    Compact,
    /// Delivers every batch twice.
    Repeat,
    /// Delivers nothing at all, without an error.
    Silence,
    /// Delivers everything but the first so many batches, without an error.
    Lose(usize),
}

/// A memory store whose watches have faults, one each, in the order given.
struct Faulty {
    inner: MemoryStore,
    faults: Mutex<VecDeque<Fault>>,
    cluster_id: Mutex<u64>,
    rewind: Mutex<u64>,
}

impl Faulty {
    fn new(faults: impl IntoIterator<Item = Fault>) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(1),
            faults: Mutex::new(faults.into_iter().collect()),
            cluster_id: Mutex::new(1),
            rewind: Mutex::new(0),
        })
    }

    async fn put(&self, key: &str, value: &str) -> Revision {
        self.inner.txn(Txn::new().put(key, value.to_owned())).await.unwrap().revision
    }
}

#[async_trait]
impl Store for Faulty {
    async fn cluster_id(&self) -> Result<u64> {
        Ok(*self.cluster_id.lock().unwrap())
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing> {
        let mut listing = self.inner.list(prefix).await?;
        listing.revision.0 -= *self.rewind.lock().unwrap();
        Ok(listing)
    }
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.inner.txn(txn).await
    }
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        let fault = self.faults.lock().unwrap().pop_front();
        let watch = self.inner.watch(prefix, from).await?;
        let lost = || Err::<Batch, _>(Error::watch_lost("on purpose"));
        Ok(match fault {
            None => watch,
            Some(Fault::Refuse) => return Err(Error::unavailable("on purpose")),
            Some(Fault::Break(after)) => {
                Watch::new(stream::StreamExt::chain(stream::StreamExt::take(watch, after), stream::iter([lost()])))
            }
            Some(Fault::Compact) => Watch::new(stream::iter([Err(Error::Compacted { at: from.next() })])),
            Some(Fault::Repeat) => Watch::new(stream::StreamExt::flat_map(watch, |item| match item {
                Ok(batch) => stream::iter(vec![Ok(batch.clone()), Ok(batch)]),
                Err(error) => stream::iter(vec![Err(error)]),
            })),
            Some(Fault::Silence) => Watch::new(stream::pending()),
            Some(Fault::Lose(first)) => Watch::new(stream::StreamExt::skip(watch, first)),
        })
    }
    async fn compact(&self, at: Revision) -> Result<()> {
        self.inner.compact(at).await
    }
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        self.inner.grant_lease(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.inner.keep_alive(lease).await
    }
    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.inner.revoke_lease(lease).await
    }
}

fn follower(store: &Arc<Faulty>) -> Follower {
    Follower::new(store.clone(), Options::new("/f/"), Box::new(|| 0.5))
}

fn retrying(result: Result<Change, Interruption>) -> Error {
    match result {
        Err(Interruption::Retrying(error)) => error,
        other => panic!("an interruption, not {other:?}"),
    }
}

fn keys(change: &Change) -> Vec<&str> {
    change.upserts.iter().map(|e| e.key.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_change_is_the_whole_prefix_and_the_next_ones_are_what_is_new() {
    let store = Faulty::new([]);
    store.put("/f/a", "1").await;
    let at = store.put("/else", "1").await;
    let mut follower = follower(&store);
    let first = follower.next().await.unwrap();
    assert_eq!((keys(&first), first.revision, first.resync), (vec!["/f/a"], at, true));
    let txn = Txn::new().put("/f/b", "2").delete("/f/a");
    let at = store.txn(txn).await.unwrap().revision;
    let second = follower.next().await.unwrap();
    assert_eq!((keys(&second), &second.deletes[..]), (vec!["/f/b"], &["/f/a".to_owned()][..]));
    assert_eq!((second.revision, second.resync, follower.revision()), (at, false, at));
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_or_compacted_watch_only_the_difference_comes() {
    for fault in [Fault::Break(0), Fault::Compact] {
        let store = Faulty::new([fault]);
        for key in ["/f/same", "/f/changed", "/f/deleted"] {
            store.put(key, "1").await;
        }
        let mut follower = follower(&store);
        assert_eq!(follower.next().await.unwrap().upserts.len(), 3);
        retrying(follower.next().await);
        let txn = Txn::new().put("/f/changed", "2").put("/f/new", "2").delete("/f/deleted");
        store.txn(txn).await.unwrap();
        let change = follower.next().await.unwrap();
        assert!(change.resync);
        assert_eq!(
            (keys(&change), &change.deletes[..]),
            (vec!["/f/changed", "/f/new"], &["/f/deleted".to_owned()][..])
        );
        let at = store.put("/f/last", "3").await;
        assert_eq!(follower.next().await.unwrap().revision, at, "and then it watches again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_deleted_and_made_again_while_away_is_an_upsert() {
    let store = Faulty::new([Fault::Break(0)]);
    store.put("/f/a", "1").await;
    let mut follower = follower(&store);
    follower.next().await.unwrap();
    retrying(follower.next().await);
    store.txn(Txn::new().delete("/f/a")).await.unwrap();
    store.put("/f/a", "1").await;
    let change = follower.next().await.unwrap();
    assert_eq!((keys(&change), change.deletes.len()), (vec!["/f/a"], 0));
}

#[tokio::test(start_paused = true)]
async fn repeated_batches_are_dropped() {
    let store = Faulty::new([Fault::Repeat]);
    let mut follower = follower(&store);
    follower.next().await.unwrap();
    let written = [store.put("/f/a", "1").await, store.put("/f/b", "2").await, store.put("/f/a", "3").await];
    for at in written {
        assert_eq!(follower.next().await.unwrap().revision, at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_resync_without_a_difference_still_says_that_the_mirror_is_current() {
    let store = Faulty::new([Fault::Break(0)]);
    store.put("/f/a", "1").await;
    let mut follower = follower(&store);
    follower.next().await.unwrap();
    retrying(follower.next().await);
    let change = follower.next().await.unwrap();
    assert_eq!((change.upserts.len(), change.deletes.len(), change.resync), (0, 0, true));
}

#[tokio::test(start_paused = true)]
async fn waits_grow_while_watches_break_right_after_the_list_and_shrink_once_one_delivers() {
    let store = Faulty::new([Fault::Refuse, Fault::Break(0), Fault::Refuse, Fault::Break(1), Fault::Break(0)]);
    let mut follower = follower(&store);
    let mut waits = Vec::new();
    let mut interrupted_at = None;
    while waits.len() < 5 {
        match follower.next().await {
            Ok(change) if change.resync => {
                waits.extend(interrupted_at.take().map(|at: Instant| at.elapsed().as_millis()));
                store.put("/f/a", "x").await;
            }
            Ok(_) => {}
            Err(error) => {
                assert!(matches!(error, Interruption::Retrying(_)));
                // Two failures in a row: the wait of the first ended in the second.
                waits.extend(interrupted_at.replace(Instant::now()).map(|at| at.elapsed().as_millis()));
            }
        }
    }
    assert_eq!(waits, [50, 100, 200, 50, 100], "half of 100, 200, 400 ms; then anew");
}

#[tokio::test(start_paused = true)]
async fn silence_beyond_its_bound_counts_as_a_lost_watch() {
    let store = Faulty::new([Fault::Silence]);
    let options = Options { silence: Some(Duration::from_secs(30)), ..Options::new("/f/") };
    let mut follower = Follower::new(store.clone(), options, Box::new(|| 0.5));
    follower.next().await.unwrap();
    store.put("/f/a", "1").await;
    assert!(matches!(retrying(follower.next().await), Error::WatchLost { .. }));
    assert_eq!(keys(&follower.next().await.unwrap()), ["/f/a"]);
}

#[tokio::test(start_paused = true)]
async fn an_audit_finds_what_a_watch_lost_without_a_word_and_lists_it() {
    const AUDIT: Duration = Duration::from_secs(60);
    let store = Faulty::new([Fault::Lose(2)]);
    store.put("/f/gone", "1").await;
    let options = Options { audit: Some(AUDIT), ..Options::new("/f/") };
    let mut follower = Follower::new(store.clone(), options, Box::new(|| 0.5));
    follower.next().await.unwrap();
    store.put("/f/lost", "1").await;
    store.txn(Txn::new().delete("/f/gone")).await.unwrap();
    let at = store.put("/f/seen", "1").await;
    assert_eq!(keys(&follower.next().await.unwrap()), ["/f/seen"]);
    assert_eq!(follower.revision(), at);
    let start = Instant::now();
    let lost = retrying(follower.next().await);
    assert_eq!(lost.to_string(), "watch lost: it has lost 1 changes without a word");
    assert_eq!(start.elapsed(), AUDIT);
    let repaired = follower.next().await.unwrap();
    assert_eq!((keys(&repaired), &repaired.deletes[..]), (vec!["/f/lost"], &["/f/gone".to_owned()][..]));
}

#[tokio::test(start_paused = true)]
async fn an_audit_finds_a_lost_deletion_the_second_time_and_takes_nothing_on_its_way_for_lost() {
    const AUDIT: Duration = Duration::from_secs(60);
    let store = Faulty::new([Fault::Lose(1)]);
    store.put("/f/gone", "1").await;
    let options = Options { audit: Some(AUDIT), ..Options::new("/f/") };
    let mut follower = Follower::new(store.clone(), options, Box::new(|| 0.5));
    follower.next().await.unwrap();
    store.txn(Txn::new().delete("/f/gone")).await.unwrap();
    let start = Instant::now();
    retrying(follower.next().await);
    assert_eq!(start.elapsed(), AUDIT * 2, "the first time it may be on its way");
    assert_eq!(follower.next().await.unwrap().deletes, ["/f/gone"]);
    // From here on the watch loses nothing, and audits say nothing.
    for n in 0..5 {
        tokio::time::sleep(AUDIT - Duration::from_millis(1)).await;
        let at = store.put("/f/new", &n.to_string()).await;
        assert_eq!(follower.next().await.unwrap().revision, at);
    }
}

#[tokio::test(start_paused = true)]
async fn another_store_or_an_older_state_ends_it_for_good() {
    let store = Faulty::new([Fault::Break(0)]);
    store.put("/f/a", "1").await;
    let mut follower = follower(&store);
    follower.next().await.unwrap();
    retrying(follower.next().await);
    *store.rewind.lock().unwrap() = 1;
    let ended = Ended::Rewound { seen: Revision(2), found: Revision(1) };
    for _ in 0..2 {
        assert!(matches!(follower.next().await, Err(Interruption::Ended(e)) if e == ended));
        *store.rewind.lock().unwrap() = 0;
    }

    let mut foreign = Follower::new(store, Options::new("/f/"), Box::new(|| 0.5)).expect_cluster(2);
    let ended = Ended::Foreign { expected: 2, found: 1 };
    assert!(matches!(foreign.next().await, Err(Interruption::Ended(e)) if e == ended));
}

#[tokio::test(start_paused = true)]
async fn dropped_calls_lose_nothing() {
    let store = Faulty::new([Fault::Break(3), Fault::Refuse, Fault::Repeat]);
    let mut follower = follower(&store);
    let mut mirror = BTreeMap::new();
    for n in 0..40_u64 {
        store.put(&format!("/f/{}", n % 7), &n.to_string()).await;
        // A call is given so little time that many are dropped in the middle of a wait.
        while let Ok(Ok(change)) = tokio::time::timeout(Duration::from_millis(7), follower.next()).await {
            mirror.extend(change.upserts.into_iter().map(|e| (e.key, e.value)));
        }
    }
    let expected = store.list("/f/").await.unwrap().entries;
    assert_eq!(mirror, expected.into_iter().map(|e| (e.key, e.value)).collect());
}
