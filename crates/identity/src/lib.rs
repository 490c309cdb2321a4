//! Certificates that name role, region and node, and the TLS settings made of them.
//!
//! One certificate authority serves one cluster. A certificate's subject alternative name carries an [`Identity`] as
//! a URI, beside the host names and addresses that it is used at. [`ServerTls`] and [`ClientTls`] verify both ends
//! against the authority, say who the other end is, and follow their files when these change.
//!
//! Key generation and handshakes take randomness from the operating system and not from `meridian_host`: the
//! simulation runs without TLS.

mod authority;
mod client;
mod directory;
mod error;
mod identity;
mod material;
mod peer;
mod reload;
mod server;
#[cfg(test)]
mod tests;

pub use authority::{Authority, Issued, LEAF_DAYS};
pub use client::ClientTls;
pub use directory::{AuthorityDirectory, IssuedFiles};
pub use error::Error;
pub use identity::{Identity, Role};
pub use material::{Pem, PemFiles};
pub use peer::PeerTls;
pub use server::ServerTls;

use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;

/// A handshake takes three round trips at most; the slowest pair of regions needs under 1 s with one loss. A peer that
/// stays silent must not hold a task for longer.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// The same provider everywhere, passed explicitly, so that no process-wide default has to be installed first.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
