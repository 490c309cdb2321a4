//! What every backend accepts, so that a value which fits the embedded store also fits etcd.

/// Longest key, in bytes. Our longest are `key/<64 hex digits>` under a prefix; etcd itself has no limit.
pub const MAX_KEY_BYTES: usize = 1024;

/// Largest value, in bytes: a transaction less room for the small keys that are written with it.
pub const MAX_VALUE_BYTES: usize = MAX_TXN_BYTES - 64 * 1024;

/// Largest sum of keys and values in one transaction, in bytes: etcd's default `--max-request-bytes`, 1.5 MiB, less
/// room for its framing.
pub const MAX_TXN_BYTES: usize = 1536 * 1024 - 16 * 1024;

/// Most compares, and most operations, in one transaction: etcd's default `--max-txn-ops`.
pub const MAX_TXN_OPS: usize = 128;

/// How many revisions may wait for a watcher. One that falls further behind is ended with
/// [`Error::WatchLost`](crate::Error::WatchLost) and lists again: it never blocks a writer.
pub const WATCH_BUFFER: usize = 1024;
