//! Watches over an attempt that may be dropped before it comes to an outcome, so that its silence is not forgotten.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::node::Node;
use crate::ticket::Ticket;

/// Dropped while it is not over, it tells the target's breaker and the metrics.
pub(crate) struct Watch<'a> {
    pub(crate) node: &'a Node,
    pub(crate) ticket: &'a Ticket,
    /// Another was faster; else it is the client that left.
    pub(crate) outrun: &'a AtomicBool,
    pub(crate) over: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let (id, outrun) = (&self.ticket.target().id, self.outrun.load(Ordering::Relaxed));
        if outrun {
            self.node.metrics.attempted(id, "outrun");
        }
        let changes = self.ticket.given_up(outrun, self.node.host.entropy.unit());
        self.node.metrics.changed(id, changes);
    }
}
