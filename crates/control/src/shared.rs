//! What every part of a running replica sees.

use std::sync::Arc;

use meridian_host::Host;
use meridian_lifecycle::{Readiness, Shutdown};
use meridian_store::Store;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::fleet::{Fleet, Roster};
use crate::metrics::Metrics;
use crate::planner::Planner;
use crate::store::Layout;
use crate::view::{Mirror, View};

/// Shared by services and background tasks.
pub(crate) struct Shared {
    pub(crate) replica: String,
    pub(crate) address: String,
    pub(crate) codecs: Vec<String>,
    pub(crate) layout: Layout,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) host: Host,
    pub(crate) mirror: Mirror,
    pub(crate) fleet: Fleet,
    pub(crate) roster: Roster,
    /// Turns of nodes that need a whole commit.
    pub(crate) whole_turns: Arc<Semaphore>,
    pub(crate) access: Access,
    pub(crate) metrics: Metrics,
    pub(crate) planner: Planner,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
}

impl Shared {
    pub(crate) fn now_unix_ms(&self) -> i64 {
        self.host.clock.now_unix_ms()
    }

    /// Whether somebody judges and plans, as far as this replica can know.
    pub(crate) fn is_led(&self, view: &View) -> bool {
        view.leader.is_some() && self.mirror.status.read_only().is_none()
    }
}
