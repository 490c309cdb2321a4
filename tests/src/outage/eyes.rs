//! What is seen of the hosts without asking them. All share one thread, so that looking disturbs nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meridian_testkit::EventLog;
use tokio::sync::watch;

use super::answer::Answer;
use super::bugs::Bug;

/// How far a history has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The node comes up.
    Starting,
    /// Clients come and go.
    Load,
    /// Every client has its answer: the node is to stop.
    Stopping,
    /// It has stopped.
    Stopped,
}

/// One request, from its client's side.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) begun: Duration,
    pub(super) ended: Duration,
    pub(super) answer: Answer,
}

/// What the node said of itself, of the time since it said so before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) at: Duration,
    /// Attempts that began, at the primary and at the fallback.
    pub(super) asked: [u64; 2],
    /// Attempts under way at both.
    pub(super) under_way: u32,
    pub(super) started: u64,
    pub(super) finished: u64,
}

/// What is left of a node that has stopped.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Remains {
    pub(super) tasks: usize,
    /// Whether something holds the node's state.
    pub(super) held: bool,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// In the order of their ends.
    pub(super) outcomes: Vec<Outcome>,
    /// In the order of time.
    pub(super) looks: Vec<Look>,
    pub(super) remains: Remains,
    broken: Vec<String>,
}

/// Shared by all hosts; cheap to clone.
#[derive(Clone)]
pub(super) struct Eyes {
    log: EventLog,
    seen: Arc<Mutex<Seen>>,
    stage: watch::Sender<Stage>,
    /// What the node does wrong.
    pub(super) bug: Option<Bug>,
}

impl Eyes {
    pub(super) fn new(log: EventLog, bug: Option<Bug>) -> Self {
        Self { log, seen: Arc::default(), stage: watch::Sender::new(Stage::Starting), bug }
    }

    /// Since the start of the history.
    pub(super) fn now(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or_default()
    }

    pub(super) fn say(&self, line: &str) {
        self.log.push(format!("{:>8.3} {line}", self.now().as_secs_f64()));
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A promise was broken.
    pub(super) fn broken(&self, what: String) {
        self.say(&format!("BROKEN {what}"));
        self.seen().broken.push(what);
    }

    /// The first promise that was broken.
    pub(super) fn first_broken(&self) -> Option<String> {
        self.seen().broken.first().cloned()
    }

    pub(super) fn enter(&self, stage: Stage) {
        self.say(&format!("stage {stage:?}"));
        self.stage.send_replace(stage);
    }

    /// Returns when the history has come so far.
    pub(super) async fn reach(&self, stage: Stage) {
        // It cannot fail: a sender is here.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await.map(drop);
    }
}
