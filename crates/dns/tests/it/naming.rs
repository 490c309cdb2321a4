//! What an authority says of its own answers: which regions they name, and until when caches may.

use std::sync::Arc;
use std::time::Duration;

use meridian_dns::{Handle, Options, Service};
use meridian_host::Host;
use meridian_types::{CommitId, Plan, PlanId, RegionState};
use prometheus_client::registry::Registry;

use crate::world::{AP, EU, US, configuration, plan, region, with_state, zone};

/// An authority that serves nobody.
async fn start(plan: Plan) -> Handle {
    let host = Host::real();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let options = Options {
        udp: host.net.datagrams(loopback, 1).await.unwrap(),
        tcp: host.net.listen(loopback).await.unwrap(),
        geo: None,
        geo_file: None,
        node: "node-1".to_owned(),
        host: host.clone(),
        cookies: None,
        rate_limit: None,
        query_log_one_in: None,
    };
    let handle = Service::new(options, &mut Registry::default()).handle();
    handle.update(CommitId(3), Arc::new(configuration(zone())), Some(Arc::new(plan)));
    handle
}

/// Whether answers name it, since when they do not, and for how long from then on caches hold it; in seconds.
fn of(handle: &Handle, name: &str) -> (Option<u32>, u64, u64) {
    let served = handle.served();
    let naming = &served.regions[&region(name)];
    let share = naming.named.as_ref().map(|(_, permille)| *permille);
    (share, naming.unnamed_for.as_secs(), naming.cached_for.as_secs())
}

fn moving(mut plan: Plan, name: &str) -> Plan {
    plan.regions.get_mut(&region(name)).unwrap().target_weight = 0;
    plan
}

#[tokio::test(start_paused = true)]
async fn a_region_counts_as_cached_for_the_ttl_of_the_last_answers_that_named_it() {
    let handle = start(plan()).await;
    let wait = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;
    wait(100).await;
    assert_eq!(of(&handle, EU), (Some(1000), 0, 30));
    assert_eq!(handle.served().plan, Some(PlanId { epoch: 1, number: 7 }));

    // While the region's share moves answers live for 5 s; older ones are still held for up to 30.
    handle.set_plan(Arc::new(moving(plan(), EU)));
    assert_eq!(of(&handle, EU), (Some(1000), 0, 30));
    wait(2).await;
    assert_eq!(of(&handle, EU), (Some(1000), 0, 28));

    handle.set_plan(Arc::new(with_state(plan(), EU, RegionState::Drained)));
    assert_eq!(of(&handle, EU), (None, 0, 28));
    wait(10).await;
    assert_eq!(of(&handle, EU), (None, 10, 28));
    assert_eq!(of(&handle, US), (Some(1000), 0, 30));

    // With every region drained the zone's policy names them again, plan or not.
    let mut all = plan();
    for name in [US, EU, AP] {
        all = with_state(all, name, RegionState::Drained);
    }
    handle.set_plan(Arc::new(all));
    assert!(of(&handle, EU).0.is_some());
    let name = handle.served().regions[&region(EU)].named.clone().unwrap().0;
    assert_eq!(name.to_string(), "api.gslb.example");
    handle.set_plan(Arc::new(with_state(plan(), EU, RegionState::Drained)));
    wait(60).await;
    assert_eq!(of(&handle, EU), (None, 60, 18));
}

#[tokio::test(start_paused = true)]
async fn what_a_process_before_this_one_may_have_answered_is_not_forgotten() {
    let handle = start(with_state(plan(), EU, RegionState::Drained)).await;
    assert_eq!(of(&handle, EU), (None, 0, 30));
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(of(&handle, EU), (None, 31, 30));
}
