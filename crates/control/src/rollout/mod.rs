//! How a commit comes to the cells: one after the other, each watched for a while, and back if one takes it badly.
//!
//! What a cell runs follows from three things in the store: the head, the head's rollout, and the cell's pin
//! ([`View::target`](crate::view::View::target)). So a rollout begins without touching any cell, each step is one pin,
//! and taking everything back is one write. The decisions here are pure; the leader carries them out.

mod cells;
mod gate;
mod policy;
mod step;
#[cfg(test)]
mod tests;

use std::fmt;

use meridian_proto::fleet::v1::RolloutState;
use meridian_types::{CellName, RegionName};

pub(crate) use cells::{Cells, Member};
pub(crate) use policy::Policy;
pub(crate) use step::{Step, Watcher};

/// The cell of nodes that name none.
const DEFAULT_CELL: &str = "main";

/// A cell is a part of a region: cells of two regions may have one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CellId {
    pub(crate) region: RegionName,
    pub(crate) cell: CellName,
}

impl CellId {
    /// `None`: no such names can be.
    pub(crate) fn new(region: &RegionName, cell: &str) -> Option<Self> {
        let cell = if cell.is_empty() { DEFAULT_CELL } else { cell };
        Some(Self { region: region.clone(), cell: CellName::new(cell).ok()? })
    }
}

impl fmt::Display for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.cell)
    }
}

/// Whether cells may run something else than the head.
pub(crate) fn is_unfinished(state: RolloutState) -> bool {
    match state {
        RolloutState::Running | RolloutState::Paused | RolloutState::RolledBack | RolloutState::Aborted => true,
        RolloutState::Done | RolloutState::Superseded | RolloutState::Unspecified => false,
    }
}

/// Whether it can still go on.
pub(crate) fn is_under_way(state: RolloutState) -> bool {
    matches!(state, RolloutState::Running | RolloutState::Paused)
}

/// For people.
pub(crate) fn name(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Running => "running",
        RolloutState::Paused => "paused",
        RolloutState::Done => "done",
        RolloutState::RolledBack => "rolled back",
        RolloutState::Aborted => "aborted",
        RolloutState::Superseded => "superseded",
        RolloutState::Unspecified => "unknown",
    }
}
