//! What a watch delivers: all changes of one revision at a time.

use crate::{Entry, Revision};

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was created or written; the entry is as it was right after.
    Put(Entry),
    /// The key was deleted, by a transaction or with its lease.
    Delete {
        /// The whole key, prefix included.
        key: String,
        /// The revision that deleted it.
        revision: Revision,
    },
}

impl Event {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision that changed it.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.mod_revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// All changes that one revision made under a watched prefix. Never empty; each key at most once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The revision of every event in it.
    pub revision: Revision,
    /// The changes, in the order of the transaction's operations.
    pub events: Vec<Event>,
}
