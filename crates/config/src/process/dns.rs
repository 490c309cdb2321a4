//! `dns.yaml`: a process that only answers DNS.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use meridian_types::{CellName, NodeName, RegionName};

use super::node::{cell, drain_grace, required_control, witness};
use super::parts::{ControlPlane, DnsListen, SOCKET_ADDRESS, dns};
use super::section::Section;
use super::{ProcessFileError, read};

/// What a DNS process is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsFile {
    /// Unique in the fleet.
    pub name: NodeName,
    /// Where it runs.
    pub region: RegionName,
    /// Its unit of rollout; default `main`.
    pub cell: CellName,
    /// Where it answers.
    pub dns: DnsListen,
    /// How the control plane is reached.
    pub control: ControlPlane,
    /// Last-known-good files.
    pub state_dir: PathBuf,
    /// Where `/metrics`, `/healthz` and `/readyz` are served, in plain text and to anyone who can connect; `None`:
    /// nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// What the nodes' public listeners speak, which it looks at to tell which regions live while nobody plans: `http` or
    /// `https`, default `http`.
    pub probe_scheme: Scheme,
    /// PEM file of authorities that are trusted for these, beside the public ones.
    pub extra_ca: Option<PathBuf>,
    /// As of a node.
    pub witness: Option<Uri>,
    /// How long open TCP connections may go on once it drains: 0 s to 1 h, default 30 s.
    pub drain_grace: Duration,
}

impl DnsFile {
    /// Reads the file. Blocks.
    pub fn read(path: &Path) -> Result<Self, ProcessFileError> {
        read(path, parse)
    }
}

pub(super) fn parse(section: &mut Section<'_>) -> Option<DnsFile> {
    let name = section.required("name", "a node name: a-z, 0-9 and '-'", |text| NodeName::new(text).ok());
    let region = section.required("region", "the name of a region", |text| RegionName::new(text).ok());
    let cell = cell(section);
    let listen = section.section("dns", dns);
    if !section.has("dns") {
        section.missing("dns", "{listen: [address:port, ...], geo_database: PATH}");
    }
    let control = required_control(section);
    let state_dir = section.required_path("state_dir");
    let metrics_listen = section.optional("metrics_listen", SOCKET_ADDRESS, |text| text.parse().ok());
    let scheme = |text: &str| [Scheme::HTTP, Scheme::HTTPS].into_iter().find(|scheme| *scheme == *text);
    let probe_scheme = section.optional("probe_scheme", "http or https", scheme);
    let extra_ca = section.path("extra_ca");
    let witness = witness(section);
    let drain_grace = drain_grace(section);
    Some(DnsFile {
        name: name?,
        region: region?,
        cell: cell?,
        dns: listen?,
        control: control?,
        state_dir: state_dir?,
        metrics_listen,
        probe_scheme: probe_scheme.unwrap_or(Scheme::HTTP),
        extra_ca,
        witness,
        drain_grace,
    })
}
