//! Generated messages and services of the top-level `proto/` directory, and their conversion to and from domain
//! types.
//!
//! - [`resources`]: what operators declare; YAML is the JSON form of these messages.
//! - [`fleet`]: plans and summaries. [`node`]: the wire to nodes. [`admin`]: the operators' API. [`store`]: documents
//!   at rest.
//! - [`content`]: a commit's content as opaque resources, with its digest and diffs.
//! - [`accounts`]: tenants and keys as both ends of the account stream hold them.
//! - [`sketch`]: a configuration as far as it can be read, for every mistake in one check.
//! - [`convert`]: `TryFrom` into `meridian_types`, every mistake with its field path.
//! - [`transport`]: gRPC over the sockets of a `meridian_host::Host`.

pub mod accounts;
pub mod content;
pub mod convert;
pub mod sketch;
pub mod transport;

/// Encoded `FileDescriptorSet` of every package, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/meridian.fds"));

/// Largest message that any of our servers and clients decodes: chunks are at most 256 KiB, account buckets and
/// fleets at most this.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Metadata key of an UNAVAILABLE answer of the operators' API: the store was not asked to write anything, so nothing is
/// changed and nothing will be. Without it the outcome of a write is unknown.
pub const NOT_ATTEMPTED: &str = "meridian-not-attempted";

/// Wire versions that this build speaks, both ends included.
pub const PROTO_VERSIONS: std::ops::RangeInclusive<u32> = 1..=1;

macro_rules! package {
    ($name:ident, $package:literal, $doc:literal) => {
        #[doc = $doc]
        pub mod $name {
            /// Version 1.
            #[allow(
                missing_docs,
                unreachable_pub,
                clippy::all,
                clippy::unwrap_used,
                clippy::expect_used,
                clippy::panic,
                clippy::indexing_slicing,
                clippy::allow_attributes,
                clippy::allow_attributes_without_reason,
                reason = "generated code; the documentation stands in proto/"
            )]
            pub mod v1 {
                tonic::include_proto!($package);
                include!(concat!(env!("OUT_DIR"), "/", $package, ".serde.rs"));
            }
        }
    };
}

package!(resources, "meridian.resources.v1", "What operators declare.");
package!(fleet, "meridian.fleet.v1", "Plans and summaries.");
package!(node, "meridian.node.v1", "The wire between nodes and the control plane.");
package!(admin, "meridian.admin.v1", "The operators' API.");
package!(store, "meridian.store.v1", "Documents at rest.");
