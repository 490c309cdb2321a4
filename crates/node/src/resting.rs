//! Which of the targets that may serve a request have asked to be left alone (Retry-After): nobody asks them before their
//! time, and a client that finds nobody else is told how long that is.

use std::time::Duration;

use http::StatusCode;
use meridian_routing::{Availability, Cause, Constraints, TargetId};

use crate::node::Node;
use crate::snapshot::Snapshot;

/// For the journal.
pub(crate) const WHY: &str = "it has asked to be left alone for longer";

/// One of them.
#[derive(Debug)]
pub(crate) struct Resting {
    pub(crate) target: TargetId,
    /// For how much longer.
    pub(crate) left: Duration,
    /// Under which status it asked for that.
    pub(crate) status: Option<u16>,
}

impl Resting {
    /// Those of the model, each once, as things are now.
    pub(crate) fn of(node: &Node, snapshot: &Snapshot, constraints: &Constraints, model: &str) -> Vec<Self> {
        let off = node.switches.load();
        let mut all: Vec<Self> = Vec::new();
        for id in snapshot.table.may_serve(model, constraints) {
            let known = all.iter().any(|resting| resting.target == *id);
            if let Availability::Cooling(left, Cause::Asked) = snapshot.availability(id)
                && !known
                && !off.is_off(id)
            {
                let status = snapshot.targets.get(id).and_then(|target| target.pressed_with());
                all.push(Self { target: id.clone(), left, status });
            }
        }
        all
    }

    /// Whether other regions may fare better: an account's rate limit is the same from everywhere.
    pub(crate) fn may_be_local(&self) -> bool {
        self.status != Some(StatusCode::TOO_MANY_REQUESTS.as_u16())
    }
}
