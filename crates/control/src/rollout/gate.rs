//! Whether the cells that got a commit take it well.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_types::NodeName;

use super::{CellId, Cells, Member};

/// A node that is connected applies what its cell is to run within this time, or something is wrong with it or with the commit.
const APPLY: Duration = Duration::from_secs(30);
/// A share of failed requests means nothing below so many.
const LEAST_REQUESTS: u64 = 50;
/// Failures of the cells with the commit may be twice those of the others, and so many parts of all requests more.
const FACTOR: f64 = 2.0;
const SLACK: f64 = 0.05;

/// How a node was when its cell got the commit, or when it was first seen after.
#[derive(Debug, Clone, Copy)]
struct Start {
    incarnation: u64,
    finished: u64,
    failed: u64,
}

impl Start {
    fn of((name, node): (&NodeName, &Member)) -> (NodeName, Self) {
        let Member { incarnation, finished, failed, .. } = *node;
        (name.clone(), Self { incarnation, finished, failed })
    }
}

/// What is remembered of the cells since they got the commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate {
    pinned_at: BTreeMap<CellId, Duration>,
    /// Since when every connected node of the cell serves the commit.
    applied_at: BTreeMap<CellId, Duration>,
    starts: BTreeMap<NodeName, Start>,
    /// Since when a connected node of these cells serves something else.
    late_since: BTreeMap<NodeName, Duration>,
}

/// What the cells with the commit look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Look {
    /// Something is not as it should be.
    Bad(String),
    /// The newest of them needs more time.
    Waits,
    /// All have run it long enough.
    Good,
}

impl Gate {
    /// Looks at the cells `moved`, which are to run `commit`, and compares them with all others.
    pub(super) fn look(
        &mut self,
        commit: u64,
        moved: &[&CellId],
        cells: &Cells,
        bake: Duration,
        now: Duration,
    ) -> Look {
        for (name, node) in cells.members.values().flatten().filter(|(_, node)| node.connected) {
            let (name, start) = Start::of((name, node));
            self.starts.entry(name).or_insert(start);
        }
        let mut waits = false;
        for cell in moved {
            match self.look_at(commit, cell, cells, bake, now) {
                Look::Good => {}
                Look::Waits => waits = true,
                bad @ Look::Bad(_) => return bad,
            }
        }
        match self.errors(moved, cells) {
            Some(text) => Look::Bad(text),
            None if waits => Look::Waits,
            None => Look::Good,
        }
    }

    fn look_at(&mut self, commit: u64, cell: &CellId, cells: &Cells, bake: Duration, now: Duration) -> Look {
        let Some(nodes) = cells.members.get(cell) else { return Look::Good };
        let pinned_at = match self.pinned_at.get(cell) {
            Some(at) => *at,
            None => {
                // What was before the cell got it does not count.
                self.starts.extend(nodes.iter().filter(|(_, node)| node.connected).map(Start::of));
                self.pinned_at.insert(cell.clone(), now);
                now
            }
        };
        for (name, node) in nodes {
            if let Some((_, why)) = node.refused.as_ref().filter(|(refused, _)| *refused == commit) {
                return Look::Bad(format!("{name} in {cell} refused it: {why}"));
            }
            let Some(start) = self.starts.get_mut(name).filter(|start| node.incarnation > start.incarnation) else {
                continue;
            };
            // After the time of its cell it may be started anew for any reason.
            if self.applied_at.get(cell).is_none_or(|at| now.saturating_sub(*at) < bake) {
                return Look::Bad(format!("{name} in {cell} was started anew while it ran it"));
            }
            start.incarnation = node.incarnation;
        }
        let connected = || nodes.iter().filter(|(_, node)| node.connected);
        for (name, _) in connected().filter(|(_, node)| node.applied) {
            self.late_since.remove(name);
        }
        if let Some((name, _)) = connected().find(|(_, node)| !node.applied) {
            self.applied_at.remove(cell);
            let since = *self.late_since.entry(name.clone()).or_insert(now);
            return match now.saturating_sub(since) >= APPLY {
                true => Look::Bad(format!("{name} in {cell} did not apply it within {} s", APPLY.as_secs())),
                false => Look::Waits,
            };
        }
        // Nobody there: what is down is not waited for for ever. Nodes that come later are held to the same.
        if connected().next().is_none() {
            let waited = nodes.is_empty() || now.saturating_sub(pinned_at) >= APPLY;
            return if waited { Look::Good } else { Look::Waits };
        }
        let applied_at = *self.applied_at.entry(cell.clone()).or_insert(now);
        if now.saturating_sub(applied_at) >= bake { Look::Good } else { Look::Waits }
    }

    /// What is wrong with the share of failed requests, compared with the cells that do not have the commit. Where these
    /// have no requests there is nothing to compare with: a provider's bad hour is no fault of a commit.
    fn errors(&self, moved: &[&CellId], cells: &Cells) -> Option<String> {
        let mut sums = [(0u64, 0u64); 2];
        for (cell, nodes) in &cells.members {
            let [with, without] = &mut sums;
            let (finished, failed) = if moved.contains(&cell) { with } else { without };
            for (name, node) in nodes {
                let Some(start) = self.starts.get(name) else { continue };
                *finished += node.finished.saturating_sub(start.finished);
                *failed += node.failed.saturating_sub(start.failed);
            }
        }
        let [(with, with_failed), (without, without_failed)] = sums;
        if with < LEAST_REQUESTS || without < LEAST_REQUESTS {
            return None;
        }
        let share = |failed: u64, of: u64| failed as f64 / of as f64;
        let (here, elsewhere) = (share(with_failed, with), share(without_failed, without));
        (here > elsewhere * FACTOR + SLACK).then(|| {
            let percent = |share: f64| format!("{:.0} %", share * 100.0);
            format!(
                "{} of {with} requests fail in cells that run it, {} of {without} in the others",
                percent(here),
                percent(elsewhere)
            )
        })
    }
}
