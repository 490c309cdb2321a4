//! Looks at a running node.

use std::net::SocketAddr;
use std::sync::Arc;

use meridian_control_client::Serving;

use crate::node::{Front, Node};

/// Looks at a [`crate::Service`], also while it runs; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) node: Arc<Node>,
    pub(crate) control: Option<meridian_control_client::Handle>,
    pub(crate) http: Option<SocketAddr>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("node", &self.node.name).field("http", &self.http).finish_non_exhaustive()
    }
}

impl Handle {
    /// Where clients connect: the real address, also when port 0 was asked for. `None`: it serves no HTTP.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// What feeds the node; without a control plane, whoever holds this does.
    pub fn serving(&self) -> Arc<dyn Serving> {
        Arc::clone(&self.node) as Arc<dyn Serving>
    }

    /// Whether a configuration, live or from the file, is loaded and the node is not draining.
    pub fn is_ready(&self) -> bool {
        !self.node.shutdown.is_draining() && self.node.snapshot.load().is_some()
    }

    /// What machines ask of the process, for a node that has no listener for clients.
    pub fn status(&self) -> Arc<dyn meridian_ingress::Status> {
        Arc::new(Front(Arc::clone(&self.node)))
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.node.admission.in_flight()
    }

    /// The lanes to the control plane, if there are any.
    pub fn control(&self) -> Option<&meridian_control_client::Handle> {
        self.control.as_ref()
    }

    /// The DNS authority, if there is one.
    pub fn dns(&self) -> Option<&meridian_dns::Handle> {
        self.node.dns.as_ref()
    }
}
