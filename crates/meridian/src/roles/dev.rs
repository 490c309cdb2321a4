//! `meridian dev`: everything in one process, for trying and for developing against.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use meridian_dev::{Instance, Options, Ports, start};

use super::Process;
use crate::output;

/// A person who pressed Ctrl-C waits for it; the parts drain within 5 s.
const GRACE: Duration = Duration::from_secs(8);

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Store, key and last-known-good files; a second start finds them again.
    #[arg(long, value_name = "DIR", default_value = "meridian-dev")]
    data_dir: PathBuf,
    /// Once everything serves, write addresses and a key here, as JSON; there is no such file before and after.
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// Port of the admin API; 0: any free one, as for the others.
    #[arg(long, value_name = "PORT", default_value_t = 7100)]
    admin_port: u16,
    /// Port of the control plane's /metrics, /healthz and /readyz; the nodes have theirs beside everything else.
    #[arg(long, value_name = "PORT", default_value_t = 7110)]
    metrics_port: u16,
    /// Port of the nodes' HTTP.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_port: u16,
    /// Port of DNS.
    #[arg(long, value_name = "PORT", default_value_t = 5300)]
    dns_port: u16,
    /// Port of the provider simulator; the files of examples/ name 4010.
    #[arg(long, value_name = "PORT", default_value_t = 4010)]
    sim_port: u16,
}

pub(crate) async fn run(args: DevArgs, process: Process) -> anyhow::Result<()> {
    let options = Options {
        data_dir: args.data_dir,
        ports: Ports {
            admin: args.admin_port,
            metrics: args.metrics_port,
            http: args.http_port,
            dns: args.dns_port,
            sim: args.sim_port,
        },
        sim: meridian_sim::Options::default(),
        build: env!("CARGO_PKG_VERSION").to_owned(),
    };
    process.stop_on_signals(GRACE);
    let files = process.host.files.clone();
    if let Some(path) = &args.ready_file {
        // One that a killed instance left behind would say too early that this one serves.
        files.remove(path).await.with_context(|| format!("remove {}", path.display()))?;
    }
    let running = start(options, process.host.clone(), process.trigger.clone(), process.shutdown.clone()).await?;
    let json = running.instance().to_json();
    let well_known = Instance::well_known_path();
    if let Some(path) = &well_known
        && let Err(error) = files.replace(path, json.as_bytes()).await
    {
        // A read-only home: the verbs then need --admin.
        tracing::warn!(path = %path.display(), %error, "the command line will not find this instance by itself");
    }
    if let Some(path) = &args.ready_file {
        files.replace(path, json.as_bytes()).await.with_context(|| format!("write {}", path.display()))?;
    }
    output::print(&running.banner())?;
    process.shutdown.draining().await;
    for path in well_known.iter().chain(&args.ready_file).filter(|path| is_ours(path)) {
        // What is left is recognised as stale by its process id.
        let _ = files.remove(path).await;
    }
    running.stopped().await;
    Ok(())
}

/// Another instance may have been started since; its file stays.
fn is_ours(path: &Path) -> bool {
    Instance::read(path).is_ok_and(|instance| instance.pid == std::process::id())
}
