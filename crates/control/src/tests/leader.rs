//! One plans, others can, and what was planned outlives all of them.

use std::time::Duration;

use meridian_proto::fleet::v1::RegionState;
use meridian_proto::node::v1::BeatReply;
use meridian_store::memory::MemoryStore;
use meridian_store::{Revision, Store, Txn};

use super::fleet::nodes;
use super::node::Pulsing;
use super::sandbox::{LIMIT, Replica, apply, everything, shown, weights};

/// Waits until a node is told whether anybody plans.
async fn told_leaderless(node: &mut Pulsing, leaderless: bool) {
    let says = |reply: &Option<BeatReply>| reply.as_ref().is_some_and(|reply| reply.leaderless == leaderless);
    tokio::time::timeout(LIMIT, node.replies.wait_for(says)).await.expect("the node is told").unwrap();
}

#[tokio::test]
async fn a_restarted_control_plane_keeps_weights_drains_and_verdicts() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let mut fleet = nodes(&replica).await;
    replica.fleet_with("all serve", |fleet| weights(fleet) == [334, 333, 333]).await;
    replica.drain("us", true).await.unwrap();
    // ap dies, and the others see it.
    fleet.remove(0).kill();
    fleet.iter().for_each(|node| node.lose("ap/n-ap"));
    let is_settled = |fleet: &meridian_proto::admin::v1::Fleet| {
        let states = [RegionState::Down, RegionState::Serving, RegionState::Drained];
        fleet.regions.iter().map(|region| region.state()).eq(states)
            && weights(fleet) == [0, 1000, 0]
            && shown(fleet, "ap").evidence.starts_with("down")
    };
    let before = replica.fleet_with("settled", is_settled).await;
    replica.kill();
    drop(fleet);

    let mut replica = Replica::start(&store, "cp-1").await;
    let is_planning = |fleet: &meridian_proto::admin::v1::Fleet| fleet.leader == "cp-1";
    let after = replica.fleet_with("a leader", is_planning).await;
    for (before, after) in before.regions.iter().zip(&after.regions) {
        assert_eq!((before.state, before.weight, before.drained), (after.state, after.weight, after.drained));
    }
    // Nobody pulses, for longer than an unseen node is given: nothing moves.
    tokio::time::sleep(meridian_health::UNSEEN_GRACE + Duration::from_millis(500)).await;
    let after = replica.fleet().await;
    assert_eq!(weights(&after), [0, 1000, 0]);
    assert_eq!(shown(&after, "ap").state, shown(&before, "ap").state);
    replica.stop().await;
}

#[tokio::test]
async fn of_two_replicas_one_leads_and_the_other_takes_over() {
    let store = MemoryStore::new(1);
    let mut one = Replica::start(&store, "cp-1").await;
    one.apply(apply(0, everything(), Vec::new())).await;
    one.fleet_with("the first leads", |fleet| fleet.leader == "cp-1").await;
    let mut two = Replica::start(&store, "cp-2").await;
    let _nodes = nodes(&two).await;
    two.fleet_with("the follower sees the leader", |fleet| fleet.leader == "cp-1").await;
    assert!(two.handle.readiness().check().is_ok());
    // A clean stop gives the seat back at once.
    one.stop().await;
    let seen = two.fleet_with("the second leads", |fleet| fleet.leader == "cp-2").await;
    assert_eq!(seen.replica, "cp-2");
    let seen = two.fleet_with("it plans", |fleet| weights(fleet) == [334, 333, 333]).await;
    assert_eq!(seen.plan.unwrap().made_by, "cp-2");
    two.stop().await;
}

#[tokio::test]
async fn a_leader_whose_seat_is_taken_away_writes_nothing_more() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    replica.fleet_with("it leads", |fleet| fleet.leader == "cp-1" && fleet.plan.is_some()).await;
    let layout = crate::store::Layout::new("test");
    // Another process holds the seat now.
    let rival = meridian_proto::store::v1::Replica { form: 1, replica: "cp-9".to_owned(), address: String::new() };
    store.txn(Txn::new().delete(layout.leader())).await.unwrap();
    let taken = Txn::new().put(layout.leader(), crate::store::document::write(&rival));
    store.txn(taken).await.unwrap();
    let plan = async || store.get(&layout.plan()).await.unwrap().map_or(Revision::ZERO, |entry| entry.mod_revision);
    replica.fleet_with("the rival is seen", |fleet| fleet.leader == "cp-9").await;
    let before = plan().await;
    // Whatever happens, cp-1 does not plan.
    let mut nodes = nodes(&replica).await;
    told_leaderless(&mut nodes[0], false).await;
    replica.drain("us", true).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(plan().await, before);
    store.txn(Txn::new().delete(layout.leader())).await.unwrap();
    replica.fleet_with("it leads again", |fleet| fleet.leader == "cp-1" && weights(fleet)[2] == 0).await;
    replica.stop().await;
}

#[tokio::test]
async fn with_the_store_lost_no_plan_is_made_and_afterwards_planning_goes_on() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let mut fleet = nodes(&replica).await;
    let before = replica.fleet_with("all serve", |fleet| weights(fleet) == [334, 333, 333]).await;
    store.set_available(false);
    replica.fleet_with("read-only", |fleet| !fleet.read_only.is_empty()).await;
    told_leaderless(&mut fleet[1], true).await;
    fleet.remove(0).kill();
    fleet.iter().for_each(|node| node.lose("ap/n-ap"));
    // Longer than a leader trusts its lease.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(replica.fleet().await.plan.unwrap().number, before.plan.unwrap().number);
    store.set_available(true);
    replica.fleet_with("ap is down", |fleet| weights(fleet) == [0, 500, 500]).await;
    told_leaderless(&mut fleet[0], false).await;
    replica.stop().await;
}
