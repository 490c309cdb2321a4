//! What the memory and the embedded store share: the readers' side, and the times at which leases end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::state::State;
use crate::{Batch, Error, LeaseId, Result, Revision};

/// The state that readers see, and the news that it moved.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    moved: watch::Sender<()>,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self { state: Mutex::new(state), moved: watch::Sender::new(()) }
    }

    /// The state. Held for the length of a lookup, never across an await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock could only be a bug in `State`, whose steps leave nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes every watcher, to look at the state again.
    pub(crate) fn announce(&self) {
        self.moved.send_replace(());
    }

    /// Something to wait on; news from before this call do not count.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.moved.subscribe()
    }
}

/// Where a watch of one prefix stands.
#[derive(Debug)]
pub(crate) struct Cursor {
    prefix: String,
    next: Revision,
}

impl Cursor {
    /// Starts a watch. `from` may lie in the past or in the future.
    pub(crate) fn new(prefix: &str, from: Revision) -> Result<Self> {
        if from == Revision::ZERO {
            return Err(Error::invalid("watch from revision 0"));
        }
        Ok(Self { prefix: prefix.to_owned(), next: from })
    }

    /// The next revision that the watch has not seen and that changed its prefix, if the state has one.
    pub(crate) fn advance(&mut self, state: &State) -> Result<Option<Batch>> {
        let found = state.changes_since(&self.prefix, self.next)?;
        self.next = match &found {
            Some(batch) => batch.revision.next(),
            // Everything up to now was looked at, so compaction up to now does not end the watch.
            None => self.next.max(state.revision().next()),
        };
        Ok(found)
    }
}

/// When each lease ends, on a clock that starts anywhere and never goes back.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    at: BTreeMap<LeaseId, Duration>,
}

impl Deadlines {
    /// Sets when `lease` ends.
    pub(crate) fn set(&mut self, lease: LeaseId, at: Duration) {
        self.at.insert(lease, at);
    }

    pub(crate) fn remove(&mut self, lease: LeaseId) {
        self.at.remove(&lease);
    }

    /// The next time at which some lease ends.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.at.values().min().copied()
    }

    /// Takes the leases that have ended by `now`, the earliest first.
    pub(crate) fn take_due(&mut self, now: Duration) -> Vec<LeaseId> {
        let mut due: Vec<_> = self.at.iter().filter(|(_, at)| **at <= now).map(|(id, at)| (*at, *id)).collect();
        due.sort_unstable();
        for (_, id) in &due {
            self.at.remove(id);
        }
        due.into_iter().map(|(_, id)| id).collect()
    }
}
