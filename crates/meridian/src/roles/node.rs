//! `meridian node`: the data plane of one machine.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use meridian_config::process::NodeFile;
use meridian_ingress::Limits;
use meridian_node::{Options, Scheme, Service};

use super::{Process, parts};

/// Beyond what the file allows: for the events that end streams, and the last beat.
const AFTER_GRACE: Duration = Duration::from_secs(2);

const MIB: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// What the node is: see deploy/local for examples.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) async fn run(args: NodeArgs, process: Process) -> anyhow::Result<()> {
    let file = NodeFile::read(&args.config)?;
    let host = process.host.clone();
    let http = host.net.listen(file.listen).await.with_context(|| format!("listen on {} (HTTP)", file.listen))?;
    let address = http.local_addr().context("ask for the address")?;
    let dns = match &file.dns {
        Some(listen) => Some(parts::dns(listen, file.name.as_str(), &host).await?),
        None => None,
    };
    let stop_within = file.drain_linger + file.drain_grace + AFTER_GRACE;
    let options = Options {
        name: file.name.clone(),
        region: file.region.clone(),
        cell: file.cell,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        http: Some(http),
        // Nodes of one fleet are taken to do alike.
        probe_scheme: if file.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP },
        tls: parts::public_tls(file.tls, &host).await?,
        limits: Limits { budget_bytes: file.max_held_mib as usize * MIB, ..Limits::default() },
        peers: parts::peers(file.peers, &host).await?,
        dns,
        control: Some(parts::control(file.control, &host).await?),
        host,
        state_dir: file.state_dir,
        max_in_flight: file.max_in_flight,
        public_addresses: file.public_addresses,
        egress_address: file.egress_address,
        witness: file.witness,
        extra_ca: file.extra_ca,
        drain_linger: file.drain_linger,
        drain_grace: file.drain_grace,
        registry: meridian_telemetry::registry(env!("CARGO_PKG_VERSION"), "node"),
    };
    let service = Service::new(options).await.context("build the node")?;
    tracing::info!(node = %file.name, region = %file.region, %address, "node serves");
    process.stop_on_signals(stop_within);
    service.run(process.shutdown).await;
    Ok(())
}
