//! Sections that several files share.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;

use super::section::{Section, host_port};

/// How the control plane is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlane {
    /// Every replica, `host:port`; the pulse goes to all of them.
    pub endpoints: Vec<String>,
    /// Certificates; `None`: plaintext, which is allowed on loopback, or anywhere with `insecure: true`.
    pub tls: Option<Mutual>,
}

/// Certificates of both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutual {
    /// The authority.
    pub ca: PathBuf,
    /// Own certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where other nodes hand requests over, and how this one does so at theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerListen {
    /// Where it is accepted.
    pub listen: SocketAddr,
    /// Where the other nodes reach it, `host:port`; default: `listen`, which then must name an address.
    pub advertise: String,
    /// Certificates of both ends; default: those of `control`. `None`: plaintext, which is allowed on loopback only,
    /// because who speaks there is believed to be a node.
    pub tls: Option<Mutual>,
}

/// Certificate of a public listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicTls {
    /// Certificate chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where DNS is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsListen {
    /// UDP and TCP. One address for now, written as a list.
    pub listen: SocketAddr,
    /// MaxMind-format database of where addresses are, looked at every 10 s and loaded anew when it has changed; `None`:
    /// the zones' `networks` alone, which go before it anyway.
    pub geo_database: Option<PathBuf>,
    /// Secrets of DNS cookies, the same file for every authority of the fleet; `None`: each makes its own.
    pub cookie_secrets: Option<PathBuf>,
    /// One query in so many is logged, with addresses cut to /24 and /48; `None`: none.
    pub query_log_one_in: Option<NonZero<u32>>,
}

pub(super) const SOCKET_ADDRESS: &str = "an address and a port, such as 127.0.0.1:8080 or [::1]:8080";

pub(super) fn control_plane(section: &mut Section<'_>) -> Option<ControlPlane> {
    const ALLOWED: &str = "host:port of a control replica";
    let endpoints = section.list("endpoints", ALLOWED, host_port);
    if endpoints.is_empty() {
        section.missing("endpoints", &format!("a list with at least one {ALLOWED}"));
    }
    let tls = section.section("tls", mutual);
    let insecure = section.optional("insecure", "true or false", |text| text.parse::<bool>().ok()).unwrap_or(false);
    if tls.is_none() && !insecure && !endpoints.iter().all(|endpoint| is_loopback(endpoint)) {
        let text = "plaintext is allowed on loopback only: give `tls: {ca, certificate, key}`, or `insecure: true` if \
                    something else protects the connection";
        section.refuse("endpoints", text);
    }
    Some(ControlPlane { endpoints, tls })
}

pub(super) fn mutual(section: &mut Section<'_>) -> Option<Mutual> {
    let ca = section.required_path("ca");
    let certificate = section.required_path("certificate");
    let key = section.required_path("key");
    Some(Mutual { ca: ca?, certificate: certificate?, key: key? })
}

/// `shared`: the certificates with which the process speaks to the control plane.
pub(super) fn peers(section: &mut Section<'_>, shared: Option<&Mutual>) -> Option<PeerListen> {
    let listen = section.required("listen", SOCKET_ADDRESS, |text| text.parse::<SocketAddr>().ok());
    let advertise = section.optional("advertise", "host:port where other nodes reach this one", host_port);
    let tls = section.section("tls", mutual).or_else(|| shared.cloned());
    let listen = listen?;
    if advertise.is_none() && (listen.ip().is_unspecified() || listen.port() == 0) {
        section.refuse("listen", "say what to advertise: nodes cannot connect to a wildcard address or port 0");
    }
    let advertise = advertise.unwrap_or_else(|| listen.to_string());
    if tls.is_none() && !(listen.ip().is_loopback() && is_loopback(&advertise)) {
        let text = "plaintext is allowed on loopback only: give `tls: {ca, certificate, key}` here or in `control`; who \
                    speaks here is believed to be a node";
        section.refuse("listen", text);
    }
    Some(PeerListen { listen, advertise, tls })
}

pub(super) fn public_tls(section: &mut Section<'_>) -> Option<PublicTls> {
    let certificate = section.required_path("certificate");
    let key = section.required_path("key");
    Some(PublicTls { certificate: certificate?, key: key? })
}

pub(super) fn dns(section: &mut Section<'_>) -> Option<DnsListen> {
    let listen = section.list("listen", SOCKET_ADDRESS, |text| text.parse().ok());
    let geo_database = section.path("geo_database");
    let cookie_secrets = section.path("cookie_secrets");
    let one_in = "a number from 1: of so many queries one is logged";
    let query_log_one_in = section.optional("query_log_one_in", one_in, |text| text.parse().ok());
    match listen.as_slice() {
        [listen] => return Some(DnsListen { listen: *listen, geo_database, cookie_secrets, query_log_one_in }),
        [] => section.missing("listen", &format!("a list with one entry: {SOCKET_ADDRESS}")),
        _ => section.refuse("listen", "one address is allowed; [::]:53 answers on every address of both families"),
    }
    None
}

fn is_loopback(endpoint: &str) -> bool {
    let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
