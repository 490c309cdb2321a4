//! A planner that goes wrong does not get its plan published.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use meridian_proto::admin::v1::{self as admin, event::Kind};
use meridian_store::memory::MemoryStore;
use meridian_types::{Plan, RegionName, Shares};

use super::events::{until, watch};
use super::fleet::nodes;
use super::sandbox::{self, LIMIT, Replica, apply, everything, weights};
use crate::planner::{self, Inputs, Memory};

/// Whether the planner goes wrong now: nothing else of this process plans so.
static IS_BROKEN: AtomicBool = AtomicBool::new(false);
/// How often it has.
static WENT_WRONG: AtomicUsize = AtomicUsize::new(0);

/// Leaves all of `us` to a region that does not take traffic.
fn broken(inputs: &Inputs, previous: Option<&Plan>, memory: &mut Memory) -> Option<Plan> {
    let mut plan = planner::next(inputs, previous, memory)?;
    let drained = inputs.regions.iter().find(|(_, region)| !region.state.takes_traffic()).map(|(name, _)| name.clone());
    if let (true, Some(drained)) = (IS_BROKEN.load(Ordering::SeqCst), drained) {
        let us = plan.regions.get_mut(&"us".parse::<RegionName>().unwrap()).unwrap();
        us.settled.as_mut().unwrap().placement = Shares::from([(drained, 1000)]);
        WENT_WRONG.fetch_add(1, Ordering::SeqCst);
    }
    Some(plan)
}

#[tokio::test]
async fn a_plan_that_breaks_a_promise_is_not_published_and_the_one_before_says_why_it_stays() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::built(Arc::new(store.clone()), "cp-1", |service| service.with_planner(broken)).await;
    tokio::time::timeout(LIMIT, replica.handle.readiness().wait()).await.unwrap();
    replica.apply(apply(0, everything(), Vec::new())).await;
    let _nodes = nodes(&replica).await;
    replica.fleet_with("all serve", |fleet| weights(fleet) == [334, 333, 333]).await;

    let mut events = watch(&mut replica, "").await;
    IS_BROKEN.store(true, Ordering::SeqCst);
    replica.drain("eu", true).await.unwrap();
    let told =
        |fleet: &admin::Fleet| fleet.plan.as_ref().is_some_and(|plan| plan.reason.starts_with("the plan before stays"));
    let stays = replica.fleet_with("it is told", told).await.plan.unwrap();
    assert!(stays.reason.ends_with("clients of us go to eu, which takes no traffic"), "{}", stays.reason);
    assert_eq!(stays.regions.iter().map(|region| region.weight).collect::<Vec<_>>(), [334, 333, 333]);
    // Once, however often the planner says the same.
    let before = WENT_WRONG.load(Ordering::SeqCst);
    sandbox::until("it says the same again and again", async || WENT_WRONG.load(Ordering::SeqCst) >= before + 4).await;
    assert_eq!(replica.fleet().await.plan.unwrap().number, stays.number);
    until(&mut events, |kind, event| kind == Kind::Plan && event.text == stays.reason).await;

    IS_BROKEN.store(false, Ordering::SeqCst);
    replica.fleet_with("the drain is planned", |fleet| weights(fleet) == [500, 0, 500]).await;
    replica.stop().await;
}
