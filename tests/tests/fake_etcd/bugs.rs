//! Historical bugs, of servers and of clients: switched on, each is detected; switched off, all is clean. And our own
//! loop survives those that a client can survive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Channel, Client, WatchOptions};
use hyper_util::rt::TokioIo;
use meridian_store::follow::{Ended, Follower, Interruption, Options};
use meridian_store::{Store, Txn};
use meridian_testkit::{MemoryFiles, eventually, simulated_host};
use meridian_tests::etcd::Bug;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tonic::transport::{Endpoint, Uri};

use crate::careless::{Careless, Mistake};
use crate::sandbox::{Faked, MEMBERS, PATIENCE, PORT, connect, host, simulated};

const PREFIX: &str = "/h/";
/// Every so many writes a key from so many writes before is deleted; else each write makes a key of its own, so that
/// nothing that was lost comes again.
const DELETE_EVERY: u64 = 7;
/// The writer writes for this long ...
const BUSY: Duration = Duration::from_secs(12);
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// ... compacts after so many writes ...
const COMPACT_EVERY: u64 = 5;
/// ... and the follower's member is away from and until then.
const AWAY: std::ops::Range<Duration> = Duration::from_secs(3)..Duration::from_secs(6);
/// Whoever has not caught up after this long has lost something.
const SETTLE: Duration = Duration::from_secs(12);

/// Follows a busy prefix through the death of a member; the mirror at the end, and what the store holds.
async fn follow(faked: &Faked, mistake: Mistake, audit: Option<Duration>) -> [BTreeMap<String, Bytes>; 2] {
    let hosts: Vec<String> = (0..MEMBERS).map(host).collect();
    let inner: Arc<dyn Store> = Arc::new(connect(&hosts).await);
    // The writer asks the members in another order, so that it goes on while the follower's is away.
    let writer = connect(&hosts.iter().rev().cloned().collect::<Vec<_>>()).await;
    let ready = async || writer.txn(Txn::new().put("/h/first", "x")).await.is_ok();
    eventually("the first write", PATIENCE, ready).await;

    let careless = Arc::new(Careless { inner: inner.clone(), mistake });
    let options = Options { backoff_max: Duration::from_secs(1), audit, ..Options::new(PREFIX) };
    let mut follower = Follower::new(careless, options, Box::new(|| 0.5));
    let mut mirror = BTreeMap::new();
    let start = Instant::now();
    let following = async {
        let mut last = meridian_store::Revision::ZERO;
        while let Ok(next) = timeout_at(start + BUSY + SETTLE, follower.next()).await {
            match next {
                Ok(change) => {
                    assert!(change.resync || change.revision > last, "{} after {last}", change.revision);
                    last = change.revision;
                    change.deletes.iter().for_each(|key| drop(mirror.remove(key)));
                    mirror.extend(change.upserts.into_iter().map(|entry| (entry.key, entry.value)));
                }
                Err(Interruption::Retrying(_)) => {}
                Err(Interruption::Ended(ended @ (Ended::Foreign { .. } | Ended::Rewound { .. }))) => panic!("{ended}"),
            }
        }
    };
    let writing = async {
        for n in 0u64.. {
            let at = start.elapsed();
            if at >= BUSY {
                break;
            }
            faked.wishes.down.store(u64::from(AWAY.contains(&at)), Ordering::SeqCst);
            let txn = match n.checked_sub(DELETE_EVERY) {
                Some(before) if n % DELETE_EVERY == 0 => Txn::new().delete(format!("{PREFIX}{before}")),
                _ => Txn::new().put(format!("{PREFIX}{n}"), n.to_string()),
            };
            // In an election nothing is written; that is not what this is about.
            let _ = writer.txn(txn).await;
            if n % COMPACT_EVERY == 0 {
                faked.cluster.compact();
            }
            sleep(WRITE_EVERY).await;
        }
    };
    tokio::join!(following, writing);
    let held = inner.list(PREFIX).await.unwrap().entries;
    [mirror, held.into_iter().map(|entry| (entry.key, entry.value)).collect()]
}

/// Whether the mirror equals the store in the end.
fn converges(bug: Option<Bug>, mistake: Mistake, audit: Option<Duration>) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    simulated(move |faked| {
        Box::pin(async move {
            bug.into_iter().for_each(|bug| faked.cluster.switch_on(bug));
            let [mirror, held] = follow(&faked, mistake, audit).await;
            assert!(held.len() > 20, "the test writes");
            tell.send(mirror == held).unwrap();
        })
    });
    told.recv().unwrap()
}

const AUDIT: Option<Duration> = Some(Duration::from_secs(4));

#[test]
fn without_a_bug_the_mirror_equals_the_store() {
    assert!(converges(None, Mistake::None, None));
}

#[test]
fn a_server_that_loses_events_after_a_compaction_is_detected_and_the_audit_repairs_it() {
    let bug = Some(Bug::LosesEventsAfterCompaction);
    assert!(!converges(bug, Mistake::None, None), "nothing was lost: the bug does not show");
    assert!(converges(bug, Mistake::None, AUDIT));
}

#[test]
fn a_client_that_starts_from_now_and_not_from_its_list_is_detected_and_the_audit_repairs_it() {
    assert!(!converges(None, Mistake::StartsFromNow, None), "nothing was lost: the mistake does not show");
    assert!(converges(None, Mistake::StartsFromNow, AUDIT));
}

#[test]
fn a_client_that_loses_updates_after_a_watch_timeout_is_detected_and_the_audit_repairs_it() {
    assert!(converges(None, Mistake::TimesOut, None), "a timeout alone loses nothing");
    assert!(!converges(None, Mistake::SkipsOnTimeout, None), "nothing was lost: the mistake does not show");
    assert!(converges(None, Mistake::SkipsOnTimeout, AUDIT));
}

#[test]
fn servers_that_repeat_go_back_or_ignore_the_start_disturb_no_mirror() {
    for bug in [Bug::RepeatsEvents, Bug::GoesBack, Bug::IgnoresFutureRevision] {
        assert!(converges(Some(bug), Mistake::None, None), "{bug:?}");
    }
}

/// The revisions that a bare watch delivers, without any of our own filters.
async fn bare_watch(from: i64, count: usize) -> Vec<i64> {
    let network = simulated_host(3, Arc::new(MemoryFiles::default())).net;
    let dial = move |_: Uri| {
        let network = network.clone();
        async move {
            let connection = network.connect(&format!("{}:{PORT}", host(0))).await?;
            Ok::<_, std::io::Error>(TokioIo::new(connection.io))
        }
    };
    let channel = Endpoint::from_static("http://etcd").connect_with_connector_lazy(tower::service_fn(dial));
    let client = Client::from_channel(Channel::Tonic(channel), None).await.unwrap();
    let options = WatchOptions::new().with_prefix().with_start_revision(from);
    let mut stream = client.watch_client().watch(PREFIX, Some(options)).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < count {
        let Ok(Ok(Some(message))) = timeout(Duration::from_secs(2), stream.message()).await else { break };
        seen.extend(message.events().iter().filter_map(|event| Some(event.kv()?.mod_revision())));
    }
    seen
}

/// Whether a bare watch from two revisions ahead delivers what it should.
fn is_orderly(bug: Option<Bug>) -> bool {
    let (tell, told) = std::sync::mpsc::channel();
    simulated(move |faked| {
        Box::pin(async move {
            bug.into_iter().for_each(|bug| faked.cluster.switch_on(bug));
            let ready = async || faked.store.txn(Txn::new().put("/h/first", "x")).await.is_ok();
            eventually("the first write", PATIENCE, ready).await;
            let from = faked.cluster.revision() + 3;
            let writing = async {
                for n in 0..8 {
                    sleep(WRITE_EVERY).await;
                    faked.store.txn(Txn::new().put(format!("{PREFIX}{n}"), "x")).await.unwrap();
                }
            };
            let (seen, ()) = tokio::join!(bare_watch(from, 6), writing);
            tell.send(seen == (from..from + 6).collect::<Vec<_>>()).unwrap();
        })
    });
    told.recv().unwrap()
}

#[test]
fn repeats_steps_back_and_early_events_are_really_there() {
    assert!(is_orderly(None));
    for bug in [Bug::RepeatsEvents, Bug::GoesBack, Bug::IgnoresFutureRevision] {
        assert!(!is_orderly(Some(bug)), "{bug:?} does not show");
    }
}
