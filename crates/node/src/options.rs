//! What a node is told at start.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use meridian_host::{Host, Listen};
use meridian_identity::{ClientTls, PeerTls, ServerTls};
use meridian_ingress::Limits;
use meridian_types::{CellName, NodeName, RegionName};
use prometheus_client::registry::Registry;

/// Options of a [`crate::Service`].
pub struct Options {
    /// Its name, unique in the fleet.
    pub name: NodeName,
    /// Where it runs.
    pub region: RegionName,
    /// Its unit of rollout.
    pub cell: CellName,
    /// Version of the program, for people.
    pub build: String,
    /// The machine.
    pub host: Host,
    /// Where clients connect; `None`: the node only answers DNS, and is no part of its region's capacity.
    pub http: Option<Box<dyn Listen>>,
    /// TLS of that listener; `None`: plaintext.
    pub tls: Option<ServerTls>,
    /// What the other nodes' public listeners speak: HTTP or HTTPS.
    pub probe_scheme: Scheme,
    /// What clients may take.
    pub limits: Limits,
    /// `None`: requests are neither taken from other nodes nor handed over to them.
    pub peers: Option<PeerListener>,
    /// `None`: it does not answer DNS.
    pub dns: Option<meridian_dns::Options>,
    /// `None`: configuration comes only through [`crate::Handle::serving`].
    pub control: Option<Control>,
    /// Directory of the last-known-good files.
    pub state_dir: PathBuf,
    /// Requests that it admits at once: at least 1.
    pub max_in_flight: u32,
    /// Where clients and peers reach it, `host:port`; empty: nobody is told.
    pub public_addresses: Vec<String>,
    /// Connect to providers and peers from this address.
    pub egress_address: Option<IpAddr>,
    /// PEM file of certificate authorities trusted for providers and peers, beside the public ones.
    pub extra_ca: Option<PathBuf>,
    /// `http://` or `https://`: asked whether this node has a way out at all, when the control plane is gone and the other
    /// of two regions does not answer. `None`: then nothing is concluded.
    pub witness: Option<Uri>,
    /// After the drain began, new connections are taken for this long.
    pub drain_linger: Duration,
    /// After the drain began, streams may go on for this long; then each ends with an error event.
    pub drain_grace: Duration,
    /// Metrics of the process; the node adds its own and serves all.
    pub registry: Registry,
}

/// Where other nodes hand requests over, and how this one does so at theirs.
pub struct PeerListener {
    /// Bound.
    pub listener: Box<dyn Listen>,
    /// Where the others reach it, `host:port`.
    pub advertise: String,
    /// Both ends of mutual TLS; `None`: plaintext, and whoever connects is believed to be a node.
    pub tls: Option<(ServerTls, PeerTls)>,
}

/// How the control plane is reached.
pub struct Control {
    /// Every replica, `host:port`.
    pub endpoints: Vec<String>,
    /// Mutual TLS; `None`: plaintext.
    pub tls: Option<ClientTls>,
}
