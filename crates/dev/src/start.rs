//! Puts an instance together: binds, opens the store, starts the parts, seeds the configuration, waits for readiness.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meridian_control_client::admin;
use meridian_host::{Host, Listen};
use meridian_identity::{Authority, ClientTls, Identity, PeerTls, Role, ServerTls};
use meridian_ingress::Status;
use meridian_lifecycle::{Kind, Shutdown, ShutdownTrigger, Tasks};
use meridian_sim::Simulator;
use meridian_store::embedded::EmbeddedStore;
use meridian_types::{CellName, NameError, NodeName, RegionName};
use tokio::time::Instant;

use crate::environment::with_simulator_key;
use crate::instance::{Instance, InstanceNode};
use crate::ports::{self, NodeSockets, Ports};
use crate::seed::{Seeded, seed};
use crate::{Error, RunningInstance};

/// The regions of `examples/regions.yaml`, in the order of the nodes' addresses.
const REGIONS: [&str; 3] = ["us-west", "eu-west", "ap-southeast"];
/// Everything is in this process and needs well under a second; a loaded machine may need some.
const READY_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Small, so that a person with a shell loop can see a region fill up and spill.
const MAX_IN_FLIGHT: u32 = 1000;
/// There is a key in it.
const DIR_MODE: u32 = 0o700;
/// A person who pressed Ctrl-C waits for it.
const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// New connections are taken for a moment, so that who just read a DNS answer is not refused.
const DRAIN_LINGER: Duration = Duration::from_millis(200);

/// What an instance is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// The store, the key and the last-known-good files; made if it is missing.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub ports: Ports,
    /// How the simulated providers behave.
    pub sim: meridian_sim::Options,
    /// Version of the program.
    pub build: String,
}

/// Starts an instance; it serves when this returns. What it runs stops with `shutdown`.
///
/// # Errors
/// A port is taken, the data directory is in use or unusable, or a part does not become ready.
pub async fn start(
    options: Options,
    host: Host,
    trigger: ShutdownTrigger,
    shutdown: Shutdown,
) -> Result<RunningInstance, Error> {
    let host = with_simulator_key(host);
    let sockets = ports::bind(&*host.net, options.ports).await?;
    let admin = address(&*sockets.admin)?;
    let lanes = address(&*sockets.lanes)?;
    let metrics = format!("http://{}", address(&*sockets.metrics)?);
    let sim = format!("http://{}", address(&*sockets.sim)?);
    let dir = tokio::fs::canonicalize(make_dir(&options.data_dir).await?);
    let dir = dir.await.map_err(Error::files("find", &options.data_dir))?;
    let store = EmbeddedStore::open(&dir, host.entropy.next_u64()).await;
    let store = store.map_err(|source| Error::Store { dir: dir.clone(), source })?;
    let tasks = Tasks::new(trigger, shutdown.clone());

    let simulator = Simulator::new(options.sim, host.clock.clone());
    let (listener, stop) = (sockets.sim, shutdown.clone());
    tasks.spawn("sim", Kind::Essential, async move { log("simulator", simulator.serve(listener, stop).await) });

    let authority = Authority::generate("dev", host.clock.now_unix_ms())?;
    let certificate = |role, region, name: &str| {
        let identity = Identity::new(role, region, name)?;
        authority.issue_pem(&identity, &["127.0.0.1".to_owned()], host.clock.now_unix_ms())
    };
    let mut registry = meridian_telemetry::registry(&options.build, "dev");
    let control = meridian_control::Options {
        replica: "dev".to_owned(),
        address: admin.to_string(),
        cluster: "dev".to_owned(),
        store: Arc::new(store.clone()),
        host: host.clone(),
        listener: sockets.admin,
        tls: None,
        plaintext: meridian_control::Plaintext::Loopback,
        codecs: meridian_providers::names().into_iter().map(str::to_owned).collect(),
    };
    let control = meridian_control::Service::new(control, &mut registry).map_err(Error::part("the control plane"))?;
    let lanes_tls = ServerTls::from_pem(&certificate(Role::Control, None, "dev")?)?;
    let control = control.also_listen(sockets.lanes, lanes_tls);
    let control_ready = control.handle().readiness().clone();
    let stop = shutdown.clone();
    tasks.spawn("control", Kind::Essential, async move { log("control plane", control.run(stop).await) });
    serve_metrics(&tasks, sockets.metrics, Arc::new((control_ready.clone(), registry)), &shutdown);
    ready("the control plane", || control_ready.check()).await?;

    let mut client = admin::connect(&admin.to_string(), None, &host).await?;
    let seeded = seed(&mut client, &host, &dir, &sim).await?;

    let mut nodes = Vec::new();
    let mut handles = Vec::new();
    let mut dns = None;
    for (region, sockets) in REGIONS.into_iter().zip(sockets.nodes) {
        let region = RegionName::new(region).map_err(Error::name)?;
        let http = address(&*sockets.http)?;
        dns = dns.or(Some(address(&*sockets.tcp)?));
        let name = NodeName::new(&format!("{region}-1")).map_err(Error::name)?;
        let pem = certificate(Role::Node, Some(region.clone()), name.as_str())?;
        let tls = ClientTls::from_pem(&pem, Role::Control)?;
        let peer_tls = (ServerTls::from_pem(&pem)?, PeerTls::from_pem(&pem)?);
        let node = NodeParts { name, region, http, sockets, tls, peer_tls, state_dir: dir.clone(), lanes };
        nodes.push(InstanceNode { region: node.region.to_string(), http: format!("http://{http}") });
        let service = node.build(&host, &options.build).await?;
        handles.push(service.handle());
        tasks.spawn("node", Kind::Essential, service.run(shutdown.clone()));
    }
    for handle in &handles {
        let what = format!("the node on {}", handle.http_address().map(|a| a.to_string()).unwrap_or_default());
        ready(&what, || if handle.is_ready() { Ok(()) } else { Err("no configuration arrived".to_owned()) }).await?;
    }
    wait_for_a_plan(&mut client).await?;
    let Seeded { key, zone, name, hosted } = seeded;
    let dns = dns.map(|address| address.to_string()).unwrap_or_default();
    let (admin, pid) = (admin.to_string(), std::process::id());
    let instance = Instance { admin, metrics, dns, zone, name, key, sim, nodes, pid };
    Ok(RunningInstance { instance, hosted, own_addresses: sockets.own_addresses, data_dir: dir, tasks, store })
}

/// As `meridian control --metrics-listen` does, until the drain begins.
fn serve_metrics(tasks: &Tasks, listener: Box<dyn Listen>, status: Arc<dyn Status>, shutdown: &Shutdown) {
    let serves = meridian_ingress::Service::of_status(listener, status).run(shutdown.clone());
    let stop = shutdown.clone();
    tasks.spawn("metrics", Kind::Essential, async move {
        tokio::select! {
            () = serves => {}
            () = stop.draining() => {}
        }
    });
}

struct NodeParts {
    name: NodeName,
    region: RegionName,
    http: SocketAddr,
    sockets: NodeSockets,
    tls: ClientTls,
    peer_tls: (ServerTls, PeerTls),
    state_dir: PathBuf,
    lanes: SocketAddr,
}

impl NodeParts {
    async fn build(self, host: &Host, build: &str) -> Result<meridian_node::Service, Error> {
        let dns = meridian_dns::Options {
            udp: vec![self.sockets.udp],
            tcp: self.sockets.tcp,
            geo: None,
            geo_file: None,
            node: self.name.to_string(),
            host: host.clone(),
            cookies: None,
            rate_limit: Some(meridian_dns::RateLimit::default()),
            query_log_one_in: None,
        };
        let own_address = self.http.ip();
        let peers = meridian_node::PeerListener {
            advertise: address(&*self.sockets.peers)?.to_string(),
            listener: self.sockets.peers,
            tls: Some(self.peer_tls),
        };
        let options = meridian_node::Options {
            state_dir: self.state_dir.join(self.name.as_str()),
            cell: CellName::new("main").map_err(Error::name)?,
            build: build.to_owned(),
            host: host.clone(),
            http: Some(self.sockets.http),
            tls: None,
            probe_scheme: meridian_node::Scheme::HTTP,
            limits: meridian_ingress::Limits::default(),
            peers: Some(peers),
            dns: Some(dns),
            control: Some(meridian_node::Control { endpoints: vec![self.lanes.to_string()], tls: Some(self.tls) }),
            max_in_flight: MAX_IN_FLIGHT,
            public_addresses: vec![self.http.to_string()],
            // The simulator tells the regions apart by it.
            egress_address: Some(own_address),
            witness: None,
            extra_ca: None,
            drain_linger: DRAIN_LINGER,
            drain_grace: DRAIN_GRACE,
            registry: meridian_telemetry::registry(build, "node"),
            name: self.name,
            region: self.region,
        };
        meridian_node::Service::new(options).await.map_err(|source| Error::Node { source })
    }
}

async fn make_dir(dir: &PathBuf) -> Result<&PathBuf, Error> {
    let made = tokio::fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).await;
    made.map_err(Error::files("make", dir))?;
    Ok(dir)
}

fn address(listener: &dyn Listen) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(Error::part("a listener"))
}

fn log(what: &str, result: Result<(), impl std::error::Error + 'static>) {
    if let Err(error) = result {
        tracing::error!(error = &error as &dyn std::error::Error, "{what} failed");
    }
}

async fn ready(what: &str, mut check: impl FnMut() -> Result<(), String>) -> Result<(), Error> {
    wait(what, || std::future::ready(check())).await
}

/// The first plan that knows every node as serving: before it, DNS has no address to give.
async fn wait_for_a_plan(client: &mut admin::Client) -> Result<(), Error> {
    wait("the first plan", || {
        let mut client = client.clone();
        async move {
            let fleet = client.get_fleet(meridian_proto::admin::v1::GetFleetRequest {}).await;
            let plan = fleet.map_err(|status| status.message().to_owned())?.into_inner().plan;
            let regions = plan.map(|plan| plan.regions).unwrap_or_default();
            let waiting: Vec<_> =
                regions.iter().filter(|r| r.addresses.is_empty()).map(|r| r.region.as_str()).collect();
            match (regions.is_empty(), waiting.is_empty()) {
                (true, _) => Err("there is none".to_owned()),
                (false, false) => Err(format!("no address yet for {}", waiting.join(", "))),
                (false, true) => Ok(()),
            }
        }
    })
    .await
}

async fn wait<F: Future<Output = Result<(), String>>>(what: &str, mut check: impl FnMut() -> F) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let Err(reason) = check().await else { return Ok(()) };
        if start.elapsed() > READY_LIMIT {
            return Err(Error::NotReady { what: what.to_owned(), seconds: READY_LIMIT.as_secs(), reason });
        }
        tokio::time::sleep(POLL).await;
    }
}

impl Error {
    fn name(error: NameError) -> Self {
        Self::Examples(error.to_string())
    }
}
