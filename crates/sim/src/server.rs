//! The simulator and its accept loop.

use std::io;
use std::sync::Arc;

use meridian_host::{Connection, Listen, WallClock};
use meridian_lifecycle::Shutdown;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::connection;
use crate::fault::Rules;
use crate::options::Options;
use crate::record::{Recorder, Seen, Stats};

/// A simulated provider; cheap to clone, and one may serve several listeners.
#[derive(Clone, Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) rules: Rules,
    pub(crate) recorder: Arc<Recorder>,
    slots: Arc<Semaphore>,
}

impl Simulator {
    /// A simulator that serves nothing yet. `clock` stamps answers and records; pacing is tokio's time.
    pub fn new(options: Options, clock: Arc<dyn WallClock>) -> Self {
        let shared = Shared {
            rules: Rules::new(options.seed),
            recorder: Recorder::new(clock, options.log_entries, options.log_body_bytes),
            slots: Arc::new(Semaphore::new(options.max_connections)),
            options,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The standing faults, for tests in the same process.
    pub fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// Counters, as `GET /sim/stats` shows them.
    pub fn stats(&self) -> Stats {
        self.shared.recorder.stats()
    }

    /// Requests after id `since`, oldest first, as `GET /sim/requests` shows them.
    pub fn requests(&self, since: u64) -> Vec<Seen> {
        self.shared.recorder.requests(since)
    }

    /// Serves `listener` until the drain begins; then open requests may finish until the force.
    ///
    /// # Errors
    /// The listener cannot accept any more.
    pub async fn serve(&self, mut listener: Box<dyn Listen>, shutdown: Shutdown) -> io::Result<()> {
        let mut connections = JoinSet::new();
        let result = loop {
            tokio::select! {
                () = shutdown.draining() => break Ok(()),
                Some(_) = connections.join_next() => {}
                accepted = self.accept(listener.as_mut()) => match accepted {
                    Ok((connection, slot)) => self.admit(connection, slot, &mut connections, &shutdown),
                    Err(error) => break Err(error),
                },
            }
        };
        drop(listener);
        // Each connection minds both signals itself.
        while connections.join_next().await.is_some() {}
        result
    }

    /// Takes a slot first: with none left, clients wait in the backlog.
    async fn accept(&self, listener: &mut dyn Listen) -> io::Result<(Connection, OwnedSemaphorePermit)> {
        let slot = self.shared.slots.clone().acquire_owned().await.map_err(io::Error::other)?;
        Ok((listener.accept().await?, slot))
    }

    fn admit(&self, connection: Connection, slot: OwnedSemaphorePermit, tasks: &mut JoinSet<()>, shutdown: &Shutdown) {
        let refused = self.shared.rules.refuses(connection.peer.ip());
        self.shared.recorder.connection(refused);
        if refused {
            connection::reset(connection.io);
            return;
        }
        let (shared, shutdown) = (self.shared.clone(), shutdown.clone());
        tasks.spawn(async move {
            let recorder = shared.recorder.clone();
            connection::serve(shared, connection, shutdown).await;
            recorder.disconnection();
            drop(slot);
        });
    }
}
