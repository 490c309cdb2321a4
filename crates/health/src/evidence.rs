//! What is known about a node, before anything is concluded.

use std::time::Duration;

use meridian_types::{NodeName, RegionName};

/// A control session is lost after this long without a beat: three of the beats that come every 250 ms are missing.
pub const SILENCE: Duration = Duration::from_millis(1000);
/// A replica that started waits this long for a node it knows from the store before the node's silence means anything.
pub const UNSEEN_GRACE: Duration = Duration::from_secs(5);
/// An observer that is late for its own timers by more than this has no voice: its probes time out by themselves. Half
/// of a probe's deadline.
pub const TRUSTED_LAG: Duration = Duration::from_millis(200);
/// An observation older than this says nothing about now: reports come every second.
pub(crate) const OBSERVATION_LIFE: Duration = Duration::from_secs(3);

/// Everything about one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeEvidence {
    /// Where it runs.
    pub region: RegionName,
    /// Whether it serves requests; one that only answers DNS is nobody's capacity, nobody probes it, and it has no voice about
    /// others.
    pub serves: bool,
    /// S: what it last said of itself.
    pub own: Option<OwnState>,
    /// C: its control session.
    pub pulse: Pulse,
    /// By how much it was late for its own timers of late.
    pub lag: Duration,
    /// What it saw of other nodes: P and T evidence about *them*.
    pub observations: Vec<Observation>,
}

/// What a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnState {
    /// It serves.
    Serving,
    /// It serves, and refuses some.
    Overloaded,
    /// It is about to stop.
    Draining,
    /// It has no configuration yet.
    Starting,
}

/// The control session as this replica saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// No beat since this replica has been watching.
    Never {
        /// For how long it has.
        watching: Duration,
    },
    /// There were beats.
    Last {
        /// Time since the last one.
        age: Duration,
        /// Whether a stream is still open: a process that dies closes it.
        open: bool,
    },
}

/// What one node last saw of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Who was probed.
    pub subject: NodeName,
    /// P: whether it answered.
    pub reachable: bool,
    /// Time since.
    pub age: Duration,
    /// T: the last request that was handed over to it.
    pub handed: Option<Handed>,
}

/// What became of a request that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed {
    /// Whether it was taken, whatever the answer was.
    pub taken: bool,
    /// Time since.
    pub age: Duration,
}

/// The control session, concluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Unknown,
    Alive,
    Lost,
}

impl Pulse {
    pub(crate) fn control(self) -> Control {
        match self {
            Self::Never { watching } if watching < UNSEEN_GRACE => Control::Unknown,
            Self::Last { age, open: true } if age < SILENCE => Control::Alive,
            Self::Never { .. } | Self::Last { .. } => Control::Lost,
        }
    }

    /// For people; only of a lost one.
    pub(crate) fn describe(self) -> String {
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        match self {
            Self::Never { watching } => format!("no pulse in {} of watching", seconds(watching)),
            Self::Last { open: false, .. } => "its pulse stream ended".to_owned(),
            Self::Last { age, open: true } => format!("no pulse for {}", seconds(age)),
        }
    }
}
