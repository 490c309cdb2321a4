//! What can go wrong with a store, one variant per thing that a caller can act on.

use crate::Revision;

/// The result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause behind a store error, as its backend reported it.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a store operation failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store did not do it: no quorum, no connection, or no answer to a read. Trying again later is safe.
    #[error("store unavailable: {reason}")]
    Unavailable {
        /// What was tried and failed, for an operator.
        reason: String,
        /// The backend's own error.
        #[source]
        source: Option<Cause>,
    },

    /// A write was sent and its answer was lost: it may have been applied, or not, or may still be.
    /// Read the key that the write would have left behind; never repeat it blindly.
    #[error("write was sent but its outcome is unknown: {reason}")]
    OutcomeUnknown {
        /// What happened to the answer.
        reason: String,
        /// The backend's own error.
        #[source]
        source: Option<Cause>,
    },

    /// The history that was asked for is gone. List again.
    #[error("history before revision {at} is compacted")]
    Compacted {
        /// The first revision that can still be watched from; 0 when the backend did not say.
        at: Revision,
    },

    /// A watch ended: its connection broke, went silent, or its reader fell too far behind. Nothing after the last
    /// item may be assumed; list again, or watch again from the revision after that item.
    #[error("watch lost: {reason}")]
    WatchLost {
        /// Why it ended.
        reason: String,
        /// The backend's own error.
        #[source]
        source: Option<Cause>,
    },

    /// The lease ended or never was. Its keys are gone.
    #[error("lease has ended")]
    LeaseGone,

    /// A key, value or transaction is larger than every backend takes.
    #[error("{what} is too large: the limit is {limit}")]
    TooLarge {
        /// What is too large: "key (bytes)", "value (bytes)" ...
        what: &'static str,
        /// The limit, in the unit that `what` names.
        limit: usize,
    },

    /// The call makes no sense, for example one key twice in a transaction. A mistake in our own code.
    #[error("invalid store operation: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },

    /// Another process holds the embedded store.
    #[error("store at {path} is already in use by another process")]
    InUse {
        /// The store's file.
        path: String,
    },

    /// What is stored cannot be read. An operator must look; repeating does not help.
    #[error("store is corrupt: {reason}")]
    Corrupt {
        /// What could not be read.
        reason: String,
        /// The backend's own error.
        #[source]
        source: Option<Cause>,
    },
}

impl Error {
    /// An [`Error::Unavailable`] without a deeper cause.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), source: None }
    }

    /// An [`Error::WatchLost`] without a deeper cause.
    pub fn watch_lost(reason: impl Into<String>) -> Self {
        Self::WatchLost { reason: reason.into(), source: None }
    }

    /// An [`Error::Invalid`].
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    /// Whether the same call may succeed later, unchanged and without harm.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::WatchLost { .. } | Self::Compacted { .. })
    }
}
