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

/// How many past revisions a backend of ours keeps for watches before it compacts by itself: at the few writes a
/// second of a large fleet about an hour, as etcd is usually told to keep.
pub const LOG_MAX_REVISIONS: usize = 20_000;

/// How many bytes of past revisions a backend of ours keeps in memory; whichever of the two limits is met first.
/// A watcher that falls behind this is ended with [`Error::Compacted`](crate::Error::Compacted) and lists again:
/// it never blocks a writer, and costs no buffer of its own.
pub const LOG_MAX_BYTES: usize = 32 * 1024 * 1024;
