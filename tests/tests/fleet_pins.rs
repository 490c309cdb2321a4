//! Commits that come to the wrong cell: by a replica that mixes up pins and by nodes that are wrong about their cell, each
//! is noticed by the simulation, and without it the same history is clean.

#![expect(clippy::expect_used, reason = "a test: it fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use meridian_store::{Entry, Event, LeaseId, Listing, Result, Revision, Store, Txn, TxnOutcome, Watch};
use meridian_testkit::EventLog;
use meridian_tests::simulation::{Play, Schedule, cell};

/// A seed whose operator does much about rollouts.
const SEED: u64 = 5;

/// A replica's reading of the store, which takes the pin of a region's canary for that of its other nodes, too.
struct MixesUpCells(Arc<dyn Store>);

fn other(key: &str) -> Option<String> {
    let region = key.strip_suffix("/canary").filter(|_| key.contains("/pin/"))?;
    Some(format!("{region}/main"))
}

fn mixed_up(entry: &Entry) -> Option<Entry> {
    Some(Entry { key: other(&entry.key)?, ..entry.clone() })
}

fn mixed_up_event(event: &Event) -> Option<Event> {
    match event {
        Event::Put(entry) => mixed_up(entry).map(Event::Put),
        Event::Delete { key, revision } => Some(Event::Delete { key: other(key)?, revision: *revision }),
    }
}

#[async_trait]
impl Store for MixesUpCells {
    async fn list(&self, prefix: &str) -> Result<Listing> {
        let mut listing = self.0.list(prefix).await?;
        let more: Vec<_> = listing.entries.iter().filter_map(mixed_up).collect();
        listing.entries.extend(more);
        Ok(listing)
    }
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        let watch = self.0.watch(prefix, from).await?;
        Ok(Watch::new(watch.map(|batch| {
            let mut batch = batch?;
            let more: Vec<_> = batch.events.iter().filter_map(mixed_up_event).collect();
            batch.events.extend(more);
            Ok(batch)
        })))
    }
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.0.txn(txn).await
    }
    async fn cluster_id(&self) -> Result<u64> {
        self.0.cluster_id().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.0.get(key).await
    }
    async fn compact(&self, at: Revision) -> Result<()> {
        self.0.compact(at).await
    }
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        self.0.grant_lease(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.0.keep_alive(lease).await
    }
    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.0.revoke_lease(lease).await
    }
}

/// Two nodes of the region whose canary goes first have changed places.
fn changed_places(node: &str) -> &'static str {
    match node {
        "ap-southeast-1" => "main",
        "ap-southeast-2" => "canary",
        other => cell(other),
    }
}

/// What the simulation says is broken.
fn told(play: &Play) -> String {
    play.run(&EventLog::default()).expect_err("it is not noticed").to_string()
}

#[test]
fn without_a_bug_commits_come_cell_by_cell_and_none_to_a_cell_that_was_not_to_run_it() {
    let log = EventLog::default();
    Play::of(SEED, Schedule::calm()).run(&log).unwrap();
    let lines = log.lines();
    for act in ["ap-southeast/canary is pinned to", "Paused", "rolls back to"] {
        assert!(lines.iter().any(|line| line.contains(act)), "nothing like {act:?} happened: {lines:#?}");
    }
}

#[test]
fn a_replica_that_takes_one_cells_pin_for_anothers_is_noticed() {
    let wrap = |inner: Arc<dyn Store>| Arc::new(MixesUpCells(inner)) as Arc<dyn Store>;
    let told = told(&Play::of(SEED, Schedule::calm()).over(Arc::new(wrap)));
    assert!(told.contains("which ap-southeast/main was never to run"), "{told}");
}

#[test]
fn a_node_that_applies_what_another_cell_is_to_run_is_noticed() {
    let told = told(&Play::of(SEED, Schedule::calm()).placed(changed_places));
    assert!(told.contains("ap-southeast-2 serves commit"), "{told}");
    assert!(told.contains("which ap-southeast/main was never to run"), "{told}");
}
