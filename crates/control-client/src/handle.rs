//! What others see of a running service.

use std::sync::Arc;
use std::time::Duration;

use meridian_types::{Digest, Plan};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::held::{Foreign, Held};

/// Looks at a running [`crate::Service`]; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("links", &*self.shared.links.borrow()).finish_non_exhaustive()
    }
}

/// Whether the control plane is in touch with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlState {
    /// No replica ever answered since the process started.
    Never,
    /// Most of the replicas that can be reached answer this node's beats.
    Connected,
    /// Most of them do not, or none can be reached.
    Lost {
        /// Since when.
        since: Instant,
    },
}

/// The pulse to one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// `host:port`.
    pub endpoint: String,
    /// How it is.
    pub state: SessionState,
    /// Since when.
    pub since: Instant,
    /// The replica said last that nobody plans: it has lost the store, or no replica leads.
    pub leaderless: bool,
}

/// How the pulse to one replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// Nothing is known yet.
    Connecting,
    /// Beats come back.
    Up {
        /// From the last echoed beat to its echo.
        round_trip: Duration,
    },
    /// Connected, but beats did not come back in time.
    Silent,
    /// There is no connection, and none could be made.
    Unreachable,
}

impl SessionState {
    /// Whether beats come back.
    pub fn is_up(self) -> bool {
        matches!(self, Self::Up { .. })
    }

    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up { .. } => "up",
            Self::Silent => "silent",
            Self::Unreachable => "unreachable",
        }
    }
}

impl Handle {
    /// Whether the control plane is in touch.
    pub fn control_state(&self) -> ControlState {
        self.shared.links.borrow().control
    }

    /// Whether somebody plans, as far as this node can know: the control plane is in touch, and of the replicas that answer
    /// not every one says that nobody does.
    pub fn is_led(&self) -> bool {
        let links = self.shared.links.borrow();
        let knows_leader = |session: &Session| session.state.is_up() && !session.leaderless;
        links.control == ControlState::Connected && links.sessions.iter().any(knows_leader)
    }

    /// The pulse to each replica, in the order of [`crate::Options::endpoints`].
    pub fn sessions(&self) -> Vec<Session> {
        self.shared.links.borrow().sessions.clone()
    }

    /// The plan that is obeyed, if any.
    pub fn plan(&self) -> Option<Arc<Plan>> {
        self.shared.held.borrow().plan.clone()
    }

    /// Sends a beat with a report to every replica at once: a probe flipped, or the serving state changed.
    pub fn report_now(&self) {
        self.shared.report_now.notify_one();
    }
}

/// State that the lanes share. The channels are only for looking and waking: each field has one writer, except
/// `links`, which each pulse session writes for itself.
pub(crate) struct Shared {
    pub(crate) held: watch::Sender<Held>,
    pub(crate) links: watch::Sender<Links>,
    /// The commit of the last Nack, with the digest of its content and its first fault, until another one is applied: every
    /// beat says it.
    pub(crate) refused: watch::Sender<Option<(u64, Option<Digest>, String)>>,
    /// Why the last-known-good file could not be written when it was tried last; empty: it was.
    pub(crate) unsaved: watch::Sender<String>,
    pub(crate) report_now: Notify,
}

impl Shared {
    /// Checks whose replica answers; see [`Held::join`].
    pub(crate) fn join(&self, cluster_id: u64) -> Result<(), Foreign> {
        let mut outcome = Ok(false);
        self.held.send_if_modified(|held| {
            outcome = held.join(cluster_id);
            outcome == Ok(true)
        });
        outcome.map(drop)
    }
}

/// Every pulse session, and what they say together.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) sessions: Vec<Session>,
    pub(crate) control: ControlState,
}

impl Links {
    pub(crate) fn new(endpoints: &[String]) -> Self {
        let session = |endpoint: &String| Session {
            endpoint: endpoint.clone(),
            state: SessionState::Connecting,
            since: Instant::now(),
            leaderless: false,
        };
        Self { sessions: endpoints.iter().map(session).collect(), control: ControlState::Never }
    }

    /// Notes how one session is; true if more than its round trip changed.
    pub(crate) fn set(&mut self, index: usize, state: SessionState) -> bool {
        let Some(session) = self.sessions.get_mut(index) else { return false };
        let changed = std::mem::discriminant(&session.state) != std::mem::discriminant(&state);
        session.state = state;
        if changed {
            session.since = Instant::now();
            self.control = self.judge();
        }
        changed
    }

    /// Notes whether the replica of one session knows of nobody who plans; true if that is news.
    pub(crate) fn lead(&mut self, index: usize, leaderless: bool) -> bool {
        let Some(session) = self.sessions.get_mut(index) else { return false };
        std::mem::replace(&mut session.leaderless, leaderless) != leaderless
    }

    /// The control plane is lost when a majority of the reachable replicas lost this node: one replica that is down,
    /// or is alone in not hearing it, changes nothing.
    fn judge(&self) -> ControlState {
        let count = |is: fn(SessionState) -> bool| self.sessions.iter().filter(|s| is(s.state)).count();
        let up = count(SessionState::is_up);
        let silent = count(|state| state == SessionState::Silent);
        match self.control {
            _ if up > 0 && up >= silent => ControlState::Connected,
            ControlState::Connected => ControlState::Lost { since: Instant::now() },
            before => before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn control_is_lost_when_most_reachable_replicas_are_silent() {
        const UP: SessionState = SessionState::Up { round_trip: Duration::ZERO };
        use SessionState::{Silent, Unreachable};
        let mut links = Links::new(&["a:1".to_owned(), "b:1".to_owned(), "c:1".to_owned()]);
        assert_eq!(links.control, ControlState::Never);
        links.set(0, Unreachable);
        assert_eq!(links.control, ControlState::Never);
        let mut check = |states: [SessionState; 3], connected: bool| {
            for (index, state) in states.into_iter().enumerate() {
                links.set(index, state);
            }
            assert_eq!(links.control == ControlState::Connected, connected, "{states:?}");
        };
        check([UP, UP, UP], true);
        check([UP, UP, Silent], true);
        check([UP, Unreachable, Unreachable], true);
        check([UP, Silent, Silent], false);
        check([Unreachable, Unreachable, Unreachable], false);
        check([UP, Unreachable, Silent], true);
    }
}
