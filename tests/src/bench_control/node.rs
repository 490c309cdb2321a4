//! A node that is everything but requests: both lanes, and what it is given is kept and compared.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use meridian_control_client::{NodeIdentity, Options, Peer, Published, Role, Served, Service, Serving, Vitals};
use meridian_host::Host;
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_proto::accounts::Accounts;
use meridian_proto::node::v1;
use meridian_testkit::MemoryFiles;
use meridian_types::{CellName, CommitId, Digest, Incarnation, Mistake, NodeName, Plan, RegionName, served};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A node has applied a commit.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) commit: u64,
    pub(super) at: Instant,
}

/// What a node says that it holds when it comes back.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) commit: CommitId,
    pub(super) digest: Digest,
    pub(super) accounts: Arc<Accounts>,
}

#[derive(Debug, Default)]
struct State {
    served: Option<Served>,
    accounts: Arc<Accounts>,
}

struct Recorder {
    state: Mutex<State>,
    applied: mpsc::Sender<Applied>,
}

impl Recorder {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Serving for Recorder {
    fn apply(&self, published: Arc<Published>) -> Result<(), Vec<Mistake>> {
        let Published { commit, digest, configuration, .. } = &*published;
        let served = Served { commit: *commit, digest: *digest, tables: served::expected(configuration) };
        self.with(|state| state.served = Some(served));
        // The queue has room for every node, and each is emptied before the next commit.
        let _ = self.applied.try_send(Applied { commit: commit.0, at: Instant::now() });
        Ok(())
    }

    fn accounts(&self, accounts: Arc<Accounts>) {
        self.with(|state| state.accounts = accounts);
    }

    fn plan(&self, _plan: Arc<Plan>) {}

    fn peers(&self, _peers: Arc<[Peer]>) {}

    fn faults(&self, _faults: &v1::FaultList) {}

    fn switches(&self, _switches: &v1::SwitchList) {}

    fn outages(&self, _outages: &v1::OutageList) {}

    fn look(&self) {}

    fn vitals(&self) -> Vitals {
        Vitals { state: v1::ServingState::Serving, in_flight: 0, served: self.with(|state| state.served) }
    }

    fn report(&self) -> v1::Report {
        v1::Report { window_ms: 1000, ..v1::Report::default() }
    }

    async fn answer(&self, query: v1::Query) -> v1::Reply {
        v1::Reply { id: query.id, answer: None }
    }
}

/// A running node.
pub(super) struct SimulatedNode {
    recorder: Arc<Recorder>,
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
}

impl SimulatedNode {
    /// In one of the three regions by turns.
    pub(super) fn start(
        host: &Host,
        number: usize,
        control: &str,
        applied: mpsc::Sender<Applied>,
    ) -> anyhow::Result<Self> {
        let recorder = Arc::new(Recorder { state: Mutex::default(), applied });
        let region = match number % 3 {
            0 => "us",
            1 => "eu",
            _ => "ap",
        };
        let identity = NodeIdentity {
            name: NodeName::new(&format!("node-{number}"))?,
            region: RegionName::new(region)?,
            cell: CellName::new("main")?,
            role: Role::Node,
            incarnation: Incarnation(1),
            // Nobody is to probe it.
            public_addresses: Vec::new(),
            max_in_flight: 100,
            peer_address: None,
            build: "bench".to_owned(),
        };
        let options = Options {
            identity,
            endpoints: vec![control.to_owned()],
            tls: None,
            // The disk is not what is measured.
            host: Host { files: Arc::new(MemoryFiles::default()), ..host.clone() },
            state_dir: "/state".into(),
            serving: recorder.clone(),
        };
        let service = Service::new(options, &mut Registry::default());
        let (trigger, stop) = shutdown();
        Ok(Self { recorder, trigger, task: tokio::spawn(service.run(stop)) })
    }

    pub(super) fn held(&self) -> Option<Held> {
        self.recorder.with(|state| {
            let served = state.served?;
            Some(Held { commit: served.commit, digest: served.digest, accounts: state.accounts.clone() })
        })
    }

    pub(super) async fn stop(self) {
        self.trigger.force();
        // It ends within a second, or it does not matter any more.
        let _ = self.task.await;
    }
}
