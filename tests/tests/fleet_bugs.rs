//! Historical bugs of control planes, re-created between a replica and its store: each breaks a promise that the
//! simulation watches, and without it the same history is clean.

#![expect(clippy::expect_used, reason = "a test: it fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use meridian_store::{Entry, LeaseId, Listing, Op, Result, Revision, Store, Txn, TxnOutcome, Watch};
use meridian_testkit::EventLog;
use meridian_tests::simulation::Play;

/// The writer with the stale plan is late by so many plans.
const PLANS_BEFORE: u64 = 2;
/// More than a commit may have, less than etcd takes.
const BLOATED_BYTES: usize = 1_300_000;

/// Which bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// After a restart versions begin anew: the plan in the store is not read (Contour issue 6250).
    ForgetsVersions,
    /// A stale writer leaves an empty plan behind, without comparing anything (AWS DynamoDB DNS, October 2025).
    EmptiesPlan,
    /// A generated file grows beyond what its readers take (Cloudflare, November 2025).
    BloatsCommits,
}

/// A store with a bug.
struct Buggy {
    inner: Arc<dyn Store>,
    bug: Bug,
    plans: Arc<AtomicU64>,
}

fn is_plan(key: &str) -> bool {
    key.ends_with("/plan")
}

impl Buggy {
    /// The transaction as the bug writes it.
    fn spoil(&self, txn: Txn) -> Txn {
        let careless = self.bug != Bug::BloatsCommits;
        let compares = txn.compares().iter().filter(|compare| !(careless && is_plan(compare.key())));
        let spoiled = compares.fold(Txn::new(), |spoiled, compare| spoiled.when(compare.clone()));
        txn.ops().iter().fold(spoiled, |spoiled, op| match op {
            Op::Put { key, value, lease: None } => spoiled.put(key, self.value(key, value)),
            Op::Put { key, value, lease: Some(lease) } => spoiled.put_with_lease(key, value.clone(), *lease),
            Op::Delete { key } => spoiled.delete(key),
        })
    }

    fn value(&self, key: &str, value: &Bytes) -> Bytes {
        match self.bug {
            Bug::EmptiesPlan if is_plan(key) && self.plans.fetch_add(1, Ordering::SeqCst) >= PLANS_BEFORE => {
                Bytes::new()
            }
            Bug::BloatsCommits if key.contains("/commit/") => Bytes::from(vec![0x5a; BLOATED_BYTES]),
            _ => value.clone(),
        }
    }
}

#[async_trait]
impl Store for Buggy {
    async fn list(&self, prefix: &str) -> Result<Listing> {
        let mut listing = self.inner.list(prefix).await?;
        if self.bug == Bug::ForgetsVersions {
            listing.entries.retain(|entry| !is_plan(&entry.key));
        }
        Ok(listing)
    }
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.inner.txn(self.spoil(txn)).await
    }
    async fn cluster_id(&self) -> Result<u64> {
        self.inner.cluster_id().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get(key).await
    }
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        self.inner.watch(prefix, from).await
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

/// What the simulation says of the bug.
fn told(bug: Bug) -> String {
    let plans = Arc::new(AtomicU64::new(0));
    let wrap = move |inner: Arc<dyn Store>| Arc::new(Buggy { inner, bug, plans: plans.clone() }) as Arc<dyn Store>;
    let outcome = Play::restart_of_control(5).over(Arc::new(wrap)).run(&EventLog::default());
    outcome.expect_err("the bug is not detected").to_string()
}

#[test]
fn without_a_bug_a_restart_of_the_whole_control_plane_breaks_no_promise() {
    Play::restart_of_control(5).run(&EventLog::default()).unwrap();
}

#[test]
fn plan_numbers_that_begin_anew_after_a_restart_are_detected() {
    let told = told(Bug::ForgetsVersions);
    assert!(told.contains("was written after plan"), "{told}");
}

#[test]
fn an_empty_plan_of_a_stale_writer_is_detected() {
    let told = told(Bug::EmptiesPlan);
    assert!(told.contains("the store has a plan that is none"), "{told}");
}

#[test]
fn a_commit_that_no_reader_takes_is_detected() {
    let told = told(Bug::BloatsCommits);
    assert!(told.contains("has 1300000 bytes"), "{told}");
}
