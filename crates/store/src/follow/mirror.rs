//! What a follower knows about each key, just enough to tell what is new and what is gone.

use std::collections::{BTreeMap, BTreeSet};

use super::Change;
use crate::{Batch, Event, Listing, Revision};

/// Keys with the revision of their last write; values are the reader's affair.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    keys: BTreeMap<String, Revision>,
    revision: Revision,
    /// Keys that the last comparison with a list did not find.
    missing: BTreeSet<String>,
}

impl Mirror {
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    /// Takes one batch of a watch; `None` when it is not newer than what is known.
    pub(super) fn apply(&mut self, batch: Batch) -> Option<Change> {
        if batch.revision <= self.revision {
            return None;
        }
        self.revision = batch.revision;
        let mut change = Change { revision: batch.revision, ..Change::default() };
        for event in batch.events {
            match event {
                Event::Put(entry) => {
                    self.keys.insert(entry.key.clone(), entry.mod_revision);
                    change.upserts.push(entry);
                }
                Event::Delete { key, .. } => {
                    self.keys.remove(&key);
                    change.deletes.push(key);
                }
            }
        }
        Some(change)
    }

    /// How many changes up to the mirror's revision it has not seen, by a list made just now. The list is newer than the
    /// mirror: a key that it does not have may have been deleted a moment ago, and counts when that was so before.
    pub(super) fn lost(&mut self, listing: &Listing) -> usize {
        let is_lost = |entry: &&crate::Entry| {
            entry.mod_revision <= self.revision && self.keys.get(&entry.key) != Some(&entry.mod_revision)
        };
        let written = listing.entries.iter().filter(is_lost).count();
        let listed: BTreeSet<&str> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
        let missing: BTreeSet<String> =
            self.keys.keys().filter(|key| !listed.contains(key.as_str())).cloned().collect();
        let deleted = missing.intersection(&self.missing).count();
        self.missing = missing;
        written + deleted
    }

    /// Takes a list as the new truth and says how it differs from what was known.
    pub(super) fn replace(&mut self, listing: Listing) -> Change {
        let keys: BTreeMap<_, _> = listing.entries.iter().map(|e| (e.key.clone(), e.mod_revision)).collect();
        let deletes = self.keys.keys().filter(|key| !keys.contains_key(*key)).cloned().collect();
        let known = std::mem::replace(&mut self.keys, keys);
        self.revision = listing.revision;
        self.missing.clear();
        let is_new = |entry: &crate::Entry| known.get(&entry.key) != Some(&entry.mod_revision);
        let upserts = listing.entries.into_iter().filter(is_new).collect();
        Change { upserts, deletes, revision: listing.revision, resync: true }
    }
}
