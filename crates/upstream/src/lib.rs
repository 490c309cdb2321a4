//! Sends requests to providers: connection pools, TLS, credentials and timings.
//!
//! A [`Transport`] is what all providers of a process share: sockets, source address, trusted roots. An [`Upstream`] is
//! one provider's pool and credential. Dropping a call or the body of its answer cancels it at the provider.

mod connect;
mod credential;
mod error;
mod link;
mod probe;
mod prober;
mod transport;
mod upstream;

pub use credential::{CREDENTIAL_INTERVAL, CredentialError};
pub use error::{BuildError, SendError};
pub use link::{Link, LinkError};
pub use probe::{Probed, Sign};
pub use prober::Prober;
pub use transport::{Options, Transport};
pub use upstream::{Answer, Timings, Upstream};
