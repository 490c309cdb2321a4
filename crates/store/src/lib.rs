//! The revisioned store behind the control plane: one trait, its types, and the backends that need no server.
//!
//! The model is etcd's: one revision counts every change of the whole store, a transaction compares and then writes
//! under one new revision, and a watch replays every change from a revision on. A follower of a prefix lists it at
//! revision R and watches from R + 1 ([`follow`] does that, with everything that can go wrong).
//!
//! Backends: [`memory`] (tests and simulation), [`embedded`] (redb, one process), and etcd in `meridian-store-etcd`.
//! All of them pass the one conformance `battery`.

#[cfg(any(test, feature = "battery"))]
pub mod battery;
pub mod embedded;
mod error;
mod event;
pub mod follow;
mod limits;
mod local;
pub mod memory;
mod state;
mod txn;
mod watch;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::{Cause, Error, Result};
pub use event::{Batch, Event};
pub use limits::{LOG_MAX_BYTES, LOG_MAX_REVISIONS, MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_OPS, MAX_VALUE_BYTES};
pub use txn::{Compare, Op, Txn, TxnOutcome};
pub use watch::Watch;

/// A revisioned key-value store with compare-and-set transactions, watches and leases.
///
/// Reads are linearizable: they see every write that was acknowledged before they began.
/// Every method bounds its own waiting; none retries a write whose outcome is unknown.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The stable identity of this store's data: etcd's cluster id, or a number drawn when an own store was created.
    ///
    /// Another number means other data: revisions of the two cannot be compared.
    async fn cluster_id(&self) -> Result<u64>;

    /// The entry of `key`, or `None`.
    async fn get(&self, key: &str) -> Result<Option<Entry>>;

    /// Every entry whose key starts with `prefix` (all of them for the empty prefix), as they were at one revision.
    async fn list(&self, prefix: &str) -> Result<Listing>;

    /// As [`Store::list`], for who only compares revisions: the values may be left out (then they are empty).
    async fn list_keys(&self, prefix: &str) -> Result<Listing> {
        self.list(prefix).await
    }

    /// Applies `txn` whole or not at all.
    ///
    /// Compares that do not hold are not an error, see [`TxnOutcome::succeeded`]. After [`Error::OutcomeUnknown`] the
    /// caller must read what it wrote (its request key) and never repeat blindly.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome>;

    /// Every change under `prefix` with a revision of `from` or more: in order, without gap, without repeat.
    ///
    /// `from` may lie in the future, but is never 0. One item holds all changes of one revision. The stream ends with an error item: [`Error::Compacted`] when
    /// `from` is gone (list again), or [`Error::WatchLost`].
    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch>;

    /// Forgets the history before `at`: watches from earlier revisions fail with [`Error::Compacted`]. What the store
    /// holds stays.
    ///
    /// Compacting what is already compacted is [`Error::Compacted`]; a revision not yet reached is
    /// [`Error::Invalid`].
    async fn compact(&self, at: Revision) -> Result<()>;

    /// Grants a lease of at least `ttl` (backends may round up to their minimum); its keys are deleted when it ends.
    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId>;

    /// Renews a lease, once, to its full time. Returns what remains. [`Error::LeaseGone`] when it has ended.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration>;

    /// Ends a lease now and deletes its keys. [`Error::LeaseGone`] when it has ended.
    async fn revoke_lease(&self, lease: LeaseId) -> Result<()>;
}

/// A point in the store's history. The first write makes revision 2, as in etcd; 0 stands for "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// No revision: in a comparison, "the key is absent".
    pub const ZERO: Revision = Revision(0);

    /// The revision after this one: where to watch from after a list at `self`.
    #[must_use]
    pub const fn next(self) -> Revision {
        Revision(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A lease, as its store numbers it. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// One key and what it held when it was read.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole key, prefix included.
    pub key: String,
    /// The stored bytes.
    pub value: Bytes,
    /// The revision that created the key; it stays while the key lives, and so is a fencing token.
    pub create_revision: Revision,
    /// The revision of the last write to the key.
    pub mod_revision: Revision,
    /// How often the key was written since it was created; 1 is the creation.
    pub version: u64,
    /// The lease that the key ends with.
    pub lease: Option<LeaseId>,
}

/// Values may be configuration or key hashes: their length is shown, never their bytes.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("value_bytes", &self.value.len())
            .field("create_revision", &self.create_revision.0)
            .field("mod_revision", &self.mod_revision.0)
            .field("version", &self.version)
            .field("lease", &self.lease)
            .finish()
    }
}

/// A prefix as it was at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Sorted by key (bytewise).
    pub entries: Vec<Entry>,
    /// What was listed is exactly what this revision held; watch from the next one.
    pub revision: Revision,
}
