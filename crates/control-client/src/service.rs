//! The service that keeps both lanes, and the handle to look at it.

use std::sync::Arc;
use std::time::Duration;

use meridian_lifecycle::Shutdown;
use meridian_types::Plan;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::Options;

/// Keeps the lanes of one node.
pub struct Service {
    options: Options,
    handle: Handle,
}

/// Looks at a running [`Service`]; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {}

/// Whether the control plane is in touch with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlState {
    /// No replica was ever reached since the process started.
    Never,
    /// Most of the replicas that can be reached answer this node's beats.
    Connected,
    /// Most of them do not, or none can be reached.
    Lost {
        /// Since when.
        since: Instant,
    },
}

/// The pulse to one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `host:port`.
    pub endpoint: String,
    /// How it is.
    pub state: SessionState,
    /// Since when.
    pub since: Instant,
}

/// How the pulse to one replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// The first connection is being made.
    Connecting,
    /// Beats come back.
    Up {
        /// From a beat to its echo.
        round_trip: Duration,
    },
    /// Connected, but beats did not come back in time.
    Silent,
    /// No connection can be made.
    Unreachable,
}

impl Service {
    /// A service that does nothing until it runs; its metrics go to `registry`.
    pub fn new(options: Options, _registry: &mut Registry) -> Self {
        Self { options, handle: Handle {} }
    }

    /// Looks at this service, also while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Starts from the last-known-good file, then keeps the lanes until the shutdown is *forced*: a draining node
    /// goes on beating, so that the control plane sees it drain.
    pub async fn run(self, shutdown: Shutdown) {
        let _ = self.options;
        shutdown.forced().await;
    }
}

impl Handle {
    /// Whether the control plane is in touch.
    pub fn control_state(&self) -> ControlState {
        ControlState::Never
    }

    /// The pulse to each replica, in the order of [`Options::endpoints`].
    pub fn sessions(&self) -> Vec<Session> {
        Vec::new()
    }

    /// The plan that is obeyed, if any.
    pub fn plan(&self) -> Option<Arc<Plan>> {
        None
    }

    /// Sends a beat with a report to every replica at once: a probe flipped, or the serving state changed.
    pub fn report_now(&self) {}
}
