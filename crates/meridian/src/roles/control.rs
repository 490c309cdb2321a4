//! `meridian control`: one replica of the control plane.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use meridian_control::{Options, Plaintext, Service};
use meridian_identity::{PemFiles, ServerTls};

use super::place::StoreArgs;
use super::{Process, parts};
use crate::failure::Usage;

/// Streams get a Goaway and then this long; nodes go to another replica within it.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    #[command(flatten)]
    place: StoreArgs,
    /// Where nodes and operators are served.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7100")]
    listen: SocketAddr,
    /// Where they reach this replica; default: the listening address.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Name of this replica, unique in the cluster.
    #[arg(long, default_value = "control-1")]
    replica: String,
    /// Serve /metrics, /healthz and /readyz here, over HTTP and to anyone who can connect; default: nowhere.
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_listen: Option<SocketAddr>,
    /// Authority that nodes and operators are verified against.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Certificate of this replica.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Serve nodes in plain text off loopback: something else protects the address. Operators elsewhere still need
    /// certificates.
    #[arg(long)]
    insecure: bool,
}

pub(crate) async fn run(args: ControlArgs, process: Process) -> anyhow::Result<()> {
    let place = args.place.place()?;
    let tls = args.tls_files()?;
    let Process { host, shutdown, .. } = &process;
    let listener = host.net.listen(args.listen).await.with_context(|| format!("listen on {}", args.listen))?;
    let address = listener.local_addr().context("ask for the address")?;
    let tls = match tls {
        Some(files) => Some(ServerTls::from_files(host.files.clone(), files).await?),
        None => None,
    };
    let (store, embedded) = place.open(host).await?;
    let mut registry = meridian_telemetry::registry(env!("CARGO_PKG_VERSION"), "control");
    let options = Options {
        replica: args.replica.clone(),
        address: args.advertise.clone().unwrap_or_else(|| address.to_string()),
        cluster: args.place.cluster.clone(),
        store,
        host: host.clone(),
        listener,
        tls,
        plaintext: if args.insecure { Plaintext::Nodes } else { Plaintext::Loopback },
        codecs: meridian_providers::names().into_iter().map(str::to_owned).collect(),
    };
    let service = Service::new(options, &mut registry).context("prepare the control plane")?;
    tracing::info!(%address, replica = args.replica, "control plane listens; it serves once the store is read");
    let status = Arc::new((service.handle().readiness().clone(), registry));
    parts::status(args.metrics_listen, status, host, shutdown.clone()).await?;
    process.stop_on_signals(GRACE);
    let outcome = service.run(shutdown.clone()).await.context("run the control plane");
    if let Some(store) = embedded {
        store.close().await;
    }
    outcome
}

impl ControlArgs {
    fn tls_files(&self) -> Result<Option<PemFiles>, Usage> {
        let wrong = |text: &str| Err(Usage(text.to_owned()));
        match (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            (Some(_), Some(_), Some(_)) if self.insecure => wrong("--insecure and --tls-... contradict each other"),
            _ if self.insecure && self.listen.ip().is_loopback() => {
                wrong("--insecure does nothing on loopback, where plain text is served anyway")
            }
            (Some(ca), Some(certificate), Some(key)) => {
                Ok(Some(PemFiles { ca: Some(ca.clone()), certificate: certificate.clone(), key: key.clone() }))
            }
            (None, None, None) if self.insecure || self.listen.ip().is_loopback() => Ok(None),
            (None, None, None) => wrong(
                "plain text is served on loopback only: give --tls-ca, --tls-cert and --tls-key (`meridian pki` makes \
                 them), or --insecure if something else protects the address",
            ),
            _ => wrong("--tls-ca, --tls-cert and --tls-key belong together"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: ControlArgs,
    }

    fn check(line: &str, expected: Result<(), &str>) {
        let args = Line::parse_from(std::iter::once("control").chain(line.split_whitespace())).args;
        let found = args.place.place().and_then(|_| args.tls_files()).map(drop).map_err(|usage| usage.0);
        match expected {
            Ok(()) => assert_eq!(found, Ok(()), "{line}"),
            Err(text) => assert!(found.as_ref().is_err_and(|found| found.contains(text)), "{line}: {found:?}"),
        }
    }

    #[test]
    fn flags_have_to_fit_together() {
        check("--data-dir d", Ok(()));
        check("--store etcd --etcd-endpoints http://a:1,http://b:1", Ok(()));
        check("--data-dir d --tls-ca a --tls-cert b --tls-key c --listen 0.0.0.0:1", Ok(()));
        check("--data-dir d --insecure --listen 0.0.0.0:1", Ok(()));
        check("--data-dir d --insecure", Err("does nothing on loopback"));
        check("--data-dir d --insecure --listen [::1]:1", Err("does nothing on loopback"));
        check("", Err("needs --data-dir"));
        check("--data-dir d --etcd-endpoints http://a:1", Err("need --store etcd"));
        check("--store etcd", Err("needs --etcd-endpoints"));
        check("--store etcd --etcd-endpoints http://a:1 --data-dir d", Err("is for --store embedded"));
        check("--data-dir d --listen 0.0.0.0:1", Err("on loopback only"));
        check("--data-dir d --tls-ca a", Err("belong together"));
        check("--data-dir d --insecure --tls-ca a --tls-cert b --tls-key c", Err("contradict"));
    }
}
