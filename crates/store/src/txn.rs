//! Transactions: compare what a write was decided on, then write, whole or not at all.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;

use crate::{Error, LeaseId, MAX_KEY_BYTES, MAX_TXN_BYTES, MAX_TXN_OPS, MAX_VALUE_BYTES, Result, Revision};

/// A condition that must hold for a transaction to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key's last write was this revision.
    ModRevision(String, Revision),
    /// The key was created by this revision, and has lived since: the fence of an election key.
    CreateRevision(String, Revision),
}

impl Compare {
    /// Holds when the key was last written at `revision`; [`Revision::ZERO`] when it is absent.
    pub fn mod_revision(key: impl Into<String>, revision: Revision) -> Self {
        Self::ModRevision(key.into(), revision)
    }

    /// Holds when the key was created at `revision` and not deleted since; [`Revision::ZERO`] when it is absent.
    pub fn create_revision(key: impl Into<String>, revision: Revision) -> Self {
        Self::CreateRevision(key.into(), revision)
    }

    /// Holds when the key does not exist.
    pub fn absent(key: impl Into<String>) -> Self {
        Self::CreateRevision(key.into(), Revision::ZERO)
    }

    /// The key that it looks at.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::ModRevision(key, _) | Self::CreateRevision(key, _) => key,
        }
    }
}

/// One write of a transaction.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes the key. Without a lease the key stays until it is deleted, also if it had a lease before.
    Put {
        /// The whole key.
        key: String,
        /// The bytes to store.
        value: Bytes,
        /// The lease that the key ends with.
        lease: Option<LeaseId>,
    },
    /// Deletes the key; no change if it is absent.
    Delete {
        /// The whole key.
        key: String,
    },
}

impl Op {
    /// The key that it writes.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// Shows keys and lengths, never values.
impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value, lease } => write!(f, "put {key} ({} bytes, lease {lease:?})", value.len()),
            Self::Delete { key } => write!(f, "delete {key}"),
        }
    }
}

/// Compares and writes that belong together.
///
/// ```
/// use meridian_store::{Compare, Revision, Txn};
/// let txn = Txn::new()
///     .when(Compare::mod_revision("/m/head", Revision(41)))
///     .put("/m/commit/7", "...")
///     .put("/m/head", "7");
/// assert!(txn.check().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub(crate) compares: Vec<Compare>,
    pub(crate) ops: Vec<Op>,
}

impl Txn {
    /// A transaction that compares nothing and writes nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition; all must hold.
    #[must_use]
    pub fn when(mut self, compare: Compare) -> Self {
        self.compares.push(compare);
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), lease: None });
        self
    }

    /// Adds a write of a key that ends with `lease`.
    #[must_use]
    pub fn put_with_lease(mut self, key: impl Into<String>, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        self.ops.push(Op::Put { key: key.into(), value: value.into(), lease: Some(lease) });
        self
    }

    /// Adds a deletion.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// The conditions, in the order they were added.
    #[must_use]
    pub fn compares(&self) -> &[Compare] {
        &self.compares
    }

    /// The writes, in the order they were added.
    #[must_use]
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// What every backend checks before it starts: sizes, counts, and that no key is written twice.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::Invalid`].
    pub fn check(&self) -> Result<()> {
        if self.ops.len() > MAX_TXN_OPS {
            return Err(Error::TooLarge { what: "transaction (operations)", limit: MAX_TXN_OPS });
        }
        if self.compares.len() > MAX_TXN_OPS {
            return Err(Error::TooLarge { what: "transaction (compares)", limit: MAX_TXN_OPS });
        }
        let mut total = 0;
        for compare in &self.compares {
            check_key(compare.key())?;
            total += compare.key().len();
        }
        let mut written = BTreeSet::new();
        for op in &self.ops {
            check_key(op.key())?;
            if !written.insert(op.key()) {
                return Err(Error::invalid(format!("key {} is written twice in one transaction", op.key())));
            }
            let value_bytes = match op {
                Op::Put { value, .. } => value.len(),
                Op::Delete { .. } => 0,
            };
            if value_bytes > MAX_VALUE_BYTES {
                return Err(Error::TooLarge { what: "value (bytes)", limit: MAX_VALUE_BYTES });
            }
            total += op.key().len() + value_bytes;
        }
        if total > MAX_TXN_BYTES {
            return Err(Error::TooLarge { what: "transaction (bytes)", limit: MAX_TXN_BYTES });
        }
        Ok(())
    }
}

/// Keys are not empty (etcd refuses that too) and not longer than [`MAX_KEY_BYTES`].
pub(crate) fn check_key(key: &str) -> Result<()> {
    if key.is_empty() {
        return Err(Error::invalid("empty key"));
    }
    if key.len() > MAX_KEY_BYTES {
        return Err(Error::TooLarge { what: "key (bytes)", limit: MAX_KEY_BYTES });
    }
    Ok(())
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnOutcome {
    /// Whether every compare held, and so the writes were applied.
    pub succeeded: bool,
    /// The store's revision right after: that of the writes, if there were any changes.
    pub revision: Revision,
}
