//! `node.yaml`.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use meridian_types::{CellName, NodeName, RegionName};

use super::parts::{
    ControlPlane, DnsListen, PeerListen, PublicTls, SOCKET_ADDRESS, control_plane, dns, peers, public_tls,
};
use super::section::{Section, host_port, seconds};
use super::{ProcessFileError, read};

/// A node with 1,000 streams needs well under 1 GiB; more than that is a decision about the machine.
const DEFAULT_MAX_IN_FLIGHT: u32 = 1000;
/// 5,000 requests of 50 KiB, a long chat.
const DEFAULT_MAX_HELD_MIB: u32 = 512;
/// The largest request, its copy and the largest answer have room; 1 TiB is more than machines have.
const HELD_MIB: RangeInclusive<u32> = 128..=1_048_576;
/// An answer of a large model takes about this long; who is cut off after it has waited in vain anyway.
const DEFAULT_DRAIN_GRACE: Duration = Duration::from_secs(30);
/// DNS forgets a node about a second after it began to drain; who has resolved just before comes within the next.
const DEFAULT_DRAIN_LINGER: Duration = Duration::from_secs(2);
/// Cells are for fleets that roll out in steps: a small one has one.
const DEFAULT_CELL: &str = "main";

/// What a node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFile {
    /// Unique in the fleet.
    pub name: NodeName,
    /// Where it runs.
    pub region: RegionName,
    /// Its unit of rollout; default `main`.
    pub cell: CellName,
    /// Where clients' HTTP is accepted.
    pub listen: SocketAddr,
    /// Where clients and other nodes reach it, `host:port`; default: `listen`, which then must name an address.
    pub public_addresses: Vec<String>,
    /// HTTPS; `None`: plain HTTP.
    pub tls: Option<PublicTls>,
    /// How the control plane is reached.
    pub control: ControlPlane,
    /// Takes requests that other nodes cannot serve, and hands over its own; `None`: neither.
    pub peers: Option<PeerListen>,
    /// Answers DNS too.
    pub dns: Option<DnsListen>,
    /// Last-known-good files.
    pub state_dir: PathBuf,
    /// Requests that it admits at once: 1 to 1,000,000, default 1000.
    pub max_in_flight: u32,
    /// MiB of requests and of whole answers that it holds at once: 128 to 1,048,576, default 512. A request counts twice its
    /// size. From 70 % on batch requests are shed, from 90 % nearly all.
    pub max_held_mib: u32,
    /// Local address of connections to providers; `None`: the system chooses.
    pub egress_address: Option<IpAddr>,
    /// PEM file of authorities that are trusted for providers and peers, beside the public ones.
    pub extra_ca: Option<PathBuf>,
    /// `http://` or `https://` URL of something outside of both regions of a fleet of two; `None`: while the control plane
    /// is gone, a node of such a fleet takes the other region for living.
    pub witness: Option<Uri>,
    /// How long new connections are taken once the node drains: 0 s to 1 h, default 2 s.
    pub drain_linger: Duration,
    /// How long open requests may go on once the node drains: 0 s to 1 h, default 30 s.
    pub drain_grace: Duration,
}

impl NodeFile {
    /// Reads the file. Blocks.
    pub fn read(path: &Path) -> Result<Self, ProcessFileError> {
        read(path, parse)
    }
}

pub(super) fn parse(section: &mut Section<'_>) -> Option<NodeFile> {
    let name = section.required("name", "a node name: a-z, 0-9 and '-'", |text| NodeName::new(text).ok());
    let region = section.required("region", "the name of a region", |text| RegionName::new(text).ok());
    let cell = cell(section);
    let listen = section.required("listen", SOCKET_ADDRESS, |text| text.parse::<SocketAddr>().ok());
    let public_addresses = public_addresses(section, listen);
    let tls = section.section("tls", public_tls);
    let control = required_control(section);
    let certificates = control.as_ref().and_then(|control| control.tls.as_ref());
    let peers = section.section("peers", |section| peers(section, certificates));
    let dns = section.section("dns", dns);
    let state_dir = section.required_path("state_dir");
    let in_range = |text: &str| text.parse().ok().filter(|count| (1..=1_000_000).contains(count));
    let max_in_flight = section.optional("max_in_flight", "1 to 1000000", in_range);
    let in_range = |text: &str| text.parse().ok().filter(|mib| HELD_MIB.contains(mib));
    let max_held_mib = section.optional("max_held_mib", "128 to 1048576", in_range);
    let egress_address = section.optional("egress_address", "an IP address of this machine", |text| text.parse().ok());
    let extra_ca = section.path("extra_ca");
    let witness = witness(section);
    let drain_linger = span(section, "drain_linger", DEFAULT_DRAIN_LINGER);
    let drain_grace = drain_grace(section);
    Some(NodeFile {
        name: name?,
        region: region?,
        cell: cell?,
        listen: listen?,
        public_addresses,
        tls,
        control: control?,
        peers,
        dns,
        state_dir: state_dir?,
        max_in_flight: max_in_flight.unwrap_or(DEFAULT_MAX_IN_FLIGHT),
        max_held_mib: max_held_mib.unwrap_or(DEFAULT_MAX_HELD_MIB),
        egress_address,
        extra_ca,
        witness,
        drain_linger,
        drain_grace,
    })
}

pub(super) fn witness(section: &mut Section<'_>) -> Option<Uri> {
    section.optional("witness", "an http:// or https:// URL outside of the fleet", |text| {
        let url: Uri = text.parse().ok()?;
        (matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()).then_some(url)
    })
}

pub(super) fn cell(section: &mut Section<'_>) -> Option<CellName> {
    let cell = section.optional("cell", "a cell name: a-z, 0-9 and '-'", |text| CellName::new(text).ok());
    cell.or_else(|| CellName::new(DEFAULT_CELL).ok())
}

pub(super) fn drain_grace(section: &mut Section<'_>) -> Duration {
    span(section, "drain_grace", DEFAULT_DRAIN_GRACE)
}

fn span(section: &mut Section<'_>, key: &'static str, default: Duration) -> Duration {
    let allowed = |text: &str| seconds(text).filter(|span| *span <= Duration::from_secs(3600));
    section.optional(key, "whole seconds such as 30s, at most 3600s", allowed).unwrap_or(default)
}

pub(super) fn required_control(section: &mut Section<'_>) -> Option<ControlPlane> {
    let control = section.section("control", control_plane);
    if !section.has("control") {
        section.missing("control", "{endpoints: [host:port, ...], tls: {ca, certificate, key}}");
    }
    control
}

fn public_addresses(section: &mut Section<'_>, listen: Option<SocketAddr>) -> Vec<String> {
    let written = section.list("public_addresses", "host:port where clients reach this node", host_port);
    if !written.is_empty() || section.has("public_addresses") {
        return written;
    }
    match listen {
        Some(listen) if listen.ip().is_unspecified() || listen.port() == 0 => {
            let text = "list the public_addresses: clients cannot connect to a wildcard address or port 0";
            section.refuse("listen", text);
            Vec::new()
        }
        Some(listen) => vec![listen.to_string()],
        None => Vec::new(),
    }
}
