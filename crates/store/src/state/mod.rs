//! What a store holds, as a pure machine: it decides what a write would change, and applies changes. No clock, no IO.
//!
//! The memory store has one of these; the embedded store has two, one for the writer (ahead by what is not yet on
//! disk) and one for readers.

mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::log::Log;
use crate::{Batch, Compare, Entry, Error, Event, LeaseId, Listing, Op, Result, Revision, Txn};

/// A lease and the keys that end with it. When it ends is the backend's affair.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lease {
    pub(crate) ttl: Duration,
    pub(crate) keys: BTreeSet<String>,
}

/// One step of the store's state. Applying the same changes in the same order gives the same state.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Writes and deletes under one new revision.
    Write(Batch),
    /// A new lease.
    Grant(LeaseId, Duration),
    /// A lease that is over; its keys were deleted by the write before.
    End(LeaseId),
    /// History before this revision is gone.
    Compact(Revision),
}

/// The whole store at one revision, with its history since the last compaction.
#[derive(Clone, Debug)]
pub(crate) struct State {
    revision: Revision,
    entries: BTreeMap<String, Entry>,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: LeaseId,
    log: Log,
}

impl State {
    /// An empty store. Its revision is 1, as in etcd, so that 0 can mean "never".
    pub(crate) fn new() -> Self {
        Self {
            revision: Revision(1),
            entries: BTreeMap::new(),
            leases: BTreeMap::new(),
            last_lease: LeaseId(0),
            log: Log::new(Revision(1)),
        }
    }

    /// A store as it was written down: its parts must belong to one revision.
    pub(crate) fn restore(
        revision: Revision,
        entries: Vec<Entry>,
        leases: Vec<(LeaseId, Duration)>,
        last_lease: LeaseId,
        compacted: Revision,
        history: Vec<Batch>,
    ) -> Self {
        let mut state = Self::new();
        state.leases = leases.into_iter().map(|(id, ttl)| (id, Lease { ttl, keys: BTreeSet::new() })).collect();
        for entry in entries {
            state.attach(&entry);
            state.entries.insert(entry.key.clone(), entry);
        }
        state.last_lease = last_lease;
        state.log = Log::new(compacted);
        for batch in history {
            state.log.push(batch);
        }
        state.revision = revision;
        state
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The first revision that can still be watched from.
    pub(crate) fn compacted(&self) -> Revision {
        self.log.start()
    }

    pub(crate) fn last_lease(&self) -> LeaseId {
        self.last_lease
    }

    pub(crate) fn leases(&self) -> &BTreeMap<LeaseId, Lease> {
        &self.leases
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn list(&self, prefix: &str) -> Listing {
        let from_prefix = self.entries.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        let entries = from_prefix.take_while(|(key, _)| key.starts_with(prefix)).map(|(_, entry)| entry.clone());
        Listing { entries: entries.collect(), revision: self.revision }
    }

    /// The first revision at or after `from` that changed something under `prefix`.
    pub(crate) fn changes_since(&self, prefix: &str, from: Revision) -> Result<Option<Batch>> {
        self.log.first(prefix, from)
    }

    /// What `txn` would change: `None` when a compare does not hold, an empty list when there is nothing to change.
    pub(crate) fn decide(&self, txn: &Txn) -> Result<Option<Vec<Change>>> {
        if !txn.compares().iter().all(|compare| self.holds(compare)) {
            return Ok(None);
        }
        let revision = self.revision.next();
        let mut events = Vec::with_capacity(txn.ops().len());
        for op in txn.ops() {
            events.extend(self.event(op, revision)?);
        }
        Ok(Some(write(revision, events)))
    }

    /// A new lease, numbered after all that ever were.
    pub(crate) fn decide_grant(&self, ttl: Duration) -> (LeaseId, Change) {
        let id = LeaseId(self.last_lease.0.saturating_add(1));
        (id, Change::Grant(id, ttl))
    }

    /// What the end of `lease` changes: its keys go, under one revision.
    pub(crate) fn decide_end(&self, id: LeaseId) -> Result<Vec<Change>> {
        let lease = self.leases.get(&id).ok_or(Error::LeaseGone)?;
        let revision = self.revision.next();
        let events = lease.keys.iter().map(|key| Event::Delete { key: key.clone(), revision }).collect();
        let mut changes = write(revision, events);
        changes.push(Change::End(id));
        Ok(changes)
    }

    /// Whether history can be forgotten before `at`.
    pub(crate) fn decide_compact(&self, at: Revision) -> Result<Change> {
        if at <= self.compacted() {
            return Err(Error::Compacted { at: self.compacted() });
        }
        if at > self.revision {
            return Err(Error::invalid(format!("compaction at {at}, which is after revision {}", self.revision)));
        }
        Ok(Change::Compact(at))
    }

    /// Takes the step. Changes must be decided on exactly this state.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Write(batch) => self.write(batch),
            Change::Grant(id, ttl) => {
                self.last_lease = *id;
                self.leases.insert(*id, Lease { ttl: *ttl, keys: BTreeSet::new() });
            }
            Change::End(id) => {
                self.leases.remove(id);
            }
            Change::Compact(at) => self.log.compact(*at),
        }
    }

    fn write(&mut self, batch: &Batch) {
        for event in &batch.events {
            if let Some(old) = self.entries.remove(event.key()) {
                self.detach(&old);
            }
            if let Event::Put(entry) = event {
                self.attach(entry);
                self.entries.insert(entry.key.clone(), entry.clone());
            }
        }
        self.revision = batch.revision;
        self.log.push(batch.clone());
    }

    fn attach(&mut self, entry: &Entry) {
        if let Some(lease) = entry.lease.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.insert(entry.key.clone());
        }
    }

    fn detach(&mut self, entry: &Entry) {
        if let Some(lease) = entry.lease.and_then(|id| self.leases.get_mut(&id)) {
            lease.keys.remove(&entry.key);
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let entry = self.entries.get(compare.key());
        match compare {
            Compare::ModRevision(_, expected) => entry.map_or(Revision::ZERO, |e| e.mod_revision) == *expected,
            Compare::CreateRevision(_, expected) => entry.map_or(Revision::ZERO, |e| e.create_revision) == *expected,
        }
    }

    fn event(&self, op: &Op, revision: Revision) -> Result<Option<Event>> {
        let old = self.entries.get(op.key());
        match op {
            Op::Put { key, value, lease } => {
                if lease.is_some_and(|id| !self.leases.contains_key(&id)) {
                    return Err(Error::LeaseGone);
                }
                Ok(Some(Event::Put(Entry {
                    key: key.clone(),
                    value: value.clone(),
                    create_revision: old.map_or(revision, |e| e.create_revision),
                    mod_revision: revision,
                    version: old.map_or(1, |e| e.version.saturating_add(1)),
                    lease: *lease,
                })))
            }
            Op::Delete { key } => Ok(old.map(|_| Event::Delete { key: key.clone(), revision })),
        }
    }
}

/// One write, unless there is nothing to write: then the revision does not move.
fn write(revision: Revision, events: Vec<Event>) -> Vec<Change> {
    if events.is_empty() { Vec::new() } else { vec![Change::Write(Batch { revision, events })] }
}

#[cfg(test)]
mod tests;
