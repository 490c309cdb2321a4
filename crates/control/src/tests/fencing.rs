//! What a leader that is slow, deaf, blind or paused can still do: nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use meridian_proto::admin::v1 as admin;
use meridian_proto::store::v1 as stored;
use meridian_store::memory::MemoryStore;
use meridian_store::{Entry, Error, LeaseId, Listing, Result, Revision, Store, Txn, TxnOutcome, Watch};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fleet::nodes;
use super::sandbox::{LIMIT, Replica, apply, everything, until, weights};
use crate::store::{Layout, document};

/// The way of one replica to the store, which can be held up.
struct Gate {
    inner: MemoryStore,
    /// Nothing about leases gets an answer.
    deaf: watch::Sender<bool>,
    /// It cannot be followed: watches break, and lists fail.
    blind: watch::Sender<bool>,
    /// Lists that failed for it.
    unseen: watch::Sender<usize>,
    /// Plans that are being written wait; how many do.
    hold_plans: watch::Sender<bool>,
    held: watch::Sender<usize>,
}

impl Gate {
    fn new(inner: &MemoryStore) -> Arc<Self> {
        let (deaf, blind, hold_plans) = Default::default();
        let (unseen, held) = Default::default();
        Arc::new(Self { inner: inner.clone(), deaf, blind, unseen, hold_plans, held })
    }
}

async fn opened(gate: &watch::Sender<bool>) {
    let _ = gate.subscribe().wait_for(|closed| !closed).await;
}

#[async_trait]
impl Store for Gate {
    async fn cluster_id(&self) -> Result<u64> {
        self.inner.cluster_id().await
    }
    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Listing> {
        if *self.blind.borrow() {
            self.unseen.send_modify(|unseen| *unseen += 1);
            return Err(Error::unavailable("on purpose"));
        }
        self.inner.list(prefix).await
    }
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        if txn.ops().iter().any(|op| op.key().ends_with("/plan")) && *self.hold_plans.borrow() {
            self.held.send_modify(|held| *held += 1);
            opened(&self.hold_plans).await;
        }
        self.inner.txn(txn).await
    }
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        let watch = self.inner.watch(prefix, from).await?;
        let mut blind = self.blind.subscribe();
        let lost = async move { drop(blind.wait_for(|blind| *blind).await) };
        Ok(Watch::new(watch.take_until(Box::pin(lost))))
    }
    async fn compact(&self, at: Revision) -> Result<()> {
        self.inner.compact(at).await
    }
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        opened(&self.deaf).await;
        self.inner.grant_lease(ttl).await
    }
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        opened(&self.deaf).await;
        self.inner.keep_alive(lease).await
    }
    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        opened(&self.deaf).await;
        self.inner.revoke_lease(lease).await
    }
}

fn rival() -> stored::Replica {
    stored::Replica { form: 1, replica: "cp-9".to_owned(), address: String::new() }
}

#[tokio::test]
async fn a_plan_that_was_under_way_when_the_seat_changed_hands_is_fenced_off() {
    let store = MemoryStore::new(1);
    let gate = Gate::new(&store);
    let mut replica = Replica::over(gate.clone(), "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let _nodes = nodes(&replica).await;
    let before =
        replica.fleet_with("it plans", |fleet| weights(fleet) == [334, 333, 333] && fleet.plan.is_some()).await;
    let layout = Layout::new("test");

    // The leader is paused in the middle of a write ...
    gate.hold_plans.send_replace(true);
    replica.drain("us", true).await.unwrap();
    let waits = gate.held.subscribe().wait_for(|held| *held > 0).await.map(|held| *held);
    assert!(waits.is_ok());
    let planned = store.get(&layout.plan()).await.unwrap().unwrap().mod_revision;
    // ... meanwhile its lease ended and somebody else was elected, who has not planned yet ...
    store.txn(Txn::new().delete(layout.leader())).await.unwrap();
    store.txn(Txn::new().put(layout.leader(), document::write(&rival()))).await.unwrap();
    // ... and then it goes on.
    gate.hold_plans.send_replace(false);
    let seen = replica.fleet_with("the rival is seen", |fleet| fleet.leader == "cp-9").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(store.get(&layout.plan()).await.unwrap().unwrap().mod_revision, planned, "nothing of it was written");
    assert!(seen.plan.unwrap().number >= before.plan.unwrap().number);

    // When the rival is gone it leads again, and says what it had to.
    store.txn(Txn::new().delete(layout.leader())).await.unwrap();
    replica.fleet_with("it plans again", |fleet| fleet.leader == "cp-1" && weights(fleet)[2] == 0).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_leader_whose_renewals_get_no_answer_steps_down_before_its_lease_ends() {
    let store = MemoryStore::new(1);
    let gate = Gate::new(&store);
    let mut deaf = Replica::over(gate.clone(), "cp-1").await;
    deaf.apply(apply(0, everything(), Vec::new())).await;
    deaf.fleet_with("it leads", |fleet| fleet.leader == "cp-1" && fleet.plan.is_some()).await;
    let mut other = Replica::start(&store, "cp-2").await;
    let _nodes = (nodes(&deaf).await, nodes(&other).await);
    deaf.fleet_with("it plans", |fleet| weights(fleet) == [334, 333, 333]).await;
    let began = Instant::now();
    gate.deaf.send_replace(true);
    // It writes no plan any more well before the store gives its seat away: 4 s by its own clock, of the lease's 6.
    tokio::time::sleep(Duration::from_millis(4500)).await;
    let revision = async || store.get(&Layout::new("test").plan()).await.unwrap().unwrap().mod_revision;
    let before = revision().await;
    other.drain("us", true).await.unwrap();
    let still = other.fleet().await.leader == "cp-1" && began.elapsed() < Duration::from_millis(5500);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!still || revision().await == before, "the seat is still its own, and it does not use it");
    let led = |fleet: &admin::Fleet| fleet.leader == "cp-2" && weights(fleet)[2] == 0;
    let seen = other.fleet_with("the other one takes over", led).await;
    assert_eq!(seen.plan.unwrap().made_by, "cp-2");
    assert!(began.elapsed() < LIMIT);
    gate.deaf.send_replace(false);
    other.stop().await;
    deaf.stop().await;
}

#[tokio::test]
async fn a_leader_that_cannot_follow_the_store_gives_its_seat_back_until_it_can() {
    let store = MemoryStore::new(1);
    let gate = Gate::new(&store);
    let mut blind = Replica::over(gate.clone(), "cp-1").await;
    blind.apply(apply(0, everything(), Vec::new())).await;
    blind.fleet_with("it leads", |fleet| fleet.leader == "cp-1" && fleet.plan.is_some()).await;
    gate.blind.send_replace(true);
    let is_empty = async || store.get(&Layout::new("test").leader()).await.unwrap().is_none();
    until("the seat is given back", is_empty).await;
    // It could write, and has an empty seat before it while it goes on trying to see.
    let mut unseen = gate.unseen.subscribe();
    let later = *unseen.borrow() + 2;
    tokio::time::timeout(LIMIT, unseen.wait_for(|unseen| *unseen >= later)).await.unwrap().unwrap();
    assert!(is_empty().await, "it stands though it sees nothing");
    let mut other = Replica::start(&store, "cp-2").await;
    other.fleet_with("another one leads", |fleet| fleet.leader == "cp-2").await;
    other.stop().await;
    assert!(is_empty().await);
    gate.blind.send_replace(false);
    blind.fleet_with("it leads again", |fleet| fleet.leader == "cp-1" && fleet.read_only.is_empty()).await;
    blind.stop().await;
}
