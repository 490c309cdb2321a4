//! What several roles make of what their files say.

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;

use anyhow::Context;
use meridian_config::process::{ControlPlane, DnsListen, PeerListen};
use meridian_dns::{CookieSecrets, GeoDatabase, RateLimit};
use meridian_host::Host;
use meridian_identity::{ClientTls, PeerTls, PemFiles, Role, ServerTls};
use meridian_ingress::Status;
use meridian_lifecycle::Shutdown;
use meridian_node::{Control, PeerListener};

/// UDP sockets of an authority: one a core, up to what carries millions of queries a second.
const MAX_UDP_SOCKETS: usize = 8;

/// The way to the control plane.
pub(crate) async fn control(control: ControlPlane, host: &Host) -> anyhow::Result<Control> {
    let tls = match control.tls {
        Some(files) => {
            let files = PemFiles { ca: Some(files.ca), certificate: files.certificate, key: files.key };
            Some(ClientTls::from_files(host.files.clone(), files, Role::Control).await?)
        }
        None => None,
    };
    Ok(Control { endpoints: control.endpoints, tls })
}

/// The listener for other nodes, bound.
pub(crate) async fn peers(peers: Option<PeerListen>, host: &Host) -> anyhow::Result<Option<PeerListener>> {
    let Some(PeerListen { listen, advertise, tls }) = peers else { return Ok(None) };
    let listener = host.net.listen(listen).await.with_context(|| format!("listen on {listen} (other nodes)"))?;
    let tls = match tls {
        Some(files) => {
            let files = PemFiles { ca: Some(files.ca), certificate: files.certificate, key: files.key };
            let server = ServerTls::from_files(host.files.clone(), files.clone()).await?;
            Some((server, PeerTls::from_files(host.files.clone(), files).await?))
        }
        None => None,
    };
    tracing::info!(address = %listen, advertise, tls = tls.is_some(), "takes requests from other nodes");
    Ok(Some(PeerListener { listener, advertise, tls }))
}

/// An authority's sockets, bound, and its database, loaded.
pub(crate) async fn dns(dns: &DnsListen, node: &str, host: &Host) -> anyhow::Result<meridian_dns::Options> {
    let failed = |what: &str| format!("listen on {} ({what})", dns.listen);
    let tcp = host.net.listen(dns.listen).await.with_context(|| failed("DNS over TCP"))?;
    let real = tcp.local_addr().context("ask for the address")?;
    // With port 0 both have to get the same.
    let address = SocketAddr::new(dns.listen.ip(), real.port());
    let count = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_UDP_SOCKETS);
    let udp = host.net.datagrams(address, count).await.with_context(|| failed("DNS over UDP"))?;
    let (geo, geo_file) = match &dns.geo_database {
        Some(path) => {
            // Before it is read: what is written meanwhile is then seen as a change.
            let stamp = host.files.stamp(path).await.ok();
            let loaded = GeoDatabase::load(&*host.files, path).await;
            let loaded = loaded.with_context(|| format!("load {}", path.display()))?;
            (Some(loaded), Some((path.clone(), stamp)))
        }
        None => (None, None),
    };
    let cookies = match &dns.cookie_secrets {
        Some(path) => {
            let loaded = CookieSecrets::load(&*host.files, path).await;
            Some(loaded.with_context(|| format!("load {}", path.display()))?)
        }
        None => None,
    };
    tracing::info!(address = %real, geo_database = geo.is_some(), "answers DNS");
    Ok(meridian_dns::Options {
        udp,
        tcp,
        geo,
        geo_file,
        node: node.to_owned(),
        host: host.clone(),
        cookies,
        rate_limit: Some(RateLimit::default()),
        query_log_one_in: dns.query_log_one_in,
    })
}

/// TLS of a public listener.
pub(crate) async fn public_tls(
    files: Option<meridian_config::process::PublicTls>,
    host: &Host,
) -> anyhow::Result<Option<ServerTls>> {
    let Some(files) = files else { return Ok(None) };
    let files = PemFiles { ca: None, certificate: files.certificate, key: files.key };
    Ok(Some(ServerTls::from_files(host.files.clone(), files).await?))
}

/// Serves `/metrics`, `/healthz` and `/readyz` on an address of their own, if one is given. Bound when this returns;
/// runs until the process is forced to end.
pub(crate) async fn status(
    address: Option<SocketAddr>,
    status: Arc<dyn Status>,
    host: &Host,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let Some(address) = address else { return Ok(()) };
    let listener = host.net.listen(address).await.with_context(|| format!("listen on {address} (metrics)"))?;
    let address = listener.local_addr().context("ask for the address")?;
    tracing::info!(%address, "serves metrics");
    tokio::spawn(meridian_ingress::Service::of_status(listener, status).run(shutdown));
    Ok(())
}
