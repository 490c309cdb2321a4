//! What each cell was ever to run, worked out anew from the store's documents, one revision after the other: the control
//! plane's own reading of them is on trial here.

use std::collections::{BTreeMap, BTreeSet};

use meridian_proto::fleet::v1::RolloutState;
use meridian_proto::store::v1 as stored;
use prost::{DecodeError, Message};

use super::fleet::cells;
use crate::etcd::Written;

/// The head, its rollout and the pins, as they stand, and what followed from them so far.
#[derive(Default)]
pub(super) struct Pins {
    head: Option<u64>,
    rollouts: BTreeMap<u64, stored::Rollout>,
    /// By `region/cell`.
    pins: BTreeMap<String, u64>,
    named: BTreeMap<String, BTreeSet<u64>>,
    /// What was changed since somebody asked, for people.
    told: Vec<String>,
}

impl Pins {
    /// Reads what was written under `prefix`, in order. Says what must not be there.
    pub(super) fn read(&mut self, prefix: &str, written: &[Written]) -> Vec<String> {
        let mut broken = Vec::new();
        // What one transaction writes is seen together, or it would name what nobody meant.
        for together in written.chunk_by(|one, next| one.revision == next.revision) {
            let before = self.pins.clone();
            for one in together {
                let key = one.key.strip_prefix(prefix).unwrap_or(&one.key);
                if let Err(error) = self.take(key, one.value.as_deref()) {
                    broken.push(format!("{key} cannot be read: {error}"));
                }
            }
            let gone = before.iter().filter(|(cell, pin)| {
                !self.pins.contains_key(*cell) && self.is_held_back() && Some(**pin) == self.head
            });
            broken.extend(gone.map(|(cell, pin)| format!("the pin of {cell} went while the rollout of {pin} ran")));
            for cell in cells() {
                let intended = self.intended(&cell);
                self.named.entry(cell).or_default().extend(intended);
            }
        }
        broken
    }

    /// What was changed since the last call, for people.
    pub(super) fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    /// Whether the cell was to run the commit at any time.
    pub(super) fn named(&self, cell: &str, commit: u64) -> bool {
        self.named.get(cell).is_some_and(|named| named.contains(&commit))
    }

    fn take(&mut self, key: &str, value: Option<&[u8]>) -> Result<(), DecodeError> {
        let (kind, name) = key.split_once('/').unwrap_or((key, ""));
        match (kind, value) {
            ("head", value) => self.head = value.map(stored::Head::decode).transpose()?.map(|head| head.commit),
            ("rollout", Some(value)) => {
                let rollout = stored::Rollout::decode(value)?;
                let (commit, state, reason) = (rollout.commit, rollout.state(), &rollout.reason);
                self.told.push(format!("rollout of {commit} {state:?}: {reason}"));
                self.rollouts.insert(rollout.commit, rollout);
            }
            ("rollout", None) => self.rollouts.retain(|commit, _| name.parse() != Ok(*commit)),
            ("pin", Some(value)) => {
                let commit = stored::Pin::decode(value)?.commit;
                self.told.push(format!("{name} is pinned to {commit}"));
                self.pins.insert(name.to_owned(), commit);
            }
            ("pin", None) => {
                self.pins.remove(name);
            }
            _ => {}
        }
        Ok(())
    }

    fn rollout(&self) -> Option<&stored::Rollout> {
        self.rollouts.get(&self.head?)
    }

    /// Whether some cells may not run the head.
    fn is_held_back(&self) -> bool {
        let is_over = |rollout: &stored::Rollout| {
            matches!(rollout.state(), RolloutState::Done | RolloutState::Superseded | RolloutState::Unspecified)
        };
        self.rollout().is_some_and(|rollout| !is_over(rollout))
    }

    fn intended(&self, cell: &str) -> Option<u64> {
        let rollout = self.rollout().filter(|_| self.is_held_back());
        let is_not_for = |rollout: &&stored::Rollout| {
            let goes_on = matches!(rollout.state(), RolloutState::Running | RolloutState::Paused);
            !goes_on || self.pins.get(cell) != Some(&rollout.commit)
        };
        rollout.filter(is_not_for).map(|rollout| rollout.from).or(self.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `value`: `None` for a deletion.
    fn written(revision: i64, key: &str, value: Option<Vec<u8>>) -> Written {
        Written { revision, key: format!("/m/{key}"), value }
    }

    fn head(revision: i64, commit: u64) -> Written {
        written(revision, "head", Some(stored::Head { commit, ..Default::default() }.encode_to_vec()))
    }

    fn rollout(revision: i64, commit: u64, from: u64, state: RolloutState) -> Written {
        let rollout = stored::Rollout { commit, from, state: state.into(), ..Default::default() };
        written(revision, &format!("rollout/{commit:020}"), Some(rollout.encode_to_vec()))
    }

    fn pin(revision: i64, commit: u64) -> Written {
        written(revision, "pin/us-west/canary", Some(stored::Pin { commit, ..Default::default() }.encode_to_vec()))
    }

    /// What the canary and the rest of the region were to run so far.
    fn named(pins: &Pins) -> [Vec<u64>; 2] {
        ["us-west/canary", "us-west/main"].map(|cell| pins.named[cell].iter().copied().collect())
    }

    #[test]
    fn a_pin_names_a_commit_for_its_own_cell_only_and_an_aborted_rollout_for_no_other() {
        let mut pins = Pins::default();
        let first = [head(1, 1), rollout(1, 1, 0, RolloutState::Done)];
        assert_eq!(pins.read("/m/", &first), [""; 0]);
        let begun = [head(2, 2), rollout(2, 2, 1, RolloutState::Running), pin(3, 2)];
        assert_eq!(pins.read("/m/", &begun), [""; 0]);
        assert_eq!(named(&pins), [vec![1, 2], vec![1]]);
        let aborted = [rollout(4, 2, 1, RolloutState::Aborted), pin(5, 1)];
        assert_eq!(pins.read("/m/", &aborted), [""; 0]);
        assert_eq!(named(&pins), [vec![1, 2], vec![1]]);
        let finished = [head(6, 3), rollout(6, 3, 1, RolloutState::Done), written(7, "pin/us-west/canary", None)];
        assert_eq!(pins.read("/m/", &finished), [""; 0]);
        assert_eq!(named(&pins), [vec![1, 2, 3], vec![1, 3]]);
    }

    #[test]
    fn a_pin_that_goes_under_a_running_rollout_is_told() {
        let mut pins = Pins::default();
        let begun = [head(1, 2), rollout(1, 2, 1, RolloutState::Running), pin(2, 2)];
        assert_eq!(pins.read("/m/", &begun), [""; 0]);
        let gone = pins.read("/m/", &[written(3, "pin/us-west/canary", None)]);
        assert_eq!(gone, ["the pin of us-west/canary went while the rollout of 2 ran"]);
    }
}
