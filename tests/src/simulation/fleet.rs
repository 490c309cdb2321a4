//! The hosts of the simulation; each runs the binary's own code, and the fake etcd serves the real client.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meridian_lifecycle::shutdown;
use meridian_store::Store;
use meridian_store_etcd::{EtcdOptions, EtcdStore};
use meridian_testkit::{MemoryFiles, simulated_host};
use meridian_types::{CellName, NodeName, RegionName};
use tokio::time::sleep;
use turmoil::Sim;

use super::bugs;
use super::eyes::Eyes;
use super::fences::PROVIDER_INSIDE;
use crate::etcd::Member;

/// Names of the regions.
pub const REGIONS: [&str; 3] = ["us-west", "eu-west", "ap-southeast"];
/// Nodes of each region: `us-west-1` and so on, each on the host of that name.
pub(super) const NODES_PER_REGION: usize = 3;
/// Replicas of the control plane, `control-1` and so on; as many members of etcd, `etcd-1` and so on.
pub(super) const REPLICAS: usize = 3;
/// Hosts of providers, as `configuration.yaml` has them.
pub(super) const PROVIDERS: [&str; 2] = ["provider", PROVIDER_INSIDE];
pub(super) const CLUSTER: &str = "simulation";

pub(super) const CONTROL_PORT: u16 = 7400;
pub(super) const HTTP_PORT: u16 = 8080;
pub(super) const DNS_PORT: u16 = 53;
const PEER_PORT: u16 = 7200;
const ETCD_PORT: u16 = 2379;
const PROVIDER_PORT: u16 = 4010;
/// Small, so that a few simulated clients fill a node.
pub(super) const MAX_IN_FLIGHT: u32 = 8;
/// A supervisor starts a process that ended after this long.
const RESTART: Duration = Duration::from_secs(1);
/// A codec that the control plane believes in and no node has: a provider with it makes a commit that nodes refuse.
pub(super) const UNKNOWN_CODEC: &str = "of_tomorrow";

/// Cells of each region's nodes: one node gets a commit before the others do.
const CELLS: [&str; NODES_PER_REGION] = ["canary", "main", "main"];

/// The cell that the node on a host says it is in.
pub type Place = fn(&str) -> &'static str;

/// The cell that a node really is in.
#[must_use]
pub fn cell(node: &str) -> &'static str {
    let number = node.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
    number.and_then(|number| CELLS.get(number.checked_sub(1)?)).copied().unwrap_or("main")
}

/// The same as `region/cell`.
pub(super) fn cell_of(node: &str) -> String {
    let (region, _) = node.rsplit_once('-').unwrap_or((node, ""));
    format!("{region}/{}", cell(node))
}

/// Every cell.
pub(super) fn cells() -> BTreeSet<String> {
    nodes().iter().map(|node| cell_of(node)).collect()
}

/// The host of the `n`th replica or member, from 0.
pub(super) fn numbered(kind: &str, n: usize) -> String {
    format!("{kind}-{}", n + 1)
}

/// Hosts of a region's nodes.
pub(super) fn nodes_of(region: &str) -> Vec<String> {
    (0..NODES_PER_REGION).map(|n| numbered(region, n)).collect()
}

/// Every node's host.
pub(super) fn nodes() -> Vec<String> {
    REGIONS.into_iter().flat_map(nodes_of).collect()
}

/// Where replica `n`, from 0, is reached.
pub(super) fn control(n: usize) -> String {
    format!("{}:{CONTROL_PORT}", numbered("control", n))
}

/// A client of the fake etcd that asks member `first` first.
pub(super) async fn store(first: usize) -> anyhow::Result<EtcdStore> {
    let endpoints = (0..REPLICAS).map(|n| format!("http://{}:{ETCD_PORT}", numbered("etcd", (first + n) % REPLICAS)));
    let host = simulated_host(0, Arc::new(MemoryFiles::default()));
    Ok(EtcdStore::connect_over(EtcdOptions::new(endpoints), host.net).await?)
}

/// Between a replica and its store: for client bugs, switched on.
pub type Wrap = Arc<dyn Fn(Arc<dyn Store>) -> Arc<dyn Store> + Send + Sync>;

/// Adds the provider, etcd, the control plane and the nodes. Disks outlive a crash.
pub(super) fn add(sim: &mut Sim<'_>, seed: u64, eyes: &Eyes, wrap: &Wrap, place: Place) {
    for name in PROVIDERS {
        let eyes = eyes.clone();
        sim.host(name, move || {
            let eyes = eyes.clone();
            async move {
                let host = simulated_host(seed, Arc::new(MemoryFiles::default()));
                let listener = host.net.listen(any(PROVIDER_PORT)).await?;
                let simulator = meridian_sim::Simulator::new(meridian_sim::Options::default(), host.clock);
                eyes.add_provider(name, simulator.clone());
                let (_trigger, stop) = shutdown();
                Ok(simulator.serve(listener, stop).await?)
            }
        });
    }
    for n in 0..REPLICAS {
        let cluster = eyes.cluster.clone();
        sim.host(numbered("etcd", n), move || {
            let member = Member::new(cluster.clone(), n);
            async move {
                let host = simulated_host(seed, Arc::new(MemoryFiles::default()));
                let listener = host.net.listen(any(ETCD_PORT)).await?;
                Ok(member.serve(listener).await?)
            }
        });
    }
    for n in 0..REPLICAS {
        let (eyes, wrap) = (eyes.clone(), wrap.clone());
        sim.host(numbered("control", n), move || supervise(n, seed, eyes.clone(), wrap.clone()));
    }
    for (index, name) in (16u64..).zip(nodes()) {
        let disk = MemoryFiles::default();
        let eyes = eyes.clone();
        sim.host(name.clone(), move || node(name.clone(), place, seed ^ index, disk.clone(), eyes.clone()));
    }
}

/// Runs a replica, and starts it anew when it ended by itself.
async fn supervise(n: usize, seed: u64, eyes: Eyes, wrap: Wrap) -> turmoil::Result {
    loop {
        let host = simulated_host(seed ^ (n as u64 + 1), Arc::new(MemoryFiles::default()));
        let listener = host.net.listen(any(CONTROL_PORT)).await?;
        let mut codecs: Vec<_> = meridian_providers::names().into_iter().map(str::to_owned).collect();
        codecs.push(UNKNOWN_CODEC.to_owned());
        let options = meridian_control::Options {
            replica: numbered("control", n),
            address: control(n),
            cluster: CLUSTER.to_owned(),
            store: wrap(Arc::new(store(n).await?)),
            host,
            listener,
            tls: None,
            plaintext: meridian_control::Plaintext::Anyone,
            codecs,
        };
        let service = meridian_control::Service::new(options, &mut meridian_telemetry::registry("0", "control"))?;
        let (_trigger, stop) = shutdown();
        let ended = service.run(stop).await;
        eyes.say(&format!("{} ended: {ended:?}", numbered("control", n)));
        sleep(RESTART).await;
    }
}

async fn node(name: String, place: Place, seed: u64, disk: MemoryFiles, eyes: Eyes) -> turmoil::Result {
    let host = bugs::machine(&name, simulated_host(seed, Arc::new(disk)), &eyes);
    // What `configuration.yaml` names.
    host.files.replace("/credential".as_ref(), b"simulated").await?;
    let http = host.net.listen(any(HTTP_PORT)).await?;
    let peers = meridian_node::PeerListener {
        listener: host.net.listen(any(PEER_PORT)).await?,
        advertise: format!("{name}:{PEER_PORT}"),
        tls: None,
    };
    let tcp = host.net.listen(any(DNS_PORT)).await?;
    let udp = host.net.datagram(any(DNS_PORT)).await?;
    let (region, _) = name.rsplit_once('-').unwrap_or((&name, ""));
    let dns = meridian_dns::Options {
        udp: vec![udp],
        tcp,
        geo: None,
        geo_file: None,
        node: name.clone(),
        host: host.clone(),
        cookies: None,
        rate_limit: Some(meridian_dns::RateLimit::default()),
        query_log_one_in: None,
    };
    let options = meridian_node::Options {
        name: NodeName::new(&name)?,
        region: RegionName::new(region)?,
        cell: CellName::new(place(&name))?,
        build: "simulation".to_owned(),
        host,
        http: Some(http),
        tls: None,
        probe_scheme: meridian_node::Scheme::HTTP,
        limits: meridian_ingress::Limits::default(),
        peers: Some(peers),
        dns: Some(dns),
        control: Some(meridian_node::Control { endpoints: (0..REPLICAS).map(control).collect(), tls: None }),
        state_dir: "/state".into(),
        max_in_flight: bugs::max_in_flight(&eyes),
        public_addresses: vec![SocketAddr::new(turmoil::lookup(name.as_str()), HTTP_PORT).to_string()],
        egress_address: None,
        witness: None,
        extra_ca: None,
        drain_linger: Duration::from_millis(100),
        drain_grace: Duration::from_secs(1),
        registry: meridian_telemetry::registry("0", "node"),
    };
    let service = meridian_node::Service::new(options).await?;
    let _seen = eyes.watch(&name, service.handle());
    let (_trigger, stop) = shutdown();
    service.run(stop).await;
    Ok(())
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}
