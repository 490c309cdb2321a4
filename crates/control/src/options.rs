//! What a replica of the control plane is started with.

use std::sync::Arc;

use meridian_host::{Host, Listen};
use meridian_identity::ServerTls;
use meridian_store::Store;

/// Everything that [`Service::new`](crate::Service::new) needs.
pub struct Options {
    /// Name of the replica, unique in the cluster; it stands in store keys.
    pub replica: String,
    /// Where nodes and operators reach it, `host:port`.
    pub address: String,
    /// Name of the cluster: everything lies under `/meridian/<cluster>/`.
    pub cluster: String,
    /// The store, which may be shared with other replicas.
    pub store: Arc<dyn Store>,
    /// Wall clock and randomness.
    pub host: Host,
    /// Where both services listen; bound before anything starts.
    pub listener: Box<dyn Listen>,
    /// Mutual TLS. `None`: plain text, and then [`Options::plaintext`] says who is served.
    pub tls: Option<ServerTls>,
    /// Who is served without a certificate.
    pub plaintext: Plaintext,
    /// Names of the provider codecs that nodes have; a provider with another one is refused.
    pub codecs: Vec<String>,
}

/// Who is served without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plaintext {
    /// Whoever is on this machine.
    Loopback,
    /// Nodes wherever they are, operators on this machine only.
    Nodes,
    /// Anyone. For simulated networks, which have neither loopback nor certificates; no flag leads here.
    Anyone,
}
