//! The running authority: sockets, the current snapshot, and the handle that changes it.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use meridian_host::{Datagram, Files, Host, Listen, Stamp};
use meridian_lifecycle::Shutdown;
use meridian_types::{CommitId, Configuration, Plan, PlanId, RegionName};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;

use crate::cookie::CookieSecrets;
use crate::explain::explain;
use crate::geo::GeoDatabase;
use crate::guard::Guard;
use crate::limit::RateLimit;
use crate::metrics::Metrics;
use crate::naming::{History, Served};
use crate::snapshot::{Inputs, Snapshot};
use crate::{reload, tcp, udp};

/// What an authority is made of. All sockets are bound already, usually to the same port.
pub struct Options {
    /// Datagrams in and out; several sockets of one address are served by as many tasks.
    pub udp: Vec<Box<dyn Datagram>>,
    /// Connections.
    pub tcp: Box<dyn Listen>,
    /// Where clients are; zones' own networks are asked without one.
    pub geo: Option<GeoDatabase>,
    /// The file that the database is in, and its stamp before it was read: looked at from time to time, and loaded anew
    /// when it has changed.
    pub geo_file: Option<(PathBuf, Option<Stamp>)>,
    /// Named in NSID answers.
    pub node: String,
    /// Time of day and randomness, for cookies.
    pub host: Host,
    /// What cookies are made with: the same for all authorities of a fleet, or else each makes its own and clients
    /// start anew with each.
    pub cookies: Option<CookieSecrets>,
    /// How much clients are sent that have no cookie; `None`: no limit.
    pub rate_limit: Option<RateLimit>,
    /// One query in so many is logged, with addresses cut to /24 and /48; `None`: none.
    pub query_log_one_in: Option<NonZero<u32>>,
}

/// An authority; serves while [`Service::run`] runs.
pub struct Service {
    udp: Vec<Box<dyn Datagram>>,
    tcp: Box<dyn Listen>,
    geo_file: Option<(PathBuf, Option<Stamp>)>,
    files: Arc<dyn Files>,
    handle: Handle,
}

/// Changes what is answered and explains it; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Shared,
    /// Makes changes one after the other, and knows what answers named before; queries never wait for it.
    history: Arc<Mutex<History>>,
}

/// What queries read.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) metrics: Metrics,
    pub(crate) guard: Guard,
}

impl Service {
    /// An authority that knows no zones yet, and says so. Counters go to `registry`.
    pub fn new(options: Options, registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        metrics.register(registry);
        metrics.geo_loaded(options.geo.as_ref());
        let geo = options.geo.map(Arc::new);
        let inputs = Inputs { geo, node: options.node.as_str().into(), ..Inputs::default() };
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::compile(inputs, None)));
        let guard =
            Guard::new(&options.host, options.cookies, options.rate_limit, options.query_log_one_in, metrics.clone());
        let handle = Handle { shared: Shared { snapshot, metrics, guard }, history: Arc::default() };
        let Options { udp, tcp, geo_file, host, .. } = options;
        Self { udp, tcp, geo_file, files: host.files, handle }
    }

    /// To change what is answered.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where it listens: UDP, TCP.
    pub fn local_addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        let udp = self.udp.first().ok_or(io::ErrorKind::NotConnected)?;
        Ok((udp.local_addr()?, self.tcp.local_addr()?))
    }

    /// Answers until the drain begins: resolvers then ask the zone's other name servers. Fails if the TCP listener
    /// does. Who wants DNS to outlive the drain of other parts passes a shutdown of its own.
    pub async fn run(self, shutdown: Shutdown) -> io::Result<()> {
        let Self { udp, tcp, geo_file, files, handle } = self;
        let shared = &handle.shared;
        let geo = async {
            if let Some((path, stamp)) = geo_file {
                reload::follow(path, files, stamp, &handle, &shutdown).await;
            }
        };
        let mut loops = JoinSet::new();
        for socket in udp {
            loops.spawn(udp::serve(socket, shared.clone(), shutdown.clone()));
        }
        let datagrams = async { while loops.join_next().await.is_some() {} };
        let ((), (), result) = tokio::join!(geo, datagrams, tcp::serve(tcp, shared, &shutdown));
        result
    }
}

impl Handle {
    /// Answers from this configuration and plan from now on.
    pub fn update(&self, commit: CommitId, configuration: Arc<Configuration>, plan: Option<Arc<Plan>>) {
        self.change(|inputs| {
            inputs.commit = commit;
            inputs.configuration = configuration;
            inputs.plan = plan;
        });
    }

    /// Follows this plan from now on.
    pub fn set_plan(&self, plan: Arc<Plan>) {
        self.change(|inputs| inputs.plan = Some(plan));
    }

    /// The regions that nodes agreed are gone although the plan has them serving: they leave the answers, and the
    /// plan's contingency for the loss holds.
    pub fn set_gone(&self, gone: BTreeSet<RegionName>) {
        if self.shared.snapshot.load().inputs.gone != gone {
            self.change(|inputs| inputs.gone = gone);
        }
    }

    /// Locates clients by another database, or by none. It takes some ten milliseconds of CPU, which are not spent on
    /// the query's path but on the caller's.
    pub fn set_geo(&self, geo: Option<Arc<GeoDatabase>>) {
        self.shared.metrics.geo_loaded(geo.as_deref());
        self.change(|inputs| inputs.geo = geo);
    }

    pub(crate) fn geo_refused(&self) {
        self.shared.metrics.geo_refused.inc();
    }

    /// The plan that is followed.
    pub fn plan(&self) -> Option<PlanId> {
        self.shared.snapshot.load().plan()
    }

    /// What answers come from now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Which regions answers name now, and for how long caches may hold what they named before.
    pub fn served(&self) -> Served {
        // The lock first: then nothing changes in between.
        let mut history = self.history();
        history.served(&self.snapshot())
    }

    /// Why `name` is answered as it is to a client at `from`, an address or a prefix; a line a step.
    pub fn explain(&self, name: &str, from: &str) -> Vec<String> {
        explain(&self.shared.snapshot.load(), name, from)
    }

    fn change(&self, change: impl FnOnce(&mut Inputs)) {
        let mut history = self.history();
        let old = self.shared.snapshot.load_full();
        let mut inputs = old.inputs.clone();
        change(&mut inputs);
        let new = Arc::new(Snapshot::compile(inputs, Some(&old)));
        self.shared.snapshot.store(Arc::clone(&new));
        self.shared.metrics.compiled(&new);
        history.turn(&old, &new);
    }

    fn history(&self) -> MutexGuard<'_, History> {
        // Each of its entries is true by itself, whatever a panic left undone.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("plan", &self.plan()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("listening", &self.local_addresses().ok()).finish_non_exhaustive()
    }
}
