//! From pulses and operators to verdicts and weights.

use std::sync::Arc;
use std::time::Duration;

use meridian_proto::admin::v1::{self as admin, explain_request::Subject};
use meridian_proto::fleet::v1::{NodeVerdict, RegionState};
use meridian_proto::node::v1::{BeatReply, ServingState};
use meridian_store::Store;
use meridian_store::memory::MemoryStore;
use meridian_types::LatencySketch;
use prost::Message;
use tokio::time::Instant;

use super::node::Pulsing;
use super::sandbox::{LIMIT, Replica, apply, everything, region, request_id, shown, weights};

const NODES: [&str; 3] = ["ap/n-ap", "eu/n-eu", "us/n-us"];

/// A node in each region, seeing the others; ap, eu, us.
pub(super) async fn nodes(replica: &Replica) -> Vec<Pulsing> {
    let mut nodes = Vec::new();
    for node in NODES {
        let (region, name) = node.split_once('/').unwrap();
        let others: Vec<_> = NODES.into_iter().filter(|other| *other != node).collect();
        nodes.push(Pulsing::start(replica.address, region, name, &others).await);
    }
    nodes
}

/// A replica with its fleet at rest.
async fn fleet(store: &MemoryStore) -> (Replica, Vec<Pulsing>) {
    let mut replica = Replica::start(store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let nodes = nodes(&replica).await;
    replica.fleet_with("all serve", |fleet| weights(fleet) == [334, 333, 333]).await;
    (replica, nodes)
}

fn verdict(fleet: &admin::Fleet, node: &str) -> NodeVerdict {
    verdict_of(fleet, node).unwrap()
}

fn verdict_of(fleet: &admin::Fleet, node: &str) -> Option<NodeVerdict> {
    fleet.nodes.iter().find(|shown| shown.node == node).map(admin::FleetNode::verdict)
}

#[tokio::test]
async fn a_drain_moves_the_weights_and_an_undrain_brings_them_back() {
    let store = MemoryStore::new(1);
    let (mut replica, nodes) = fleet(&store).await;
    replica.drain("eu", true).await.unwrap();
    // Until the ramp has ended DNS still names it, and the fleet says so.
    let seen = replica.fleet_with("eu is leaving", |fleet| weights(fleet)[1] < 333).await;
    assert_eq!((shown(&seen, "eu").state(), shown(&seen, "eu").drained), (RegionState::Serving, true));
    let is_drained = |fleet: &admin::Fleet| shown(fleet, "eu").state() == RegionState::Drained;
    let seen = replica.fleet_with("eu is drained", is_drained).await;
    let eu = shown(&seen, "eu");
    assert_eq!(weights(&seen), [500, 0, 500]);
    assert_eq!(eu.reason, "drained by anonymous@127.0.0.1: maintenance");
    assert!(eu.drained && eu.weight_terms.is_none());
    assert_eq!(eu.drain_terms.as_ref().unwrap().author, "anonymous@127.0.0.1");
    // The nodes are told.
    let mut plans = nodes[0].plans.clone();
    let told = plans.wait_for(|plan| plan.as_ref().is_some_and(|plan| plan.regions[1].weight == 0));
    tokio::time::timeout(LIMIT, told).await.unwrap().unwrap();
    replica.drain("eu", false).await.unwrap();
    let seen = replica.fleet_with("eu is back", |fleet| weights(fleet) == [334, 333, 333]).await;
    assert_eq!(shown(&seen, "eu").reason, "declared weight 100");
    replica.stop().await;
}

#[tokio::test]
async fn a_node_of_a_region_that_nobody_configured_says_so_until_somebody_does() {
    let store = MemoryStore::new(1);
    let (mut replica, _nodes) = fleet(&store).await;
    let _martian = Pulsing::start(replica.address, "mars", "n-mars", &[]).await;
    let evidence = |fleet: &admin::Fleet| {
        let node = fleet.nodes.iter().find(|node| node.node == "n-mars");
        node.map(|node| node.evidence.clone()).unwrap_or_default()
    };
    replica.fleet_with("it is told", |fleet| evidence(fleet) == "region mars is not configured").await;
    replica.apply(apply(1, vec![region("mars", 90.0)], Vec::new())).await;
    replica.fleet_with("it serves", |fleet| verdict_of(fleet, "n-mars") == Some(NodeVerdict::Serving)).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_fleet_at_rest_makes_no_plans() {
    let store = MemoryStore::new(1);
    let (mut replica, nodes) = fleet(&store).await;
    // Regions that were never seen have the same weights.
    let serve = |fleet: &admin::Fleet| fleet.regions.iter().all(|region| region.state() == RegionState::Serving);
    let number = replica.fleet_with("at rest", serve).await.plan.unwrap().number;
    for load in [5, 40, 12, 33, 2, 60] {
        nodes[1].say(|words| (words.in_flight, words.first_token_ms) = (load, f64::from(load) * 4.0));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let plan = replica.fleet().await.plan.unwrap();
    assert_eq!(plan.number, number, "{}", plan.reason);
    replica.stop().await;
}

#[tokio::test]
async fn a_node_that_stops_cleanly_needs_no_witnesses() {
    let store = MemoryStore::new(1);
    let (mut replica, mut nodes) = fleet(&store).await;
    nodes[0].say(|words| words.state = ServingState::Draining);
    let seen = replica.fleet_with("ap leaves", |fleet| shown(fleet, "ap").state() == RegionState::Drained).await;
    assert_eq!(shown(&seen, "ap").reason, "every node is stopping");
    nodes.remove(0).kill();
    let seen = replica.fleet_with("ap is gone", |fleet| weights(fleet) == [0, 500, 500]).await;
    let seen = match shown(&seen, "ap").state() {
        RegionState::Down => seen,
        _ => replica.fleet_with("ap is down", |fleet| shown(fleet, "ap").state() == RegionState::Down).await,
    };
    assert!(shown(&seen, "ap").reason.contains("it said that it is stopping"), "{}", shown(&seen, "ap").reason);
    replica.stop().await;
}

#[tokio::test]
async fn an_override_ends_by_itself() {
    let store = MemoryStore::new(1);
    let (mut replica, _nodes) = fleet(&store).await;
    let until = meridian_host::Host::real().clock.now_unix_ms() + 1500;
    let request = admin::SetOverrideRequest {
        request_id: request_id(),
        region: "us".to_owned(),
        expected_revision: 0,
        change: Some(admin::set_override_request::Change::Weight(200)),
        reason: "test".to_owned(),
        until_unix_ms: until,
        force: false,
    };
    replica.admin.set_override(request).await.unwrap();
    let seen = replica.fleet_with("us gets more", |fleet| shown(fleet, "us").weight > 333).await;
    assert!(shown(&seen, "us").reason.starts_with("weight 200 set by anonymous@127.0.0.1: test, until 20"));
    replica.fleet_with("us is as declared", |fleet| weights(fleet) == [334, 333, 333]).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_node_that_vanishes_is_frozen_until_the_others_agree() {
    let store = MemoryStore::new(1);
    let (mut replica, mut nodes) = fleet(&store).await;
    nodes.remove(1).kill();
    let seen = replica.fleet_with("frozen", |fleet| verdict(fleet, "n-eu") == NodeVerdict::Unreachable).await;
    assert_eq!(weights(&seen), [334, 333, 333]);
    nodes[0].lose("eu/n-eu");
    // One region is not enough.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let seen = replica.fleet().await;
    assert_eq!((verdict(&seen, "n-eu"), weights(&seen)), (NodeVerdict::Unreachable, vec![334, 333, 333]));
    assert!(shown(&seen, "eu").reason.contains("n-eu frozen: its pulse stream ended"), "{seen:?}");

    let began = Instant::now();
    nodes[1].lose("eu/n-eu");
    let seen = replica.fleet_with("down", |fleet| weights(fleet) == [500, 0, 500]).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let eu = shown(&seen, "eu");
    assert_eq!(eu.state(), RegionState::Down);
    assert!(eu.reason.starts_with("down since 20"), "{}", eu.reason);
    assert!(eu.reason.ends_with("2 of 2 regions cannot reach it"), "{}", eu.reason);
    // Its addresses stay for who falls back to them.
    assert_eq!(seen.plan.as_ref().unwrap().regions[1].addresses, ["127.0.0.1"]);
    // In the same answer, region and node tell the same story.
    assert_eq!((verdict(&seen, "n-eu"), eu.evidence.starts_with("down since 20")), (NodeVerdict::Down, true), "{eu:?}");
    assert!(seen.nodes.iter().all(|node| node.region != "eu" || node.evidence.contains("regions cannot reach it")));

    // It comes back: first it must be well for a while, then it is ramped up.
    nodes.push(Pulsing::start(replica.address, "eu", "n-eu", &["ap/n-ap", "us/n-us"]).await);
    for node in &nodes {
        node.say(|words| words.sees.values_mut().for_each(|reached| *reached = true));
    }
    replica.fleet_with("back", |fleet| weights(fleet) == [334, 333, 333]).await;
    replica.stop().await;
}

#[tokio::test]
async fn peers_of_a_node_whose_pulse_ends_are_asked_to_look_at_once_unless_it_said_that_it_would_leave() {
    let store = MemoryStore::new(1);
    let (mut replica, mut nodes) = fleet(&store).await;
    nodes[1].say(|words| words.state = ServingState::Draining);
    replica.fleet_with("it drains", |fleet| verdict(fleet, "n-eu") == NodeVerdict::Draining).await;
    nodes.remove(1).kill();
    replica.fleet_with("it is gone", |fleet| verdict(fleet, "n-eu") != NodeVerdict::Draining).await;
    let [mut ap, us] = <[Pulsing; 2]>::try_from(nodes).ok().unwrap();
    assert_eq!(*ap.looks.borrow(), 0, "it had said so");
    us.kill();
    let asked = tokio::time::timeout(LIMIT, ap.looks.wait_for(|looks| *looks > 0)).await;
    assert_eq!(*asked.expect("it is asked").unwrap(), 1);
    replica.stop().await;
}

#[tokio::test]
async fn a_node_that_is_stopped_with_its_connection_open_goes_down_within_two_seconds() {
    let store = MemoryStore::new(1);
    let (mut replica, nodes) = fleet(&store).await;
    let began = Instant::now();
    nodes[2].say(|words| words.stopped = true);
    nodes[0].lose("us/n-us");
    nodes[1].lose("us/n-us");
    let seen = replica.fleet_with("us is down", |fleet| weights(fleet) == [500, 500, 0]).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(shown(&seen, "us").reason.contains("no pulse for 1."), "{}", shown(&seen, "us").reason);
    replica.stop().await;
}

#[tokio::test]
async fn a_node_that_beats_and_serves_nobody_is_down_when_requests_handed_over_to_it_are_lost_too() {
    let store = MemoryStore::new(1);
    let (mut replica, nodes) = fleet(&store).await;
    nodes[0].lose("eu/n-eu");
    nodes[2].lose("eu/n-eu");
    let text = |fleet: &admin::Fleet| fleet.nodes.iter().find(|node| node.node == "n-eu").unwrap().evidence.clone();
    let alone = "pulse is fresh, but 2 of 2 regions cannot reach it";
    let seen = replica.fleet_with("probes alone", |fleet| text(fleet).ends_with(alone)).await;
    assert_eq!((verdict(&seen, "n-eu"), weights(&seen)), (NodeVerdict::Serving, vec![334, 333, 333]));
    nodes[0].say(|words| _ = words.lost.insert("eu/n-eu".to_owned()));
    let seen = replica.fleet_with("down", |fleet| weights(fleet) == [500, 0, 500]).await;
    assert_eq!(verdict(&seen, "n-eu"), NodeVerdict::Down);
    assert!(text(&seen).ends_with(", and loses the requests that are handed over to it"), "{}", text(&seen));
    for node in &nodes {
        node.say(|words| words.sees.values_mut().for_each(|reached| *reached = true));
    }
    replica.fleet_with("back", |fleet| weights(fleet) == [334, 333, 333]).await;
    replica.stop().await;
}

#[tokio::test]
async fn load_and_latency_move_weights_with_a_reason_within_two_seconds() {
    let store = MemoryStore::new(1);
    let (mut replica, nodes) = fleet(&store).await;
    let began = Instant::now();
    nodes[1].say(|words| words.in_flight = 120);
    let seen = replica.fleet_with("eu spills", |fleet| shown(fleet, "eu").weight < 333).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let eu = shown(&seen, "eu");
    assert!(eu.reason.contains("% of capacity 100") && eu.reason.contains("moved to"), "{}", eu.reason);
    assert_eq!(eu.in_flight, 120);

    let began = Instant::now();
    nodes[0].say(|words| words.first_token_ms = 5000.0);
    let seen =
        replica.fleet_with("ap gives up a part", |fleet| shown(fleet, "ap").reason.contains("first token")).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(shown(&seen, "ap").first_token_p50_ms > 400.0);
    replica.fleet_with("ap has less", |fleet| shown(fleet, "ap").weight < 300).await;
    replica.stop().await;
}

#[tokio::test]
async fn quantiles_of_a_region_and_of_a_target_are_those_of_all_requests_of_all_nodes() {
    let store = MemoryStore::new(1);
    let (mut replica, mut nodes) = fleet(&store).await;
    nodes.push(Pulsing::start(replica.address, "eu", "n-eu-2", &["ap/n-ap", "us/n-us"]).await);
    // ap's and us's nodes are of an older build and say two quantiles alone.
    let took = |ms: f64, times: u32| {
        let mut sketch = LatencySketch::default();
        sketch.add_ms(ms, times);
        Some(sketch)
    };
    nodes[1].say(|words| words.first_tokens = took(100.0, 90));
    nodes[3].say(|words| words.first_tokens = took(2000.0, 10));
    let near = |ms: f64, truth: f64| (ms - truth).abs() <= truth * LatencySketch::RELATIVE_ERROR;
    let seen = replica.fleet_with("both nodes report", |fleet| shown(fleet, "eu").first_tokens == 100).await;
    let eu = shown(&seen, "eu");
    // The mean of the nodes' medians would be 290.
    assert!(near(eu.first_token_p50_ms, 100.0) && near(eu.first_token_p99_ms, 2000.0), "{eu:?}");
    let us = shown(&seen, "us");
    assert!(us.first_tokens == 5 && near(us.first_token_p50_ms, 100.0), "{us:?}");
    let of_targets = seen.nodes.iter().flat_map(|node| &node.targets);
    assert!(of_targets.clone().count() > 0 && of_targets.clone().all(|target| target.first_tokens.is_none()));

    nodes[2].say(|words| words.first_tokens = took(700.0, 10));
    replica.fleet_with("us has sketches", |fleet| shown(fleet, "us").first_tokens == 10).await;
    let explain = async |subject: Subject| {
        let request = admin::ExplainRequest { subject: Some(subject) };
        replica.admin.clone().explain(request).await.unwrap().into_inner().lines.join("\n")
    };
    // As they are told, within the error of a sketch.
    let text = explain(Subject::Target("openai:gpt".into())).await;
    let (of_eu, of_us) =
        ("streams in eu in the last minute: p50 102 ms, p99 ", "in us in the last minute: p50 684 ms, p99 684 ms of ");
    for part in [of_eu, of_us, "streams everywhere in the last minute: p50 102 ms, p99 "] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let text = explain(Subject::Region("eu".into())).await;
    assert!(text.contains("first tokens of requests in the last minute: p50 "), "{text}");
    replica.stop().await;
}

#[tokio::test]
async fn a_watcher_sees_the_fleet_move() {
    let store = MemoryStore::new(1);
    let (mut replica, _nodes) = fleet(&store).await;
    let mut admin = replica.admin.clone();
    let mut fleets = admin.watch_fleet(admin::WatchFleetRequest { interval_ms: 100 }).await.unwrap().into_inner();
    assert_eq!(fleets.message().await.unwrap().unwrap().head_commit, 1);
    replica.apply(apply(1, vec![region("us", 3.0)], Vec::new())).await;
    let watching = async { while fleets.message().await.unwrap().unwrap().head_commit != 2 {} };
    tokio::time::timeout(LIMIT, watching).await.unwrap();
    replica.stop().await;
    while let Ok(Some(_)) = fleets.message().await {}
}

#[tokio::test]
async fn a_disk_that_refuses_shows_in_the_fleet_and_in_the_explanation() {
    let store = MemoryStore::new(1);
    let (mut replica, nodes) = fleet(&store).await;
    let notes = |fleet: &admin::Fleet| fleet.nodes.iter().flat_map(|node| node.notes.clone()).collect::<Vec<_>>();
    assert_eq!(notes(&replica.fleet().await), Vec::<String>::new());
    nodes[1].say(|words| words.unsaved = "no storage space".to_owned());
    let seen = replica.fleet_with("it is told", |fleet| !notes(fleet).is_empty()).await;
    assert!(notes(&seen)[0].starts_with("its disk refuses (no storage space)"), "{:?}", notes(&seen));
    let subject = Some(admin::explain_request::Subject::Node("n-eu".to_owned()));
    let lines = replica.admin.explain(admin::ExplainRequest { subject }).await.unwrap().into_inner().lines;
    assert!(lines.contains(&notes(&seen)[0]), "{lines:?}");
    nodes[1].say(|words| words.unsaved.clear());
    replica.fleet_with("it is over", |fleet| notes(fleet).is_empty()).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_node_that_does_not_hear_the_replica_is_shown_as_such() {
    let store = MemoryStore::new(1);
    let (mut replica, nodes) = fleet(&store).await;
    let note = |fleet: &admin::Fleet| {
        let node = fleet.nodes.iter().find(|node| node.node == "n-eu").unwrap();
        assert!(fleet.nodes.iter().all(|other| other.node == "n-eu" || other.notes.is_empty()), "{fleet:?}");
        node.notes.join("; ")
    };
    nodes[1].say(|words| words.deaf = true);
    replica.fleet_with("it is told", |fleet| note(fleet).contains("lost one way")).await;
    nodes[1].say(|words| words.deaf = false);
    replica.fleet_with("it is over", |fleet| note(fleet).is_empty()).await;
    replica.stop().await;
}

#[tokio::test]
async fn a_node_that_serves_something_else_than_it_should_shows_within_a_second() {
    let store = MemoryStore::new(1);
    let (mut replica, nodes) = fleet(&store).await;
    let history = replica.admin.history(admin::HistoryRequest { limit: 1 }).await.unwrap().into_inner();
    let digest = history.commits[0].digest.to_vec();
    let serve = |commit: u64, digest: &[u8]| nodes[1].say(|words| words.serves = (commit, digest.to_vec()));
    let told = |fleet: &admin::Fleet| {
        let node = fleet.nodes.iter().find(|node| node.node == "n-eu").unwrap();
        // These nodes take plans and accounts from nobody.
        let told = node.divergences.iter().filter(|text| !text.contains("obeys plan")).cloned();
        (node.digest_matches, told.collect::<Vec<_>>().join("; "))
    };
    for node in &nodes {
        node.say(|words| words.serves = (1, digest.clone()));
    }
    replica.fleet_with("in step", |fleet| told(fleet) == (true, String::new())).await;

    // Its state rots; for a moment that may as well be a target that this replica has not heard of.
    let began = Instant::now();
    serve(1, &[7; 32]);
    let seen = replica.fleet_with("rot", |fleet| !told(fleet).1.is_empty()).await;
    assert!((500..1000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(told(&seen).1.starts_with("it serves content 070707070707 as commit 1, which is "), "{}", told(&seen).1);
    serve(1, &digest);
    replica.fleet_with("in step again", |fleet| told(fleet) == (true, String::new())).await;

    // A commit that this replica has not heard of may be on its way here, for a moment.
    let began = Instant::now();
    serve(2, &digest);
    let seen = replica.fleet_with("ahead", |fleet| !told(fleet).1.is_empty()).await;
    assert_eq!(told(&seen).1, "it serves commit 2 and not the head 1");
    assert!((500..1000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    serve(1, &digest);
    replica.fleet_with("in step once more", |fleet| told(fleet) == (true, String::new())).await;

    // A commit that does not arrive.
    replica.apply(apply(1, vec![region("us", 3.0)], Vec::new())).await;
    let began = Instant::now();
    let seen = replica.fleet_with("behind", |fleet| !told(fleet).1.is_empty()).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(told(&seen), (true, "it serves commit 1 and not the head 2".to_owned()));
    // The leader writes it down, so that it is an event and outlives this replica.
    let summary = async || {
        let listed = store.list("/meridian/test/sum/eu").await.unwrap();
        meridian_proto::fleet::v1::RegionSummary::decode(listed.entries[0].value.clone()).unwrap()
    };
    let deadline = Instant::now() + LIMIT;
    while !summary().await.nodes.iter().any(|node| node.divergence.contains("not the head 2")) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    replica.stop().await;
}

#[tokio::test]
async fn a_replica_that_has_not_read_the_store_takes_no_peers_away() {
    let store = MemoryStore::new(1);
    store.set_available(false);
    let mut replica = Replica::unready(Arc::new(store.clone()), "cp-1").await;
    let mut nodes = nodes(&replica).await;
    let echoed = |reply: &Option<BeatReply>| reply.as_ref().is_some_and(|reply| reply.sequence_echo >= 3);
    for node in &mut nodes {
        tokio::time::timeout(LIMIT, node.replies.wait_for(echoed)).await.expect("it is answered").unwrap();
        assert_eq!(*node.peers.borrow(), None, "nobody knows who else there is");
    }
    store.set_available(true);
    tokio::time::timeout(LIMIT, replica.handle.readiness().wait()).await.unwrap();
    replica.apply(apply(0, everything(), Vec::new())).await;
    let told = nodes[0].peers.wait_for(|peers| peers.as_ref().is_some_and(|peers| peers.len() == 2));
    tokio::time::timeout(LIMIT, told).await.expect("it is told").unwrap();
    replica.stop().await;
}
