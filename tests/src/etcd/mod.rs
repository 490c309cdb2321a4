//! A fake etcd that serves the real client: members over any network, with elections, leases, compaction and watches,
//! and with faults of real versions to be switched on.
//!
//! It passes the conformance battery of stores, as a real etcd does. It has what our client uses: of KV ranges,
//! transactions and compaction, the whole of Watch but fragments and filters, of Lease granting, renewing and revoking.

mod cluster;
mod data;
mod kv;
mod lease;
mod member;
mod watch;

pub use cluster::{Bug, Cluster, Written};
pub use member::Member;
