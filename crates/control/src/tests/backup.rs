//! Backup and restore over every store, with replicas before and after.

use meridian_host::Host;
use meridian_store::embedded::EmbeddedStore;
use meridian_store::memory::MemoryStore;
use meridian_store::{Store, Txn};
use meridian_store_etcd::testing::EtcdProcess;
use meridian_store_etcd::{EtcdOptions, EtcdStore};

use super::fleet::nodes;
use super::sandbox::{Replica, apply, everything, region, shown, weights};
use crate::backup::{FileError, RestoreError, restore, take};

/// A cluster with a drained region and a plan, and its backup. The plan's number and the data's identity.
async fn backed_up() -> (Vec<u8>, u64, u64) {
    let store = MemoryStore::new(0xfeed);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    replica.apply(apply(1, vec![region("us", 3.0)], Vec::new())).await;
    let nodes = nodes(&replica).await;
    replica.drain("us", true).await.unwrap();
    let fleet = replica.fleet_with("drained", |fleet| weights(fleet) == [500, 500, 0]).await;
    drop(nodes);
    let host = Host::real();
    // It can be taken while replicas run.
    let (file, keys) = take(&store, "test", &*host.clock).await.unwrap();
    assert!(keys > 8, "{keys}");
    replica.stop().await;
    (file, fleet.plan.unwrap().number, store.cluster_id().await.unwrap())
}

/// What a replica over the restored store shows.
async fn check_restored(store: &(impl Store + Clone), number: u64, epoch: u64) {
    let mut replica = Replica::over(std::sync::Arc::new(store.clone()), "cp-7").await;
    let fleet = replica
        .fleet_with("a plan of the new epoch", |fleet| fleet.plan.as_ref().is_some_and(|plan| plan.epoch == epoch));
    let fleet = fleet.await;
    assert_eq!(fleet.head_commit, 2);
    assert!(shown(&fleet, "us").drained);
    assert!(fleet.plan.unwrap().number > number, "numbers go on");
    assert_eq!(fleet.regions.iter().map(|region| region.weight).sum::<u32>(), 1000);
    assert_eq!(weights_of(&fleet.regions), [500, 500, 0], "from the restored plan, never from even weights");
    replica.apply(apply(2, vec![region("us", 4.0)], Vec::new())).await;
    replica.stop().await;
}

fn weights_of(regions: &[meridian_proto::admin::v1::FleetRegion]) -> Vec<u32> {
    regions.iter().map(|region| region.weight).collect()
}

#[tokio::test]
async fn a_backup_restores_into_memory_embedded_and_etcd_under_a_new_epoch() {
    let (file, number, _) = backed_up().await;
    let memory = MemoryStore::new(2);
    let restored = restore(&memory, "test", &file, false).await.unwrap();
    assert_eq!((restored.epoch, restored.removed), (1, 0));
    check_restored(&memory, number, 1).await;

    let dir = tempfile::tempdir().unwrap();
    let embedded = EmbeddedStore::open(dir.path(), 3).await.unwrap();
    restore(&embedded, "test", &file, false).await.unwrap();
    check_restored(&embedded, number, 1).await;
    embedded.close().await;

    let process = EtcdProcess::start().await;
    let etcd = std::sync::Arc::new(EtcdStore::connect(EtcdOptions::new([process.endpoint()])).await.unwrap());
    restore(&*etcd, "test", &file, false).await.unwrap();
    // What was added since goes, and the epoch rises again.
    etcd.txn(Txn::new().put("/meridian/test/ops/region/eu", "x")).await.unwrap();
    let again = restore(&*etcd, "test", &file, true).await.unwrap();
    assert_eq!((again.epoch, again.removed), (2, 1));
    let mut replica = Replica::over(etcd, "cp-7").await;
    let fleet = replica.fleet_with("a new plan", |fleet| fleet.plan.as_ref().is_some_and(|plan| plan.epoch == 2)).await;
    assert_eq!((fleet.head_commit, weights_of(&fleet.regions)), (2, vec![500, 500, 0]));
    replica.stop().await;
}

#[tokio::test]
async fn nodes_know_the_restored_cluster_again() {
    let (file, _, id) = backed_up().await;
    let store = MemoryStore::new(2);
    restore(&store, "test", &file, false).await.unwrap();
    let replica = Replica::start(&store, "cp-7").await;
    let node = super::node::Syncing::start(replica.address, "eu", "n-eu").await;
    assert_eq!((node.cluster_id, id), (0xfeed, 0xfeed));
    // Also what is backed up from there is still the same data.
    let (file, _) = take(&store, "test", &*Host::real().clock).await.unwrap();
    replica.stop().await;
    let third = MemoryStore::new(3);
    assert_eq!(restore(&third, "test", &file, false).await.unwrap().epoch, 2);
}

#[tokio::test]
async fn a_restore_over_something_that_lives_or_is_not_meant_is_refused_before_anything_is_written() {
    let (file, ..) = backed_up().await;
    let store = MemoryStore::new(2);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let refused = restore(&store, "test", &file, true).await;
    assert!(matches!(&refused, Err(RestoreError::InUse(who)) if who == "cp-1"), "{refused:?}");
    replica.stop().await;
    let before = store.list("/").await.unwrap();
    assert!(matches!(restore(&store, "test", &file, false).await, Err(RestoreError::NotEmpty(_))));
    assert!(matches!(restore(&store, "prod", &file, true).await, Err(RestoreError::OtherCluster { .. })));
    let cut = restore(&store, "test", &file[..file.len() - 1], true).await;
    assert!(matches!(cut, Err(RestoreError::File(FileError::Corrupt))), "{cut:?}");
    assert_eq!(store.list("/").await.unwrap(), before);
    restore(&store, "test", &file, true).await.unwrap();
}
