//! Puts a node together, runs it, and stops it in order.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::Uri;
use http::uri::Scheme;
use meridian_control_client as control_client;
use meridian_ingress::{self as ingress, Callers};
use meridian_lifecycle::{Kind, Shutdown, ShutdownTrigger, Tasks, shutdown};
use meridian_proto::accounts::Accounts;
use meridian_types::Incarnation;
use meridian_upstream::Transport;
use prometheus_client::registry::Registry;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::Admission;
use crate::faults::Faults;
use crate::lag::Lag;
use crate::left_out::LeftOut;
use crate::metrics::Metrics;
use crate::node::{Front, Node};
use crate::options::{Control, PeerListener};
use crate::outages::Outages;
use crate::peers::Peers;
use crate::recent::Recent;
use crate::spill::{PeerFront, Spill};
use crate::switches::Switches;
use crate::window::Window;
use crate::{Handle, Options, agreement, credentials, pace, probe, vigil};

/// After the grace: for the error events that end streams to reach their clients.
const FAREWELL: Duration = Duration::from_millis(500);

/// After the force: for the lanes' last writes to disk.
const TIDY: Duration = Duration::from_secs(5);

/// A node cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The way to providers cannot be set up.
    #[error("set up the way to providers")]
    Upstream(#[from] meridian_upstream::BuildError),
    /// The listener has no address.
    #[error("read the listener's address")]
    Listener(#[source] std::io::Error),
}

/// A node.
pub struct Service {
    handle: Handle,
    ingress: Option<ingress::Service>,
    /// For other nodes.
    peers: Option<ingress::Service>,
    dns: Option<meridian_dns::Service>,
    control: Option<control_client::Service>,
    probe_scheme: Scheme,
    witness: Option<Uri>,
    drain_grace: Duration,
    /// Stops the node's own parts, after the process's shutdown and in order.
    trigger: ShutdownTrigger,
    inner: Shutdown,
}

impl Service {
    /// Puts everything together; nothing is served before it runs, but the sockets are bound.
    ///
    /// # Errors
    /// When the file of certificate authorities is unusable.
    pub async fn new(options: Options) -> Result<Self, BuildError> {
        let Options { host, http, tls, dns, control, peers, mut registry, .. } = options;
        let transport = Transport::new(meridian_upstream::Options {
            host: host.clone(),
            egress_address: options.egress_address,
            extra_ca: options.extra_ca,
        })
        .await?;
        let (trigger, inner) = shutdown();
        let dns = dns.map(|options| meridian_dns::Service::new(options, &mut registry));
        let serves_http = http.is_some();
        let peer_tls = peers.as_ref().and_then(|peers| peers.tls.as_ref()).map(|(_, tls)| tls.clone());
        let peer_address = peers.as_ref().map(|peers| peers.advertise.clone());
        let spill = Spill::new(options.region.clone(), transport.clone(), peer_tls, options.max_in_flight);
        let budget = ingress::Budget::new(options.limits.budget_bytes);
        let switches = Arc::new(Switches::new(options.region.clone()));
        registry.sub_registry_with_prefix("meridian_node").register_collector(Box::new(Arc::clone(&switches)));
        let node = Arc::new(Node {
            name: options.name.clone(),
            region: options.region.clone(),
            faults: Faults::default(),
            switches,
            outages: Outages::default(),
            left_out: LeftOut::default(),
            recent: Recent::new(),
            serves_http,
            transport,
            admission: Admission::new(options.max_in_flight),
            metrics: Metrics::register(&mut registry, budget.held()),
            peers: Peers::new(),
            spill,
            dns: dns.as_ref().map(meridian_dns::Service::handle),
            shutdown: inner.clone(),
            leaving: CancellationToken::new(),
            snapshot: ArcSwapOption::empty(),
            applied: Notify::new(),
            accounts: ArcSwap::from_pointee(Accounts::default()),
            plan: ArcSwapOption::empty(),
            drained: watch::Sender::new(false),
            window: Mutex::new(Window::new()),
            lag: Lag::default(),
            budget: budget.clone(),
            registry: OnceLock::new(),
            host: host.clone(),
        });
        let control = control.map(|Control { endpoints, tls }| {
            let role = if serves_http { control_client::Role::Node } else { control_client::Role::Dns };
            let identity = control_client::NodeIdentity {
                name: options.name.clone(),
                region: options.region.clone(),
                cell: options.cell,
                role,
                incarnation: Incarnation(u64::try_from(host.clock.now_unix_ms()).unwrap_or_default()),
                public_addresses: options.public_addresses,
                peer_address,
                max_in_flight: if serves_http { options.max_in_flight.max(1) } else { 0 },
                build: options.build,
            };
            let serving = Arc::clone(&node) as Arc<dyn control_client::Serving>;
            let state_dir = options.state_dir;
            let options = control_client::Options { identity, endpoints, tls, host: host.clone(), state_dir, serving };
            control_client::Service::new(options, &mut registry)
        });
        let address = http.as_ref().map(|listener| listener.local_addr()).transpose().map_err(BuildError::Listener)?;
        let surface = |callers, listener, tls| ingress::Options {
            callers,
            listener,
            tls,
            limits: options.limits,
            budget: budget.clone(),
            region: options.region.clone(),
            node: options.name.clone(),
            entropy: Arc::clone(&host.entropy),
            linger: options.drain_linger,
        };
        let ingress = http.map(|listener| {
            let front = Arc::new(Front(Arc::clone(&node)));
            ingress::Service::new(surface(Callers::Clients, listener, tls), front, &mut registry)
        });
        let peers = peers.map(|PeerListener { listener, tls, .. }| {
            let front = Arc::new(PeerFront(Arc::clone(&node)));
            let tls = tls.map(|(server, _)| server);
            ingress::Service::new(surface(Callers::Peers, listener, tls), front, &mut registry)
        });
        publish(&node, registry);
        let handle = Handle { node, control: control.as_ref().map(control_client::Service::handle), http: address };
        Ok(Self {
            handle,
            ingress,
            peers,
            dns,
            control,
            probe_scheme: options.probe_scheme,
            witness: options.witness,
            drain_grace: options.drain_grace,
            trigger,
            inner,
        })
    }

    /// Looks at this node, also while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs until it has drained, or until it is forced. The order of a stop: readiness turns false and new
    /// connections are told to close; the listener closes after the linger time; streams that still run at the end of
    /// the grace end with an error event; the control plane hears of the drain until the end.
    pub async fn run(self, shutdown: Shutdown) {
        let Self { handle, ingress, peers, dns, control, probe_scheme, witness, drain_grace, trigger, inner } = self;
        let node = Arc::clone(&handle.node);
        let tasks = Tasks::new(trigger.clone(), inner.clone());
        // The control plane's lanes tidy up after the force, so that it must not drop them.
        let lanes = TaskTracker::new();
        if let Some(control) = control {
            let running = lanes.spawn(control.run(inner.clone()));
            tasks.spawn("control", Kind::Essential, async move {
                if let Err(error) = running.await {
                    tracing::error!(%error, "the lanes to the control plane failed");
                }
            });
        }
        if let Some(dns) = dns {
            let stop = inner.clone();
            tasks.spawn("dns", Kind::Essential, async move {
                if let Err(error) = dns.run(stop).await {
                    tracing::error!(error = &error as &dyn std::error::Error, "the DNS listener failed");
                }
            });
        }
        tasks.spawn("probes", Kind::Essential, probe::run(Arc::clone(&node), probe_scheme));
        if let Some(dns) = node.dns.clone() {
            let agreed = agreement::run(Arc::clone(&node), dns, handle.control.clone(), witness);
            tasks.spawn("agreement", Kind::Essential, agreed);
        }
        if let Some(ingress) = ingress {
            tasks.spawn("credentials", Kind::Essential, credentials::run(Arc::clone(&node)));
            tasks.spawn("pace", Kind::Essential, pace::run(Arc::clone(&node)));
            tasks.spawn("provider probes", Kind::Essential, vigil::run(Arc::clone(&node)));
            let measured = Arc::clone(&node);
            tasks.spawn("lag", Kind::Essential, async move { measured.lag.run().await });
            if let Some(control) = handle.control.clone() {
                tasks.spawn("flips", Kind::Essential, announce_flips(Arc::clone(&node), control));
            }
            let drained = CancellationToken::new();
            let (done, stop) = (drained.clone(), inner.clone());
            tasks.spawn("http", Kind::Essential, async move {
                match peers {
                    Some(peers) => {
                        tokio::join!(ingress.run(stop.clone()), peers.run(stop));
                    }
                    None => ingress.run(stop).await,
                }
                done.cancel();
            });
            stop_in_order(&node, &shutdown, &inner, &trigger, drain_grace, &drained, handle.control.as_ref()).await;
        } else {
            tokio::select! {
                () = shutdown.draining() => {}
                () = inner.draining() => {}
            }
        }
        trigger.force();
        tasks.finished().await;
        lanes.close();
        if tokio::time::timeout(TIDY, lanes.wait()).await.is_err() {
            tracing::warn!("the lanes to the control plane did not end in time");
        }
    }
}

async fn stop_in_order(
    node: &Node,
    outer: &Shutdown,
    inner: &Shutdown,
    trigger: &ShutdownTrigger,
    grace: Duration,
    drained: &CancellationToken,
    control: Option<&control_client::Handle>,
) {
    tokio::select! {
        () = outer.draining() => {}
        () = inner.draining() => {}
    }
    tracing::info!(node = %node.name, in_flight = node.admission.in_flight(), "draining");
    trigger.drain();
    // The control plane moves clients away: the sooner it knows, the fewer come.
    if let Some(control) = control {
        control.report_now();
    }
    tokio::select! {
        () = drained.cancelled() => return,
        () = outer.forced() => {}
        () = tokio::time::sleep(grace) => {}
    }
    node.leaving.cancel();
    tokio::select! {
        () = drained.cancelled() => {}
        () = tokio::time::sleep(FAREWELL) => {}
    }
}

/// A registry is complete before it is shown.
fn publish(node: &Node, registry: Registry) {
    // It is set once, here.
    let _ = node.registry.set(registry);
}

async fn announce_flips(node: Arc<Node>, control: control_client::Handle) {
    loop {
        node.peers.flipped().await;
        control.report_now();
    }
}
