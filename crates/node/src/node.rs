//! What all requests and tasks of a node share.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use http::HeaderMap;
use meridian_host::Host;
use meridian_ingress::{Audience, Budget, Call, ModelCard, Refused, Reply, Retry, Status, Surface, open_metrics};
use meridian_lifecycle::Shutdown;
use meridian_proto::accounts::Accounts;
use meridian_types::{ErrorCode, NodeName, Plan, RegionName, RegionState};
use meridian_upstream::Transport;
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::caller::Origin;
use crate::faults::Faults;
use crate::journal::Journal;
use crate::lag::Lag;
use crate::left_out::LeftOut;
use crate::metrics::Metrics;
use crate::outages::Outages;
use crate::peers::Peers;
use crate::pressure::Pressure;
use crate::recent::Recent;
use crate::snapshot::Snapshot;
use crate::spill::Spill;
use crate::switches::Switches;
use crate::window::Window;
use crate::{caller, gossip, stack};

/// The shared state. Readers load what was swapped in; nobody waits for a lock across an await.
pub(crate) struct Node {
    pub(crate) name: NodeName,
    pub(crate) region: RegionName,
    pub(crate) host: Host,
    /// Clients connect here. A node that only answers DNS calls no provider.
    pub(crate) serves_http: bool,
    pub(crate) transport: Transport,
    pub(crate) admission: Admission,
    pub(crate) metrics: Metrics,
    pub(crate) peers: Peers,
    /// What operators let go wrong.
    pub(crate) faults: Faults,
    /// What operators have switched off.
    pub(crate) switches: Arc<Switches>,
    /// Which upstreams other regions find down.
    pub(crate) outages: Outages,
    /// Which regions its DNS answers left out by themselves.
    pub(crate) left_out: LeftOut,
    /// What became of the last requests.
    pub(crate) recent: Recent,
    pub(crate) spill: Spill,
    pub(crate) dns: Option<meridian_dns::Handle>,
    pub(crate) shutdown: Shutdown,
    /// The grace is over: streams say so and end.
    pub(crate) leaving: CancellationToken,
    pub(crate) snapshot: ArcSwapOption<Snapshot>,
    /// Another snapshot is served than before.
    pub(crate) applied: Notify,
    pub(crate) accounts: ArcSwap<Accounts>,
    pub(crate) plan: ArcSwapOption<Plan>,
    /// For who waits for it; follows the plan.
    pub(crate) drained: watch::Sender<bool>,
    pub(crate) window: Mutex<Window>,
    pub(crate) lag: Lag,
    /// Of bytes held, of both listeners.
    pub(crate) budget: Budget,
    /// Set once everything has registered.
    pub(crate) registry: OnceLock<Registry>,
}

impl Node {
    /// What is served now.
    ///
    /// # Errors
    /// 503 before the first configuration.
    pub(crate) fn current(&self) -> Result<Arc<Snapshot>, Refused> {
        /// A control replica answers within a second, and the file of last resort is read faster.
        const STARTING: std::time::Duration = std::time::Duration::from_secs(1);
        self.snapshot.load_full().ok_or_else(|| {
            Refused::new(ErrorCode::Overloaded, "the node has no configuration yet").retry(Retry::After(STARTING))
        })
    }

    /// The worse of lateness and memory.
    pub(crate) fn pressure(&self) -> Pressure {
        self.lag.pressure().max(Pressure::of_memory(&self.budget))
    }

    pub(crate) fn window(&self) -> MutexGuard<'_, Window> {
        // Counters: a panic half-way leaves them usable.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether clients are sent to other regions, all of them: where nobody else takes traffic a drained region keeps its
    /// share, and its clients their connections.
    pub(crate) fn is_drained(&self) -> bool {
        let plan = self.plan.load();
        let own = plan.as_ref().and_then(|plan| plan.regions.get(&self.region));
        own.is_some_and(|own| own.state == RegionState::Drained && own.weight == 0)
    }

    /// Remembers a request of a known tenant that was refused before it was admitted.
    pub(crate) fn note_refused(&self, journal: &Journal, code: ErrorCode) {
        self.recent.put(journal.close("refused", code.as_str()));
    }

    pub(crate) fn now_unix_ms(&self) -> i64 {
        self.host.clock.now_unix_ms()
    }
}

/// Gives the surface what it needs of a node.
pub(crate) struct Front(pub(crate) Arc<Node>);

#[async_trait]
impl Surface for Front {
    async fn ask(&self, call: Call) -> Reply {
        let to = Audience { dialect: call.endpoint.dialect(), id: call.id.clone() };
        stack::serve(&self.0, call, &to, Origin::Client).await.unwrap_or_else(|refused| refused.into_reply(&to))
    }

    fn models(&self, headers: &HeaderMap) -> Result<Vec<ModelCard>, Refused> {
        let snapshot = self.0.current()?;
        let accounts = self.0.accounts.load();
        let tenant = caller::authenticate(headers, &accounts, self.0.now_unix_ms())?;
        let constraints = caller::constraints(tenant, headers)?;
        let card = |name: &meridian_types::ModelName| ModelCard { id: name.to_string(), created: snapshot.loaded_at };
        Ok(snapshot.table.models(&constraints).map(card).collect())
    }

    fn is_leaving(&self) -> bool {
        self.0.shutdown.is_draining() || self.0.is_drained()
    }

    fn drained(&self) -> watch::Receiver<bool> {
        self.0.drained.subscribe()
    }

    fn regions_seen(&self) -> Option<String> {
        gossip::write(&self.0.peers.evidence().0)
    }
}

impl Status for Front {
    fn ready(&self) -> Result<(), String> {
        if self.0.shutdown.is_draining() {
            return Err("draining".to_owned());
        }
        if self.0.is_drained() {
            return Err(format!("region {} is drained; requests that come are served", self.0.region));
        }
        self.0.snapshot.load().as_ref().map(|_| ()).ok_or_else(|| "no configuration loaded yet".to_owned())
    }

    fn metrics(&self) -> String {
        self.0.registry.get().map(open_metrics).unwrap_or_default()
    }
}
