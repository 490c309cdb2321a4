//! What a follower knows about each key, just enough to tell what is new and what is gone.

use std::collections::BTreeMap;

use super::Change;
use crate::{Batch, Event, Listing, Revision};

/// Keys with the revision of their last write; values are the reader's affair.
#[derive(Debug, Default)]
pub(super) struct Mirror {
    keys: BTreeMap<String, Revision>,
    revision: Revision,
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

    /// Takes a list as the new truth and says how it differs from what was known.
    pub(super) fn replace(&mut self, listing: Listing) -> Change {
        let keys: BTreeMap<_, _> = listing.entries.iter().map(|e| (e.key.clone(), e.mod_revision)).collect();
        let deletes = self.keys.keys().filter(|key| !keys.contains_key(*key)).cloned().collect();
        let known = std::mem::replace(&mut self.keys, keys);
        self.revision = listing.revision;
        let is_new = |entry: &crate::Entry| known.get(&entry.key) != Some(&entry.mod_revision);
        let upserts = listing.entries.into_iter().filter(is_new).collect();
        Change { upserts, deletes, revision: listing.revision, resync: true }
    }
}
