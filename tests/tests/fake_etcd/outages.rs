//! The fake fails as the real one was measured to fail.

use std::sync::atomic::Ordering;
use std::time::Duration;

use meridian_store::{Error, Revision, Store, Txn};
use meridian_testkit::eventually;
use tokio::time::{Instant, sleep, timeout};

use crate::sandbox::{Faked, MEMBERS, PATIENCE, simulated};

async fn put(faked: &Faked, key: &str) -> Result<Revision, Error> {
    Ok(faked.store.txn(Txn::new().put(key.to_owned(), "x")).await?.revision)
}

#[test]
fn a_lost_quorum_ends_watches_and_fails_reads_and_writes_until_it_is_back() {
    simulated(|faked| {
        Box::pin(async move {
            eventually("the first write", PATIENCE, async || put(&faked, "/a").await.is_ok()).await;
            let mut watch = faked.store.watch("/", put(&faked, "/a").await.unwrap().next()).await.unwrap();
            (0..MEMBERS).for_each(|n| faked.cluster.isolate(n, true));
            let start = Instant::now();
            let ended = timeout(PATIENCE, watch.recv()).await.expect("a watch in a lost quorum does not stay silent");
            assert!(matches!(ended, Err(Error::WatchLost { .. })), "{ended:?}");
            // Measured with real members: 4.1 s.
            assert!(
                (Duration::from_secs(2)..Duration::from_secs(6)).contains(&start.elapsed()),
                "{:?}",
                start.elapsed()
            );
            assert!(put(&faked, "/b").await.is_err());
            assert!(matches!(faked.store.get("/a").await, Err(Error::Unavailable { .. })));
            (0..MEMBERS).for_each(|n| faked.cluster.isolate(n, false));
            eventually("a write", PATIENCE, async || put(&faked, "/c").await.is_ok()).await;
        })
    });
}

#[test]
fn a_leaders_death_stops_writes_for_an_election_and_starts_every_lease_anew() {
    simulated(|faked| {
        Box::pin(async move {
            eventually("the first write", PATIENCE, async || put(&faked, "/a").await.is_ok()).await;
            let ttl = Duration::from_secs(4);
            let lease = faked.store.grant_lease(ttl).await.unwrap();
            faked.store.txn(Txn::new().put_with_lease("/leased", "x", lease)).await.unwrap();
            sleep(ttl / 2).await;
            faked.wishes.down.store(1 << faked.cluster.leader().unwrap(), Ordering::SeqCst);
            let start = Instant::now();
            sleep(Duration::from_millis(20)).await;
            eventually("a write after the election", PATIENCE, async || put(&faked, "/b").await.is_ok()).await;
            let pause = start.elapsed();
            assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&pause), "{pause:?}");
            let gone = async || matches!(faked.store.get("/leased").await, Ok(None));
            eventually("the end of the lease", PATIENCE, gone).await;
            // Measured with real members: a lease of 4 s, 2 s old, lasted 6.5 to 7 s after the crash.
            assert!(start.elapsed() > ttl, "{:?}", start.elapsed());
        })
    });
}

#[test]
fn a_write_whose_answer_is_lost_is_unknown_and_was_done() {
    simulated(|faked| {
        Box::pin(async move {
            eventually("the first write", PATIENCE, async || put(&faked, "/a").await.is_ok()).await;
            faked.cluster.lose_replies(1);
            let lost = put(&faked, "/lost").await;
            assert!(matches!(lost, Err(Error::OutcomeUnknown { .. })), "{lost:?}");
            assert!(faked.store.get("/lost").await.unwrap().is_some());
        })
    });
}
