//! The next step of a rollout.

use std::time::Duration;

use meridian_proto::fleet::v1::RolloutState;

use super::gate::{Gate, Look};
use super::{CellId, Cells};

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing now.
    Wait,
    /// This cell gets the commit, for this reason.
    Pin(CellId, String),
    /// Every cell has it.
    Finish(String),
    /// It is taken back.
    Back(String),
}

/// What the leader remembers of one rollout. A new leader looks at every cell anew, for the whole of its time: what it
/// has not seen itself it does not count.
#[derive(Debug, Clone)]
pub(crate) struct Watcher {
    commit: u64,
    gate: Gate,
}

impl Watcher {
    /// Of the rollout of a commit.
    pub(crate) fn new(commit: u64) -> Self {
        Self { commit, gate: Gate::default() }
    }

    /// Which commit's rollout it watches.
    pub(crate) fn commit(&self) -> u64 {
        self.commit
    }

    /// The next step, given which cells have the commit already. `now` is monotonic.
    pub(crate) fn step(
        &mut self,
        state: RolloutState,
        cells: &Cells,
        has_it: impl Fn(&CellId) -> bool,
        bake: Duration,
        now: Duration,
    ) -> Step {
        let (moved, rest): (Vec<_>, Vec<_>) = cells.in_order().into_iter().partition(|cell| has_it(cell));
        // A leader that sees no node at all cannot tell how any of them takes it.
        let mut nodes = cells.members.values().flatten().peekable();
        if nodes.peek().is_some() && !nodes.any(|(_, node)| node.connected) {
            return Step::Wait;
        }
        match self.gate.look(self.commit, &moved, cells, bake, now) {
            Look::Bad(why) => return Step::Back(why),
            Look::Waits => return Step::Wait,
            Look::Good if state != RolloutState::Running => return Step::Wait,
            Look::Good => {}
        }
        match (rest.first(), moved.len()) {
            (None, 0) => Step::Finish("no node is known".to_owned()),
            (None, count) => Step::Finish(format!("{count} cells run it")),
            (Some(cell), 0) => Step::Pin((*cell).clone(), "the first cell".to_owned()),
            (Some(cell), count) => {
                let all = count + rest.len();
                Step::Pin((*cell).clone(), format!("{count} of {all} cells run it well"))
            }
        }
    }
}
