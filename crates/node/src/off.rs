//! Which of the targets that may serve a request are switched off: for its journal, and for the answer if nobody serves.

use meridian_llm::ClientRequest;
use meridian_routing::{Constraints, TargetId};

use crate::journal::Journal;
use crate::node::Node;
use crate::snapshot::Snapshot;
use crate::switches::WHY;

/// What a request misses.
#[derive(Debug, Default)]
pub(crate) struct Off {
    /// In the order of the model's tiers and fallbacks, each once.
    pub(crate) targets: Vec<TargetId>,
    /// They are all that may serve it.
    pub(crate) all: bool,
}

impl Off {
    /// As things are now.
    pub(crate) fn of(node: &Node, snapshot: &Snapshot, constraints: &Constraints, request: &ClientRequest) -> Self {
        let held = node.switches.load();
        let mut off = Self::default();
        if held.is_empty() {
            return off;
        }
        let mut others = false;
        for target in snapshot.table.may_serve(&request.head().model, constraints) {
            if !held.is_off(target) {
                others = true;
            } else if !off.targets.contains(target) {
                off.targets.push(target.clone());
            }
        }
        off.all = !others && !off.targets.is_empty();
        off
    }

    /// Notes who is not asked for it.
    pub(crate) fn note(&self, journal: &Journal) {
        for target in &self.targets {
            journal.passed_over(target, WHY);
        }
    }
}
