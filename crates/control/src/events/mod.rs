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
use tokio::sync::watch;

use crate::view::View;
pub(crate) use cursor::{Cursor, Place};
pub(crate) use ring::Next;
use ring::Ring;

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

    /// Takes one change of the store. `is_whole`: nothing lies between the two views but this one revision. After a list
    /// that is not so, unless nothing at all was written meanwhile: what came and went again would be missed.
    pub(crate) fn take(&self, before: &View, after: &View, is_whole: bool, now_unix_ms: i64) {
        let at = Place { revision: after.revision.0, index: 0 };
        if before.revision == after.revision {
            return;
        }
        if is_whole {
            self.lock().extend(at, derive::derive(before, after, now_unix_ms));
        } else {
            self.lock().restart(at);
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
