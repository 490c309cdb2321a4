//! The hosts of the simulation; each runs the binary's own code.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use meridian_lifecycle::shutdown;
use meridian_store::memory::MemoryStore;
use meridian_testkit::{MemoryFiles, simulated_host};
use meridian_types::{CellName, NodeName, RegionName};
use turmoil::Sim;

/// Names of the regions; the node of each runs on the host of that name.
pub const REGIONS: [&str; 3] = ["us-west", "eu-west", "ap-southeast"];

pub(super) const CONTROL_PORT: u16 = 7400;
pub(super) const HTTP_PORT: u16 = 8080;
pub(super) const DNS_PORT: u16 = 53;
const PROVIDER_PORT: u16 = 4010;
const MAX_IN_FLIGHT: u32 = 64;

/// Adds the provider, the control plane and a node for each region. State outlives a crash, as on a disk.
pub(super) fn add(sim: &mut Sim<'_>, seed: u64) {
    sim.host("provider", move || async move {
        let host = simulated_host(seed, Arc::new(MemoryFiles::default()));
        let listener = host.net.listen(any(PROVIDER_PORT)).await?;
        let simulator = meridian_sim::Simulator::new(meridian_sim::Options::default(), host.clock);
        let (_trigger, stop) = shutdown();
        Ok(simulator.serve(listener, stop).await?)
    });
    let store = MemoryStore::with_clock(seed, || turmoil::sim_elapsed().unwrap_or_default());
    sim.host("control", move || {
        let store = store.clone();
        async move {
            let host = simulated_host(seed ^ 1, Arc::new(MemoryFiles::default()));
            let listener = host.net.listen(any(CONTROL_PORT)).await?;
            let options = meridian_control::Options {
                replica: "control-1".to_owned(),
                address: format!("control:{CONTROL_PORT}"),
                cluster: "simulation".to_owned(),
                store: Arc::new(store),
                host,
                listener,
                tls: None,
                plaintext: meridian_control::Plaintext::Anyone,
                codecs: meridian_providers::names().into_iter().map(str::to_owned).collect(),
            };
            let service = meridian_control::Service::new(options, &mut meridian_telemetry::registry("0", "control"))?;
            let (_trigger, stop) = shutdown();
            Ok(service.run(stop).await?)
        }
    });
    for (i, region) in (2u64..).zip(REGIONS) {
        let disk = MemoryFiles::default();
        sim.host(region, move || {
            let disk = disk.clone();
            async move { node(region, seed ^ i, disk).await }
        });
    }
}

async fn node(region: &str, seed: u64, disk: MemoryFiles) -> turmoil::Result {
    let host = simulated_host(seed, Arc::new(disk));
    // What `configuration.yaml` names.
    host.files.replace("/credential".as_ref(), b"simulated").await?;
    let http = host.net.listen(any(HTTP_PORT)).await?;
    let tcp = host.net.listen(any(DNS_PORT)).await?;
    let udp = host.net.datagram(any(DNS_PORT)).await?;
    let name = format!("{region}-1");
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
        cell: CellName::new("main")?,
        build: "simulation".to_owned(),
        host,
        http: Some(http),
        tls: None,
        limits: meridian_ingress::Limits::default(),
        dns: Some(dns),
        control: Some(meridian_node::Control { endpoints: vec![format!("control:{CONTROL_PORT}")], tls: None }),
        state_dir: "/state".into(),
        max_in_flight: MAX_IN_FLIGHT,
        public_addresses: vec![SocketAddr::new(turmoil::lookup(region), HTTP_PORT).to_string()],
        egress_address: None,
        extra_ca: None,
        drain_linger: Duration::from_millis(100),
        drain_grace: Duration::from_secs(1),
        registry: meridian_telemetry::registry("0", "node"),
    };
    let service = meridian_node::Service::new(options).await?;
    let (_trigger, stop) = shutdown();
    service.run(stop).await;
    Ok(())
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}
