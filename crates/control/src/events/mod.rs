//! What happened, as a numbered stream that every replica tells alike.
//!
//! Events are not stored: each replica derives them from the changes of the store, and these come to every replica in
//! the same order with the same revisions. So a cursor, which is a place in that order, holds at any of them. A
//! replica remembers a bounded number of events; a cursor from before them, or from before a gap in its watch of the
//! store, is answered with "look again", never with silence.

mod cursor;
mod derive;
mod ring;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meridian_proto::admin::v1::Event;
use meridian_store::follow::Change;
use tokio::sync::watch;

use crate::view::View;
pub(crate) use cursor::{Cursor, Place};
pub(crate) use ring::Next;
use ring::Ring;

/// What is known to lie between two views of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Between {
    /// One revision, whole.
    Revision,
    /// A list that found nothing new.
    Nothing,
    /// A list that found something new: one revision or many, in an order that nobody knows.
    Unknown,
}

impl Between {
    pub(crate) fn of(change: &Change) -> Self {
        match (change.resync, change.upserts.is_empty() && change.deletes.is_empty()) {
            (false, _) => Self::Revision,
            (true, true) => Self::Nothing,
            (true, false) => Self::Unknown,
        }
    }
}

/// The events of a replica; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    inner: Arc<Mutex<Ring>>,
    /// Counts the changes of the store.
    moved: Arc<watch::Sender<u64>>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::default(), moved: Arc::new(watch::Sender::new(0)) }
    }

    /// Held for the length of a lookup, never across an await.
    fn lock(&self) -> MutexGuard<'_, Ring> {
        // Each step leaves the ring whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what lies between two views of the store.
    pub(crate) fn take(&self, before: &View, after: &View, between: Between, now_unix_ms: i64) {
        let at = Place { revision: after.revision.0, index: 0 };
        match between {
            Between::Revision => self.lock().extend(at, derive::derive(before, after, now_unix_ms)),
            // Whatever was written came and went again, or nothing was.
            Between::Nothing if before.revision == after.revision => return,
            Between::Nothing => self.lock().restart(at),
            // A watch that lost something without a word was found out: no cursor of this revision can be trusted.
            Between::Unknown if before.revision == after.revision => {
                self.lock().restart(Place { index: u32::MAX, ..at })
            }
            Between::Unknown => self.lock().restart(at),
        }
        self.moved.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// To wait for more.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// What comes after `place`.
    pub(crate) fn after(&self, place: Place) -> Next {
        self.lock().after(place)
    }

    /// The newest place.
    pub(crate) fn newest(&self) -> Place {
        self.lock().newest()
    }

    /// What is remembered about a subject, oldest first.
    pub(crate) fn about(&self, subject: &str) -> Vec<Event> {
        self.lock().about(subject)
    }
}

#[cfg(test)]
mod tests {
    use meridian_store::{Entry, Revision};

    use super::*;

    fn at(revision: u64) -> View {
        let mut view = View::default();
        view.revision = Revision(revision);
        view
    }

    #[test]
    fn what_was_not_seen_one_by_one_is_a_gap_for_every_cursor_before_it_and_for_no_other() {
        let place = |revision, index| Place { revision, index };
        for (between, to, gaps, known) in [
            (Between::Revision, 6, vec![], vec![place(5, 0), place(5, 3), place(6, 0)]),
            (Between::Nothing, 5, vec![], vec![place(5, 0), place(5, 3)]),
            (Between::Nothing, 7, vec![place(5, 3), place(6, 9)], vec![place(7, 0)]),
            (Between::Unknown, 7, vec![place(5, 3), place(6, 9)], vec![place(7, 0)]),
            // An audit found that the watch had lost something, up to where it stands.
            (Between::Unknown, 5, vec![place(5, 0), place(5, 3)], vec![place(6, 0)]),
        ] {
            let events = Events::new();
            events.take(&View::default(), &at(5), Between::Unknown, 0);
            events.take(&at(5), &at(to), between, 0);
            let is_gap = |place: &Place| matches!(events.after(*place), Next::Gap(_));
            assert!(gaps.iter().all(is_gap), "{between:?} to {to}");
            assert!(!known.iter().any(is_gap), "{between:?} to {to}");
        }
    }

    #[test]
    fn a_list_says_something_only_if_it_found_something() {
        let entry = Entry {
            key: "a".to_owned(),
            value: "1".into(),
            create_revision: Revision(1),
            mod_revision: Revision(1),
            version: 1,
            lease: None,
        };
        let change = |upserts: &[Entry], deletes: &[&str], resync| Change {
            upserts: upserts.to_vec(),
            deletes: deletes.iter().map(|key| (*key).to_owned()).collect(),
            revision: Revision(1),
            resync,
        };
        assert_eq!(Between::of(&change(&[], &[], false)), Between::Revision);
        assert_eq!(Between::of(&change(&[], &[], true)), Between::Nothing);
        assert_eq!(Between::of(&change(std::slice::from_ref(&entry), &[], true)), Between::Unknown);
        assert_eq!(Between::of(&change(&[], &["a"], true)), Between::Unknown);
    }
}
