//! `meridian dns`: a node without HTTP. It follows the control plane, starts from its file and looks at the serving nodes
//! like any other.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use meridian_config::process::DnsFile;
use meridian_ingress::Limits;
use meridian_node::{Options, Service};

use super::{Process, parts};

#[derive(Debug, Args)]
pub(crate) struct DnsArgs {
    /// What the process is: name, region, dns, control, state_dir; metrics_listen to be watched; probe_scheme, extra_ca
    /// and witness to find out by itself which regions live.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) async fn run(args: DnsArgs, process: Process) -> anyhow::Result<()> {
    let file = DnsFile::read(&args.config)?;
    let host = process.host.clone();
    let options = Options {
        name: file.name.clone(),
        region: file.region.clone(),
        cell: file.cell,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        http: None,
        tls: None,
        probe_scheme: file.probe_scheme,
        limits: Limits::default(),
        peers: None,
        dns: Some(parts::dns(&file.dns, file.name.as_str(), &host).await?),
        control: Some(parts::control(file.control, &host).await?),
        host,
        state_dir: file.state_dir,
        max_in_flight: 1,
        public_addresses: vec![file.dns.listen.to_string()],
        egress_address: None,
        witness: file.witness,
        extra_ca: file.extra_ca,
        drain_linger: file.drain_grace,
        drain_grace: file.drain_grace,
        registry: meridian_telemetry::registry(env!("CARGO_PKG_VERSION"), "dns"),
    };
    let service = Service::new(options).await.context("build the authority")?;
    tracing::info!(node = %file.name, region = %file.region, "authority serves");
    parts::status(file.metrics_listen, service.handle().status(), &process.host, process.shutdown.clone()).await?;
    process.stop_on_signals(file.drain_grace);
    service.run(process.shutdown).await;
    Ok(())
}
