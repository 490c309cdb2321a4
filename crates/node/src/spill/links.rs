//! The ways to the other nodes, and what is known of each: whether it answers at all, and for which models it does.
//!
//! Two breakers for each question: a node that cannot be reached is left alone; a node whose providers fail for one model
//! is left alone for that model, and goes on serving the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use meridian_control_client::Peer;
use meridian_identity::{Identity, PeerTls, Role};
use meridian_resilience::{Breaker, Outcome, Pass, Policy};
use meridian_types::ModelName;
use meridian_upstream::{Link as Wire, Transport};
use tokio::time::Instant;

/// Models of which something is known, for each node; more than anybody configures. Beyond it all is forgotten.
const MAX_MODELS: usize = 4096;

/// So long after the last request that was handed over for a model, the next one is news.
const QUIET: Duration = Duration::from_secs(60);

/// Every other node that takes requests over.
pub(crate) struct Links {
    transport: Transport,
    tls: Option<PeerTls>,
    all: ArcSwap<BTreeMap<Peer, Arc<Link>>>,
}

/// The way to one node.
pub(crate) struct Link {
    pub(crate) peer: Peer,
    pub(crate) wire: Wire,
    state: Mutex<State>,
}

struct State {
    node: Breaker,
    models: BTreeMap<ModelName, Model>,
}

struct Model {
    breaker: Breaker,
    served: Option<Instant>,
}

/// A question under way. Dropped without a verdict, the client has left and nothing is learned.
pub(crate) struct Asked {
    link: Arc<Link>,
    model: ModelName,
    passes: Option<(Pass, Pass)>,
}

/// What an outcome says of the node, and of the model there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) node: Outcome,
    pub(crate) model: Outcome,
}

impl Links {
    pub(crate) fn new(transport: Transport, tls: Option<PeerTls>) -> Self {
        Self { transport, tls, all: ArcSwap::default() }
    }

    /// From now on these; what is known of those that stay is kept.
    pub(crate) fn replace(&self, peers: &[Peer]) {
        let before = self.all.load();
        let link = |peer: &Peer| {
            let known = before.get(peer).map(Arc::clone);
            known.or_else(|| self.link(peer)).map(|link| (peer.clone(), link))
        };
        self.all.store(Arc::new(peers.iter().filter_map(link).collect()));
    }

    fn link(&self, peer: &Peer) -> Option<Arc<Link>> {
        let address = peer.peer_address.as_deref()?;
        // A node's name is a name for a certificate too.
        let identity = Identity::new(Role::Node, Some(peer.region.clone()), peer.node.as_str()).ok()?;
        let wire = self.transport.link(address, identity, self.tls.clone());
        let state = State { node: Breaker::new(Policy::default()), models: BTreeMap::new() };
        Some(Arc::new(Link { peer: peer.clone(), wire, state: Mutex::new(state) }))
    }

    pub(crate) fn all(&self) -> Arc<BTreeMap<Peer, Arc<Link>>> {
        self.all.load_full()
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to ask the node for the model; `None`: it is left alone.
    pub(crate) fn ask(self: &Arc<Self>, model: &ModelName) -> Option<Asked> {
        let now = Instant::now();
        let mut state = self.state();
        let node = state.node.admit(now).ok()?;
        let Ok(pass) = state.model(model).breaker.admit(now) else {
            let _ = state.node.record(node, Outcome::Unknown, now, 0.0);
            return None;
        };
        drop(state);
        Some(Asked { link: Arc::clone(self), model: model.clone(), passes: Some((node, pass)) })
    }
}

impl State {
    fn model(&mut self, name: &ModelName) -> &mut Model {
        if self.models.len() >= MAX_MODELS && !self.models.contains_key(name) {
            self.models.clear();
        }
        let unknown = || Model { breaker: Breaker::new(Policy::default()), served: None };
        self.models.entry(name.clone()).or_insert_with(unknown)
    }
}

impl Asked {
    /// What came of it; `unit` is random in `[0, 1)`. `true`: the node has not served the model for a while, and does now.
    pub(crate) fn end(mut self, verdict: Verdict, unit: f64) -> bool {
        self.record(verdict, unit)
    }

    fn record(&mut self, verdict: Verdict, unit: f64) -> bool {
        let Some((node, pass)) = self.passes.take() else { return false };
        let now = Instant::now();
        let mut state = self.link.state();
        let changed = state.node.record(node, verdict.node, now, unit);
        let model = state.model(&self.model);
        let of_model = model.breaker.record(pass, verdict.model, now, unit);
        let serves = verdict.model == Outcome::Answered;
        let is_news = serves && model.served.is_none_or(|last| now.duration_since(last) > QUIET);
        if serves {
            model.served = Some(now);
        }
        drop(state);
        if changed.is_some() || of_model.is_some() {
            let Peer { node, region, .. } = &self.link.peer;
            tracing::info!(peer = %node, %region, model = %self.model, node = ?changed, of_model = ?of_model, "peer's breaker changed");
        }
        is_news
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.record(Verdict { node: Outcome::Unknown, model: Outcome::Unknown }, 0.0);
    }
}
