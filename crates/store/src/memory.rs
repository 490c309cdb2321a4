//! The store in memory: for tests and simulation. Deterministic, no task, no thread.
//!
//! Leases end by a clock that can be given. Nothing runs in the background: whoever calls, or waits in a watch, first
//! ends the leases that are due. So it works under paused time, and when the runtime that made it is gone (a crashed
//! host of a simulation).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use tokio::time::Instant;

use crate::local::{Cursor, Deadlines, Shared};
use crate::state::State;
use crate::txn::check_key;
use crate::{Batch, Entry, Error, LeaseId, Listing, Result, Revision, Store, Txn, TxnOutcome, Watch};

/// Time since some fixed moment.
type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A store in memory. Clones share one store.
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    cluster_id: u64,
    clock: Clock,
    shared: Shared,
    deadlines: Mutex<Deadlines>,
    available: AtomicBool,
    outages: AtomicU64,
}

/// One watch: where it stands, and the outages it has survived (none: any later one ends it).
struct Watching {
    cursor: Cursor,
    outages: u64,
}

impl MemoryStore {
    /// An empty store whose leases end by tokio's clock.
    #[must_use]
    pub fn new(cluster_id: u64) -> Self {
        let origin = Instant::now();
        Self::with_clock(cluster_id, move || origin.elapsed())
    }

    /// An empty store whose leases end by `clock`: the time since any fixed moment, the same for all hosts that share
    /// the store. It must run at the pace of tokio's clock.
    #[must_use]
    pub fn with_clock(cluster_id: u64, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self {
            inner: Arc::new(Inner {
                cluster_id,
                clock: Arc::new(clock),
                shared: Shared::new(State::new()),
                deadlines: Mutex::new(Deadlines::default()),
                available: AtomicBool::new(true),
                outages: AtomicU64::new(0),
            }),
        }
    }

    /// Takes the store away (`false`: every call fails as unavailable, every watch is lost) or gives it back. Its
    /// data stays and its leases run on: the outage of a simulation.
    pub fn set_available(&self, available: bool) {
        if !available {
            self.inner.outages.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.available.store(available, Ordering::SeqCst);
        self.inner.shared.announce();
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.inner.shared.lock().revision();
        f.debug_struct("MemoryStore").field("revision", &revision.0).finish_non_exhaustive()
    }
}

impl Inner {
    /// Runs `step` on the state as it is now, and tells watchers if it moved. The order of the two locks is always:
    /// deadlines, then state.
    fn step<T>(&self, step: impl FnOnce(&mut State, &mut Deadlines, Duration) -> Result<T>) -> Result<T> {
        if !self.available.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the memory store was taken away"));
        }
        let now = (self.clock)();
        let mut deadlines = self.deadlines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.shared.lock();
        let before = state.revision();
        for lease in deadlines.take_due(now) {
            state.decide_end(lease)?.iter().for_each(|change| state.apply(change));
        }
        let result = step(&mut state, &mut deadlines, now);
        if state.revision() != before {
            self.shared.announce();
        }
        result
    }

    /// The next item of a watch, and the cursor if there may be more.
    async fn next(self: Arc<Self>, mut watching: Watching) -> Option<(Result<Batch>, (Arc<Self>, Watching))> {
        loop {
            let mut moved = self.shared.subscribe();
            if self.outages.load(Ordering::SeqCst) != watching.outages {
                return Some((Err(Error::watch_lost("the memory store was taken away")), (self, watching)));
            }
            let looked = self.step(|state, deadlines, now| {
                let wake = deadlines.next().map(|at| at.saturating_sub(now));
                Ok((watching.cursor.advance(state)?, wake))
            });
            match looked {
                Ok((Some(batch), _)) => return Some((Ok(batch), (self, watching))),
                Ok((None, Some(wake))) => {
                    tokio::select! {
                        _ = moved.changed() => {}
                        () = tokio::time::sleep(wake) => {}
                    }
                }
                // The sender lives in `self`, so this waits for news.
                Ok((None, None)) => drop(moved.changed().await),
                // The outage was counted before, so the next round ends the watch and says so.
                Err(Error::Unavailable { .. }) => {}
                Err(error) => return Some((Err(error), (self, watching))),
            }
        }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn cluster_id(&self) -> Result<u64> {
        self.inner.step(|_, _, _| Ok(self.inner.cluster_id))
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>> {
        check_key(key)?;
        self.inner.step(|state, _, _| Ok(state.get(key).cloned()))
    }

    async fn list(&self, prefix: &str) -> Result<Listing> {
        self.inner.step(|state, _, _| Ok(state.list(prefix)))
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        txn.check()?;
        self.inner.step(|state, _, _| {
            let changes = state.decide(&txn)?;
            changes.iter().flatten().for_each(|change| state.apply(change));
            Ok(TxnOutcome { succeeded: changes.is_some(), revision: state.revision() })
        })
    }

    async fn watch(&self, prefix: &str, from: Revision) -> Result<Watch> {
        let outages = self.inner.outages.load(Ordering::SeqCst);
        let watching = Watching { cursor: Cursor::new(prefix, from)?, outages };
        self.inner.step(|_, _, _| Ok(()))?;
        Ok(Watch::new(stream::unfold((self.inner.clone(), watching), |(inner, watching)| inner.next(watching))))
    }

    async fn compact(&self, at: Revision) -> Result<()> {
        self.inner.step(|state, _, _| {
            let change = state.decide_compact(at)?;
            state.apply(&change);
            Ok(())
        })
    }

    async fn grant_lease(&self, ttl: Duration) -> Result<LeaseId> {
        if ttl.is_zero() {
            return Err(Error::invalid("lease of no length"));
        }
        let lease = self.inner.step(|state, deadlines, now| {
            let (id, change) = state.decide_grant(ttl);
            state.apply(&change);
            deadlines.set(id, now.saturating_add(ttl));
            Ok(id)
        })?;
        // Watchers sleep until the next lease ends, and that may be this one.
        self.inner.shared.announce();
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.inner.step(|state, deadlines, now| {
            let ttl = state.leases().get(&lease).ok_or(Error::LeaseGone)?.ttl;
            deadlines.set(lease, now.saturating_add(ttl));
            Ok(ttl)
        })
    }

    async fn revoke_lease(&self, lease: LeaseId) -> Result<()> {
        self.inner.step(|state, deadlines, _| {
            state.decide_end(lease)?.iter().for_each(|change| state.apply(change));
            deadlines.remove(lease);
            Ok(())
        })
    }
}
