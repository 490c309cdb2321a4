//! The history that watches replay: every write since the last compaction, within limits.

use std::collections::VecDeque;

use crate::{Batch, Error, Event, LOG_MAX_BYTES, LOG_MAX_REVISIONS, Result, Revision};

/// What an event costs besides its key and value; keeps a flood of tiny writes within the byte limit too.
const EVENT_OVERHEAD_BYTES: usize = 128;

/// Writes in order of revision.
#[derive(Clone, Debug)]
pub(super) struct Log {
    start: Revision,
    batches: VecDeque<Batch>,
    bytes: usize,
}

impl Log {
    /// An empty history that begins at `start`.
    pub(super) fn new(start: Revision) -> Self {
        Self { start, batches: VecDeque::new(), bytes: 0 }
    }

    /// The first revision that can be watched from.
    pub(super) fn start(&self) -> Revision {
        self.start
    }

    /// Adds the newest write, and forgets the oldest ones over the limits.
    pub(super) fn push(&mut self, batch: Batch) {
        self.bytes += cost(&batch);
        self.batches.push_back(batch);
        while self.batches.len() > LOG_MAX_REVISIONS || (self.bytes > LOG_MAX_BYTES && self.batches.len() > 1) {
            self.forget_oldest();
        }
    }

    /// Forgets everything before `at`.
    pub(super) fn compact(&mut self, at: Revision) {
        while self.batches.front().is_some_and(|batch| batch.revision < at) {
            self.forget_oldest();
        }
        self.start = self.start.max(at);
    }

    /// The first write at or after `from` with events under `prefix`, and only those events.
    pub(super) fn first(&self, prefix: &str, from: Revision) -> Result<Option<Batch>> {
        if from < self.start {
            return Err(Error::Compacted { at: self.start });
        }
        let begin = self.batches.partition_point(|batch| batch.revision < from);
        Ok(self.batches.range(begin..).find_map(|batch| {
            let events: Vec<Event> = batch.events.iter().filter(|e| e.key().starts_with(prefix)).cloned().collect();
            (!events.is_empty()).then_some(Batch { revision: batch.revision, events })
        }))
    }

    fn forget_oldest(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes = self.bytes.saturating_sub(cost(&batch));
            self.start = batch.revision.next();
        }
    }
}

fn cost(batch: &Batch) -> usize {
    let of = |event: &Event| match event {
        Event::Put(entry) => entry.key.len() + entry.value.len() + EVENT_OVERHEAD_BYTES,
        Event::Delete { key, .. } => key.len() + EVENT_OVERHEAD_BYTES,
    };
    batch.events.iter().map(of).sum()
}
