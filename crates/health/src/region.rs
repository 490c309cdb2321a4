//! A region is what its nodes are.

use crate::NodeVerdict;

/// What a region is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegionVerdict {
    /// At least one node serves, or may serve unseen.
    Serving,
    /// Every living node says that it is stopping or starting.
    Leaving,
    /// Every node is down.
    Down,
    /// There is no node.
    Empty,
}

/// From the verdicts about the region's serving nodes. Each DOWN has the agreement of other regions already.
pub fn region(nodes: impl IntoIterator<Item = NodeVerdict>) -> RegionVerdict {
    nodes.into_iter().fold(RegionVerdict::Empty, |so_far, node| {
        let this = match node {
            NodeVerdict::Serving | NodeVerdict::Unreachable => RegionVerdict::Serving,
            NodeVerdict::Draining => RegionVerdict::Leaving,
            NodeVerdict::Down => RegionVerdict::Down,
        };
        // The variants stand in the order of hope.
        so_far.min(this)
    })
}
