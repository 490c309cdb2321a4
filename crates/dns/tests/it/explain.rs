//! What operators read.

use std::sync::Arc;

use meridian_dns::{Handle, Options, Service, Transport, answer};
use meridian_host::Host;
use meridian_types::{CommitId, Plan, RegionState};
use prometheus_client::registry::Registry;

use crate::world::{
    AP, CALIFORNIA, EU, NOWHERE, PARIS, Query, SINGAPORE, US, answered, configuration, plan, raw_option, region,
    shares, with_state, zone,
};

async fn handle(plan: Option<Plan>) -> Handle {
    let host = Host::real();
    let loopback = "127.0.0.1:0".parse().unwrap();
    let options = Options {
        udp: host.net.datagrams(loopback, 2).await.unwrap(),
        tcp: host.net.listen(loopback).await.unwrap(),
        geo: None,
        geo_file: None,
        node: "node-1".to_owned(),
        host,
        cookies: None,
        rate_limit: None,
        query_log_one_in: None,
    };
    let handle = Service::new(options, &mut Registry::default()).handle();
    handle.update(CommitId(3), Arc::new(configuration(zone())), plan.map(Arc::new));
    handle
}

#[tokio::test]
async fn every_step_of_a_steered_answer_is_written_down() {
    let handle = handle(Some(with_state(plan(), EU, RegionState::Down))).await;
    assert_eq!(
        handle.explain("API.gslb.example.", "203.0.113.0/24"),
        [
            "plan: 1.7",
            "zone: gslb.example, serial 7, commit 3",
            "name: api.gslb.example is steered: nearest, at most 2 addresses, TTL 27 to 30 s",
            "client: 203.0.113.0/24 is at 48.90, 2.40 (the zone's networks)",
            "origin: eu-west, the nearest candidate whatever its health",
            "candidate: us-west, 8972 km, weight 334, serving (even): stays",
            "candidate: eu-west, 779 km, weight 333, down (even): left out: it takes no traffic",
            "candidate: ap-southeast, 10731 km, weight 333, serving (even): stays",
            "A: placement of the origin's clients: none of those left, so by distance",
            "A: 192.0.2.1 (us-west), 192.0.2.3 (ap-southeast); scope /24: other networks may get something else",
            "AAAA: placement of the origin's clients: none of those left, so by distance",
            "AAAA: 2001:db8::1 (us-west); scope /0: everybody gets the same",
        ]
    );
}

#[tokio::test]
async fn what_is_not_steered_is_explained_too() {
    let handle = handle(Some(plan())).await;
    let check = |name: &str, from: &str, expected: &str| {
        let lines = handle.explain(name, from);
        assert!(lines.last().unwrap().contains(expected), "{name} {from}: {lines:?}");
    };
    check("www.gslb.example", "203.0.113.1", "is not steered; everybody gets the same, scope /0; it has A (TTL 300 s)");
    check("none.gslb.example", "203.0.113.1", "NXDOMAIN for 20 s");
    check("x.child.gslb.example", "203.0.113.1", "delegated");
    check("www.example", "203.0.113.1", "in no zone of ours: REFUSED");
    check("a b", "203.0.113.1", "no valid domain name");
    check("api.gslb.example", "Paris", "neither an address nor a prefix");
}

#[tokio::test]
async fn agreement_without_a_plan_and_failure_are_named() {
    let one = handle(Some(plan())).await;
    one.set_gone([region(US)].into());
    let lines = one.explain("primary.gslb.example", "203.0.113.1").join("\n");
    assert!(lines.contains("us-west, 8972 km, weight 334, gone by agreement of the nodes (even): left out"), "{lines}");
    let none = handle(None).await;
    let lines = none.explain("split.gslb.example", "192.0.2.9").join("\n");
    assert!(lines.contains("plan: none yet") && lines.contains("not in a plan yet"), "{lines}");
    assert!(lines.contains("A: no region of this name takes traffic: SERVFAIL"), "{lines}");
    assert_eq!(none.plan(), None);
    none.set_plan(Arc::new(with_state(plan(), AP, RegionState::Drained)));
    assert!(none.explain("split.gslb.example", "192.0.2.9").join("\n").contains("ap-southeast, weight 333, drained"));
}

#[tokio::test]
async fn what_is_explained_is_what_is_answered() {
    let mut spilled = with_state(plan(), AP, RegionState::Drained);
    spilled.regions.get_mut(EU).unwrap().placement = shares(&[(EU, 600), (US, 400)]);
    let handle = handle(Some(spilled)).await;
    let networks = (0..40).flat_map(|i| [format!("80.1.{i}.0/24"), format!("2a00:{i}::/48")]);
    for network in networks.chain([PARIS, CALIFORNIA, SINGAPORE].map(str::to_owned)) {
        for (name, qtype) in ["api", "split", "primary"].into_iter().flat_map(|name| [(name, "A"), (name, "AAAA")]) {
            let query = Query::new(name, qtype.parse().unwrap()).subnet(&network);
            let bytes = answer(&handle.snapshot(), &query.bytes(), NOWHERE, Transport::Udp).expect("an answer");
            let scope = raw_option(&bytes, 8).expect("a subnet")[3];
            let lines = handle.explain(&format!("{name}.gslb.example"), &network);
            let line = lines.iter().rfind(|line| line.starts_with(&format!("{qtype}: "))).unwrap();
            let (said, rest) = line.split_once("; ").unwrap();
            let said: Vec<&str> = said.split(' ').skip(1).step_by(2).collect();
            assert_eq!(said, answered(&query.ask(&handle.snapshot())), "{name} {network}: {line}");
            assert!(rest.starts_with(&format!("scope /{scope}: ")), "{name} {network}: {scope}, {line}");
        }
    }
}
