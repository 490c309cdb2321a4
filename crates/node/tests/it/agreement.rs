//! Nodes with no control plane: a region that dies leaves the others' DNS answers, also of those that only answer DNS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meridian_control_client::Peer;
use meridian_host::Host;
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_node::{Handle, Service};
use meridian_sim::Simulator;
use meridian_types::zone::{AllDown, Policy, SteeredName};
use meridian_types::{
    CommitId, Configuration, Contingency, Coordinates, DomainName, Plan, PlanId, Region, RegionName, RegionPlan,
    RegionState, Shares, Zone,
};
use tokio::time::Instant;

use crate::support::{eventually, options, publish};

const REGIONS: [&str; 3] = ["ap", "eu", "us"];

fn region(name: &str) -> RegionName {
    name.parse().unwrap()
}

fn domain(name: &str) -> DomainName {
    DomainName::new(name).unwrap()
}

fn configuration(names: &[&str]) -> Configuration {
    let mut configuration = Configuration::default();
    for (name, longitude) in names.iter().zip([100.0, 0.0, -100.0]) {
        let declared = Region {
            name: region(name),
            coordinates: Coordinates::new(40.0, longitude).unwrap(),
            jurisdiction: "US".parse().unwrap(),
            weight: 100,
            addresses: Vec::new(),
            overflow_jurisdictions: Vec::new(),
        };
        configuration.regions.insert(declared.name.clone(), declared);
    }
    let steered = SteeredName {
        name: domain("api.gslb.example"),
        policy: Policy::Weighted,
        regions: names.iter().map(|name| region(name)).collect(),
        ttl: Duration::from_secs(30),
        max_addresses: 3,
        all_down: AllDown::FailOpen,
        band_km: 0,
        jurisdictions: Vec::new(),
        https: None,
    };
    let zone = Zone {
        name: domain("gslb.example"),
        nameservers: vec![domain("ns.gslb.example")],
        hostmaster: domain("admin.gslb.example"),
        negative_ttl: Duration::from_secs(20),
        steered: vec![steered],
        records: Vec::new(),
        networks: Vec::new(),
    };
    configuration.zones.insert(zone.name.clone(), zone);
    configuration
}

/// As much each, also for every loss.
fn plan(names: &[&str]) -> Plan {
    let shares = |names: &[&str]| -> Shares {
        let part = 1000 / names.len() as u32;
        let mut shares: Shares = names.iter().map(|name| (region(name), part)).collect();
        *shares.get_mut(names[0]).unwrap() += 1000 - part * names.len() as u32;
        shares
    };
    let all = shares(names);
    let of = |(number, name): (u8, &&str)| {
        let plan = RegionPlan {
            state: RegionState::Serving,
            weight: all[*name],
            target_weight: all[*name],
            reason: String::new(),
            addresses: vec![[192, 0, 2, number].into()],
            placement: shares(&[*name]),
            capacity: 100,
            demand: 0.0,
            settled: None,
        };
        (region(name), plan)
    };
    let without = |gone: &&str| {
        let left: Vec<&str> = names.iter().copied().filter(|name| name != gone).collect();
        (region(gone), Contingency { weights: shares(&left), placements: BTreeMap::new() })
    };
    Plan {
        id: PlanId { epoch: 0, number: 1 },
        commit: CommitId(1),
        made_at_unix_ms: 0,
        made_by: String::new(),
        reason: String::new(),
        regions: (1..).zip(names).map(of).collect(),
        contingencies: names.iter().map(without).collect(),
    }
}

async fn node(
    host: &Host,
    dir: &Path,
    place: &str,
    names: &[&str],
    witness: Option<SocketAddr>,
) -> (Handle, ShutdownTrigger) {
    start(host, dir, place, names, witness, true).await
}

/// A node that only answers DNS, unless it `serves`.
async fn start(
    host: &Host,
    dir: &Path,
    place: &str,
    names: &[&str],
    witness: Option<SocketAddr>,
    serves: bool,
) -> (Handle, ShutdownTrigger) {
    let mut options = options(host, place, &dir.join(place)).await;
    options.http = options.http.filter(|_| serves);
    options.witness = witness.map(|address| format!("http://{address}/").parse().unwrap());
    options.region = region(place);
    let tcp = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let udp = host.net.datagram("127.0.0.1:0".parse().unwrap()).await.unwrap();
    options.dns = Some(meridian_dns::Options {
        udp: vec![udp],
        tcp,
        geo: None,
        geo_file: None,
        node: place.to_owned(),
        host: host.clone(),
        cookies: None,
        rate_limit: None,
        query_log_one_in: None,
    });
    let service = Service::new(options).await.unwrap();
    let handle = service.handle();
    let (trigger, seen) = shutdown();
    tokio::spawn(service.run(seen));
    publish(&handle, 1, configuration(names));
    handle.serving().plan(Arc::new(plan(names)));
    (handle, trigger)
}

fn explained(node: &Handle) -> String {
    node.dns().unwrap().explain("api.gslb.example", "192.0.2.9").join("\n")
}

fn peer(place: &str, node: &Handle) -> Peer {
    let address = node.http_address().unwrap().to_string();
    Peer { node: place.parse().unwrap(), region: region(place), address, peer_address: None }
}

#[tokio::test]
async fn without_a_control_plane_the_living_regions_agree_which_one_is_gone() {
    let (host, dir) = (Host::real(), tempfile::tempdir().unwrap());
    let mut nodes = Vec::new();
    for place in REGIONS {
        nodes.push(node(&host, dir.path(), place, &REGIONS, None).await);
    }
    let peers: Vec<Peer> = REGIONS.iter().zip(&nodes).map(|(place, (node, _))| peer(place, node)).collect();
    for (own, (node, _)) in nodes.iter().enumerate() {
        let others = peers.iter().enumerate().filter(|(index, _)| *index != own);
        node.serving().peers(others.map(|(_, peer)| peer.clone()).collect());
    }
    let sees_all = |node: &Handle| {
        let seen = node.serving().report().observations;
        seen.len() == 2 && seen.iter().all(|seen| seen.reachable && seen.streak >= 2)
    };
    let mut only_dns = Vec::new();
    for place in ["eu", "us"] {
        let node = start(&host, &dir.path().join("dns"), place, &REGIONS, None, false).await;
        node.0.serving().peers(Arc::from(peers.clone()));
        only_dns.push(node);
    }
    eventually("all see all", || nodes.iter().all(|(node, _)| sees_all(node))).await;
    let sees_three = |node: &Handle| {
        let seen = node.serving().report().observations;
        seen.len() == 3 && seen.iter().all(|seen| seen.reachable && seen.streak >= 2)
    };
    eventually("who only answers DNS looks too", || only_dns.iter().all(|(node, _)| sees_three(node))).await;
    assert!(!explained(&nodes[2].0).contains("gone by agreement"));

    // eu dies; ap and us say so to each other, and to whom they have nothing to ask, in eu as well.
    nodes[1].1.force();
    for node in [&nodes[0].0, &nodes[2].0, &only_dns[0].0, &only_dns[1].0] {
        eventually("eu is gone", || explained(node).contains("gone by agreement")).await;
        let text = explained(node);
        assert!(text.contains("eu") && text.contains("weight 500"), "the contingency holds: {text}");
    }
    // Then ap dies too: nobody is left to agree, and us drops nobody more on its own word.
    nodes[0].1.force();
    let lost = |node: &Handle| node.serving().report().observations.iter().all(|seen| !seen.reachable);
    eventually("us is alone", || lost(&nodes[2].0)).await;
    // It went on looking: whatever it was going to conclude, it has.
    let long =
        |node: &Handle| node.serving().report().observations.iter().all(|seen| !seen.reachable && seen.streak >= 8);
    eventually("us has long been alone", || long(&nodes[2].0)).await;
    assert_eq!(explained(&nodes[2].0).matches("gone by agreement").count(), 1, "{}", explained(&nodes[2].0));
}

#[tokio::test]
async fn of_two_regions_one_drops_the_other_while_its_witness_answers_and_not_without() {
    let (host, dir) = (Host::real(), tempfile::tempdir().unwrap());
    let names = ["eu", "us"];
    // The witness is any server; here one that nobody takes for a peer.
    let witness = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut silent = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut refusing = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (answers, answers_not) = (witness.local_addr().unwrap(), silent.local_addr().unwrap());
    let refuses = refusing.local_addr().unwrap();
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refused);
    tokio::spawn(async move {
        while refusing.accept().await.is_ok() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok(connection) = silent.accept().await {
            kept.push(connection);
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    let (simulator, (_trigger, stop)) =
        (Simulator::new(meridian_sim::Options::instant(), host.clock.clone()), shutdown());
    tokio::spawn(async move { simulator.serve(witness, stop).await });
    let eu = node(&host, dir.path(), "eu", &names, None).await;
    let mut witnessed = Vec::new();
    for (name, witness) in
        [("us-1", Some(answers)), ("us-2", Some(answers_not)), ("us-3", None), ("us-4", Some(refuses))]
    {
        let dir = dir.path().join(name);
        let node = node(&host, &dir, "us", &names, witness).await;
        node.0.serving().peers(Arc::from([peer("eu", &eu.0)]));
        witnessed.push(node);
    }
    let seen = |node: &Handle, reachable: bool| {
        let observed = node.serving().report().observations;
        !observed.is_empty() && observed.iter().all(|seen| seen.reachable == reachable && seen.streak >= 2)
    };
    eventually("all see eu", || witnessed.iter().all(|(node, _)| seen(node, true))).await;
    let begun = Instant::now();
    eu.1.force();
    let is_gone = |which: usize| explained(&witnessed[which].0).contains("gone by agreement");
    eventually("eu is gone for who has a witness", || is_gone(0)).await;
    eventually("all have lost it", || witnessed.iter().all(|(node, _)| seen(node, false))).await;
    // Who is asked again was waited for in vain the first time.
    eventually("the silent witness is asked again", || asked.load(Ordering::SeqCst) >= 2).await;
    eventually("who refuses is asked again", || refused.load(Ordering::SeqCst) >= 3).await;
    let most = begun.elapsed().as_secs() + 1;
    let refused = refused.load(Ordering::SeqCst);
    assert!(refused as u64 <= most, "asked {refused} times in {:?}", begun.elapsed());
    assert_eq!([is_gone(1), is_gone(2), is_gone(3)], [false, false, false]);
}
