//! The cells of a fleet, and the order in which they get a commit.

use std::collections::{BTreeMap, BTreeSet};

use meridian_types::{NodeName, RegionName};

use super::CellId;
use crate::fleet::Node;
use crate::view::View;

/// A cell of this name goes first.
const CANARY: &str = "canary";

/// What is known of one node, for the gate of its cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// One for each start of its process.
    pub(crate) incarnation: u64,
    /// Beats come.
    pub(crate) connected: bool,
    /// It serves what its cell is to run.
    pub(crate) applied: bool,
    /// The commit that it refused last, and why.
    pub(crate) refused: Option<(u64, String)>,
    /// Requests since this replica knows its process, and of these the failed ones.
    pub(crate) finished: u64,
    pub(crate) failed: u64,
}

/// Every cell with its nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cells {
    pub(crate) members: BTreeMap<CellId, BTreeMap<NodeName, Member>>,
}

impl Cells {
    /// Of every node that pulses here or is in the store. One whose cell cannot be is in none.
    pub(crate) fn of(view: &View, live: &BTreeMap<NodeName, Node>) -> Self {
        let mut members: BTreeMap<CellId, BTreeMap<NodeName, Member>> = BTreeMap::new();
        for (name, stored) in view.nodes.iter().filter(|(name, _)| !live.contains_key(*name)) {
            let Some(cell) = CellId::new(&stored.region, &stored.document.cell) else { continue };
            members.entry(cell).or_default().insert(name.clone(), Member::default());
        }
        for (name, node) in live {
            let Some(cell) = node.cell() else { continue };
            let member = Member {
                incarnation: node.identity.incarnation,
                connected: node.is_connected(),
                applied: view.target(Some(&cell)).is_some_and(|target| node.serves_target(target)),
                refused: node.refusal_under(view.head_target()),
                finished: node.finished,
                failed: node.failed,
            };
            members.entry(cell).or_default().insert(name.clone(), member);
        }
        Self { members }
    }

    /// Whether some region is divided, so that a part of it can go first.
    pub(crate) fn are_divided(&self) -> bool {
        let regions: BTreeSet<&RegionName> = self.members.keys().map(|cell| &cell.region).collect();
        regions.len() < self.members.len()
    }

    /// The canary: one called so, else the smallest with a connected node. Then the other cells of its region, then
    /// region by region.
    pub(crate) fn in_order(&self) -> Vec<&CellId> {
        let connected = |cell: &CellId| {
            self.members.get(cell).map_or(0, |nodes| nodes.values().filter(|node| node.connected).count())
        };
        let rank = |cell: &&CellId| {
            let nodes = connected(cell);
            (nodes == 0, cell.cell.as_str() != CANARY, nodes, (*cell).clone())
        };
        let canary = self.members.keys().min_by_key(rank);
        let mut cells: Vec<&CellId> = self.members.keys().collect();
        cells.sort_by_key(|cell| {
            let same_region = canary.is_some_and(|canary| canary.region == cell.region);
            (canary != Some(*cell), !same_region, (*cell).clone())
        });
        cells
    }
}
