//! What the simulator has seen: a bounded log of requests, and counters by model and client.

mod entry;
mod flight;
mod stats;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meridian_host::WallClock;
use tokio::time::Instant;

pub(crate) use entry::Arrival;
pub use entry::{Outcome, Seen};
pub(crate) use flight::Flight;
pub use stats::{Connections, Counts, Stats};

/// Everything recorded.
pub(crate) struct Recorder {
    state: Mutex<State>,
    clock: Arc<dyn WallClock>,
    capacity: usize,
    body_bytes: usize,
}

struct State {
    next_id: u64,
    log: VecDeque<Seen>,
    stats: Stats,
}

impl Recorder {
    pub(crate) fn new(clock: Arc<dyn WallClock>, capacity: usize, body_bytes: usize) -> Arc<Self> {
        let state = State { next_id: 1, log: VecDeque::new(), stats: Stats::default() };
        Arc::new(Self { state: Mutex::new(state), clock, capacity, body_bytes })
    }

    pub(crate) fn now_unix_ms(&self) -> i64 {
        self.clock.now_unix_ms()
    }

    /// Bytes of each body that are kept.
    pub(crate) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// A request has arrived.
    pub(crate) fn begin(self: &Arc<Self>, arrival: &Arrival) -> Flight {
        let at_unix_ms = self.clock.now_unix_ms();
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        state.stats.request(arrival.client.ip());
        if self.capacity > 0 {
            if state.log.len() >= self.capacity {
                state.log.pop_front();
            }
            let seen = Seen::new(id, at_unix_ms, arrival);
            state.log.push_back(seen);
        }
        drop(state);
        Flight::new(self.clone(), id, arrival.client.ip(), Instant::now())
    }

    /// Changes the entry of a request, if the log still has it.
    fn update(&self, id: u64, change: impl FnOnce(&mut Seen)) {
        let mut state = self.lock();
        // Ids in the log are consecutive, so the offset to the first one is the index.
        let first = state.log.front().map_or(0, |seen| seen.id);
        let index = id.checked_sub(first).and_then(|offset| usize::try_from(offset).ok());
        if let Some(seen) = index.and_then(|index| state.log.get_mut(index)) {
            change(seen);
        }
    }

    fn count(&self, change: impl FnOnce(&mut Stats)) {
        change(&mut self.lock().stats);
    }

    /// A connection was accepted, or reset at accept.
    pub(crate) fn connection(&self, refused: bool) {
        self.count(|stats| {
            stats.connections.accepted += 1;
            if refused {
                stats.connections.refused += 1;
            } else {
                stats.connections.open += 1;
            }
        });
    }

    /// A connection that was not refused has ended.
    pub(crate) fn disconnection(&self) {
        self.count(|stats| stats.connections.open -= 1);
    }

    /// The requests after `since`, oldest first, as far as the log reaches.
    pub(crate) fn requests(&self, since: u64) -> Vec<Seen> {
        self.lock().log.iter().filter(|seen| seen.id > since).cloned().collect()
    }

    /// Empties the log; counters and ids go on.
    pub(crate) fn clear(&self) {
        self.lock().log.clear();
    }

    pub(crate) fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Changes are single assignments and additions: the state behind a poisoned lock is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// The key of a client in the counters.
fn client_key(client: IpAddr) -> String {
    client.to_canonical().to_string()
}
