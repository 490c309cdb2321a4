//! What a component gets from the machine it runs on: sockets, wall clock, randomness, files and environment.
//!
//! Components never reach for these themselves. [`Host::real`] is the machine; the simulation passes in its own, and
//! a whole fleet runs in one thread. Monotonic time is tokio's and is not here: tests pause it.

mod clock;
mod datagram;
mod dial;
mod entropy;
mod environment;
mod files;
#[cfg(target_os = "linux")]
mod mmsg;
mod net;

use std::sync::Arc;

pub use clock::{SystemClock, WallClock};
pub use datagram::{Batch, Datagram};
pub use entropy::{Entropy, OsEntropy, jitter};
pub use environment::{Environment, ProcessEnvironment};
pub use files::{DiskFiles, Files, Stamp};
pub use net::{ByteStream, Connection, Listen, Network, TcpNetwork};

/// Everything a component gets from its machine; cheap to clone.
#[derive(Clone)]
pub struct Host {
    /// Sockets.
    pub net: Arc<dyn Network>,
    /// Time of day, for records and expiry; never for deciding what happens next.
    pub clock: Arc<dyn WallClock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Files, for what must survive the process.
    pub files: Arc<dyn Files>,
    /// Variables that the configuration names, for credentials.
    pub environment: Arc<dyn Environment>,
}

impl Host {
    /// The machine that the process runs on.
    pub fn real() -> Self {
        Self {
            net: Arc::new(TcpNetwork),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(OsEntropy),
            files: Arc::new(DiskFiles),
            environment: Arc::new(ProcessEnvironment),
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}
