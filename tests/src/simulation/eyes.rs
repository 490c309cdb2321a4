//! What the simulation sees of its hosts without asking them: the store's own data, every running node, and the log.
//! All hosts share one thread, so that looking disturbs nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meridian_node::Handle;
use meridian_sim::Simulator;
use meridian_testkit::EventLog;

use super::bugs::Bug;
use super::fleet::REPLICAS;
use crate::etcd::Cluster;

/// How far a history has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The fleet comes up and gets its configuration.
    Starting,
    /// Faults come and go.
    Storm,
    /// Every control replica is down, and the operator puts the backup back.
    Restoring,
    /// No fault any more: everything must come together.
    Healed,
    /// It has.
    Done,
}

/// Shared by hosts, driver and invariants; cheap to clone.
#[derive(Clone)]
pub(super) struct Eyes {
    pub(super) cluster: Cluster,
    pub(super) log: EventLog,
    now_ms: Arc<AtomicU64>,
    nodes: Arc<Mutex<BTreeMap<String, Running>>>,
    starts: Arc<AtomicU64>,
    surge: Arc<Mutex<Option<&'static str>>>,
    stage: Arc<Mutex<Stage>>,
    broken: Arc<Mutex<Vec<String>>>,
    poison: Arc<AtomicU64>,
    providers: Arc<Mutex<BTreeMap<&'static str, Simulator>>>,
    /// What nodes do wrong.
    pub(super) bug: Option<Bug>,
}

/// Forgets the node when its host crashes.
pub(super) struct Seen {
    name: String,
    nodes: Arc<Mutex<BTreeMap<String, Running>>>,
}

/// A node that runs.
#[derive(Clone)]
pub(super) struct Running {
    pub(super) handle: Handle,
    /// Another one for each start of any node.
    pub(super) start: u64,
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Eyes {
    pub(super) fn new(seed: u64, log: EventLog, bug: Option<Bug>) -> Self {
        let now_ms = Arc::new(AtomicU64::new(0));
        let clock = now_ms.clone();
        let cluster = Cluster::new(seed | 1, REPLICAS, move || Duration::from_millis(clock.load(Ordering::Relaxed)));
        Self {
            cluster,
            log,
            now_ms,
            nodes: Arc::default(),
            starts: Arc::default(),
            surge: Arc::default(),
            stage: Arc::new(Mutex::new(Stage::Starting)),
            broken: Arc::default(),
            poison: Arc::default(),
            providers: Arc::default(),
            bug,
        }
    }

    /// The driver tells the time before each step.
    pub(super) fn set_time(&self, now: Duration) {
        self.now_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::Relaxed))
    }

    pub(super) fn say(&self, line: &str) {
        self.log.push(format!("{:>9.3} {line}", self.now().as_secs_f64()));
    }

    pub(super) fn watch(&self, name: &str, handle: Handle) -> Seen {
        let running = Running { handle, start: self.starts.fetch_add(1, Ordering::Relaxed) };
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), running);
        Seen { name: name.to_owned(), nodes: self.nodes.clone() }
    }

    /// Every node that runs.
    pub(super) fn nodes(&self) -> BTreeMap<String, Running> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add_provider(&self, host: &'static str, simulator: Simulator) {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner).insert(host, simulator);
    }

    /// The providers, by host.
    pub(super) fn providers(&self) -> BTreeMap<&'static str, Simulator> {
        self.providers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.say(&format!("stage {stage:?}"));
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// A promise was broken.
    pub(super) fn broken(&self, what: String) {
        self.say(&format!("BROKEN {what}"));
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// The first promise that was broken.
    pub(super) fn first_broken(&self) -> Option<String> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }

    /// The region that clients crowd now.
    pub(super) fn surge(&self, region: Option<&'static str>) {
        *self.surge.lock().unwrap_or_else(PoisonError::into_inner) = region;
    }

    pub(super) fn surging(&self) -> Option<&'static str> {
        *self.surge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The operator's next commit is to be one that nodes refuse.
    pub(super) fn ask_for_poison(&self) {
        self.poison.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one was asked for since the last time.
    pub(super) fn take_poison(&self) -> bool {
        self.poison.swap(0, Ordering::Relaxed) > 0
    }
}
