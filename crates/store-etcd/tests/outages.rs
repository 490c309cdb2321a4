//! What an etcd that dies, freezes or loses its quorum looks like from here.

#![expect(clippy::unwrap_used, reason = "test set-up outside of test functions")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use meridian_store::follow::{self, Follower};
use meridian_store::{Compare, Error, Revision, Store, Txn};
use meridian_store_etcd::testing::EtcdProcess;
use meridian_store_etcd::{EtcdOptions, EtcdStore};
use tokio::time::{Instant, timeout};

/// Far more than any of this needs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn store(members: &[&EtcdProcess]) -> EtcdStore {
    EtcdStore::connect(EtcdOptions::new(members.iter().map(|m| m.endpoint()))).await.unwrap()
}

async fn put(store: &EtcdStore, key: &str) -> Result<Revision, Error> {
    Ok(store.txn(Txn::new().put(key, "x")).await?.revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_notices_a_server_that_is_frozen_and_goes_on_after_it_thaws() {
    let etcd = EtcdProcess::start().await;
    let store = store(&[&etcd]).await;
    let first = put(&store, "/frozen/1").await.unwrap();
    let mut watch = store.watch("/frozen/", first).await.unwrap();
    assert_eq!(watch.recv().await.unwrap().revision, first);
    etcd.pause();
    let paused = Instant::now();
    let lost = timeout(PATIENCE, watch.recv()).await.expect("silence is noticed");
    assert!(matches!(lost, Err(Error::WatchLost { .. })), "{lost:?}");
    println!("a frozen server was noticed after {:?}", paused.elapsed());
    assert!(paused.elapsed() < Duration::from_secs(15));

    etcd.resume();
    let second = put(&store, "/frozen/2").await.unwrap();
    let mut again = store.watch("/frozen/", first.next()).await.unwrap();
    assert_eq!(timeout(PATIENCE, again.recv()).await.unwrap().unwrap().revision, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_watch_on_a_healthy_server_is_not_taken_for_dead() {
    let etcd = EtcdProcess::start().await;
    let store = store(&[&etcd]).await;
    let start = put(&store, "/quiet/1").await.unwrap();
    let mut watch = store.watch("/quiet/", start.next()).await.unwrap();
    // Longer than a frozen server takes to be noticed: the server answers questions, and does not mind our pings.
    assert!(timeout(Duration::from_secs(14), watch.recv()).await.is_err(), "nothing happened, so nothing is said");
    let next = put(&store, "/quiet/2").await.unwrap();
    assert_eq!(timeout(PATIENCE, watch.recv()).await.unwrap().unwrap().revision, next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_to_a_frozen_server_is_unknown_and_its_request_key_makes_it_happen_once() {
    let etcd = EtcdProcess::start().await;
    let store = store(&[&etcd]).await;
    put(&store, "/warm").await.unwrap();
    let once = || Txn::new().when(Compare::absent("/req/1")).put("/req/1", "x").put("/effect", "x");
    etcd.pause();
    let (write, read) = (store.txn(once()).await, store.get("/req/1").await);
    assert!(matches!(write, Err(Error::OutcomeUnknown { .. })), "{write:?}");
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    etcd.resume();
    // The frozen server may still carry it out or see that we gave up: the request key settles it either way.
    timeout(PATIENCE, async { while store.txn(once()).await.is_err() {} }).await.expect("it serves again");
    let effect = store.get("/effect").await.unwrap().unwrap();
    assert_eq!(effect.version, 1, "never twice");
    assert_eq!(store.get("/req/1").await.unwrap().unwrap().mod_revision, effect.mod_revision);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_server_is_unavailable_for_reads_and_writes_alike() {
    let mut etcd = EtcdProcess::start().await;
    let store = store(&[&etcd]).await;
    put(&store, "/before").await.unwrap();
    etcd.kill().await;
    // The first call may find a connection that is only just breaking; after that nothing leaves this machine.
    let _ = store.get("/before").await;
    let (write, read) = (put(&store, "/dead").await, store.get("/dead").await);
    assert!(matches!(write, Err(Error::Unavailable { .. })), "nothing was sent: {write:?}");
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    assert!(matches!(store.watch("/", Revision(1)).await, Err(Error::Unavailable { .. })));
    etcd.start_again();
    timeout(PATIENCE, async { while put(&store, "/after").await.is_err() {} }).await.expect("it comes back");
    assert_eq!(store.get("/dead").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_member_is_left_for_the_next_and_a_lost_quorum_is_told() {
    let mut members = EtcdProcess::start_cluster(3).await;
    let store = store(&members.iter().collect::<Vec<_>>()).await;
    put(&store, "/three").await.unwrap();

    members[0].kill().await;
    // If it was the leader, an election passes first.
    timeout(PATIENCE, async { while put(&store, "/two").await.is_err() {} }).await.expect("two of three serve");
    for n in 0..50 {
        put(&store, &format!("/two/{n}")).await.expect("no call is lost to the dead member");
    }
    let at = store.list("/two/").await.unwrap().revision;
    let mut watch = store.watch("/two/", at.next()).await.unwrap();

    members[1].kill().await;
    let ended = timeout(PATIENCE, watch.recv()).await.expect("a watch in a lost quorum does not stay silent");
    assert!(matches!(ended, Err(Error::WatchLost { .. })), "{ended:?}");
    let read = timeout(PATIENCE, store.get("/three")).await.unwrap();
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    assert!(put(&store, "/one").await.is_err());

    members[1].start_again();
    timeout(PATIENCE, async { while put(&store, "/two/again").await.is_err() {} }).await.expect("the quorum is back");
    assert_eq!(store.list("/two/").await.unwrap().entries.len(), 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_goes_on_over_every_members_death_and_compactions_between() {
    let mut members = EtcdProcess::start_cluster(3).await;
    let store = Arc::new(store(&members.iter().collect::<Vec<_>>()).await);
    let mut follower = Follower::new(store.clone(), follow::Options::new("/f/"), Box::new(|| 0.5));
    let mut mirror = BTreeMap::new();
    // Each member dies once, so that the leader does at least once.
    for (round, member) in members.iter_mut().enumerate() {
        member.kill().await;
        let mut last = Revision::ZERO;
        for n in 0..5 {
            let key = format!("/f/{}", n % 4);
            last = timeout(PATIENCE, async {
                loop {
                    let txn = Txn::new().put(&key, format!("{round}.{n}"));
                    match store.txn(txn).await {
                        Ok(outcome) => return outcome.revision,
                        Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
            })
            .await
            .expect("two of three serve");
        }
        // What the follower may not have seen yet is forgotten.
        let compact =
            async { while store.compact(last).await.is_err_and(|e| !matches!(e, Error::Compacted { .. })) {} };
        timeout(PATIENCE, compact).await.expect("it compacts");
        let caught_up = async {
            while follower.revision() < last {
                match follower.next().await {
                    Ok(change) => {
                        change.deletes.iter().for_each(|key| drop(mirror.remove(key)));
                        mirror.extend(change.upserts.into_iter().map(|entry| (entry.key, entry.value)));
                    }
                    Err(follow::Interruption::Retrying(_)) => {}
                    Err(ended) => panic!("{ended}"),
                }
            }
        };
        timeout(PATIENCE, caught_up).await.expect("the follower catches up");
        let held: BTreeMap<_, _> =
            store.list("/f/").await.unwrap().entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        assert_eq!(mirror, held, "round {round}");
        member.start_again();
        let back = async { while !answers(member).await {} };
        timeout(PATIENCE, back).await.expect("it comes back");
    }
}

async fn answers(member: &EtcdProcess) -> bool {
    store(&[member]).await.get("/f/0").await.is_ok()
}
