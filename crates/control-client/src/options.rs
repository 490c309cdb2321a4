//! What the service is told at start.

use std::path::PathBuf;
use std::sync::Arc;

use meridian_host::Host;
use meridian_identity::ClientTls;
use meridian_proto::node::v1;
use meridian_types::{CellName, Incarnation, NodeName, RegionName};

use crate::Serving;

/// Options of a [`crate::Service`].
#[derive(Clone)]
pub struct Options {
    /// Who this node is. Must agree with its client certificate, if it has one.
    pub identity: NodeIdentity,
    /// Every control replica, `host:port`.
    pub endpoints: Vec<String>,
    /// Mutual TLS towards the replicas; `None`: plaintext.
    pub tls: Option<ClientTls>,
    /// The machine.
    pub host: Host,
    /// Directory of the last-known-good files; made if it is missing.
    pub state_dir: PathBuf,
    /// What runs the configuration.
    pub serving: Arc<dyn Serving>,
}

/// Who a node is; unchanged while its process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Its name, unique in the fleet.
    pub name: NodeName,
    /// Where it runs.
    pub region: RegionName,
    /// Its unit of rollout.
    pub cell: CellName,
    /// What it does.
    pub role: Role,
    /// One for each start of the process; a higher one supersedes.
    pub incarnation: Incarnation,
    /// Where clients reach it, `host:port`.
    pub public_addresses: Vec<String>,
    /// Where other nodes hand requests over to it, `host:port`; `None`: nowhere.
    pub peer_address: Option<String>,
    /// Requests that it admits at once; 0 for [`Role::Dns`].
    pub max_in_flight: u32,
    /// Version of the program, for people.
    pub build: String,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Serves HTTP, and perhaps DNS.
    Node,
    /// Answers DNS only.
    Dns,
}

impl From<&NodeIdentity> for v1::NodeIdentity {
    fn from(identity: &NodeIdentity) -> Self {
        let role = match identity.role {
            Role::Node => v1::Role::Node,
            Role::Dns => v1::Role::Dns,
        };
        Self {
            node: identity.name.to_string(),
            incarnation: identity.incarnation.0,
            region: identity.region.to_string(),
            cell: identity.cell.to_string(),
            build: identity.build.clone(),
            role: role.into(),
            public_addresses: identity.public_addresses.clone(),
            max_in_flight: identity.max_in_flight,
            peer_address: identity.peer_address.clone().unwrap_or_default(),
        }
    }
}
