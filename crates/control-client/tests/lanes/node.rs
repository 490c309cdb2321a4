//! A node that only notes what it is told, and the fixtures it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use meridian_control_client::{
    Handle, NodeIdentity, Options, Peer, Published, Role, Served, Service, Serving, Source, Vitals,
};
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_proto::fleet::v1 as fleet;
use meridian_proto::node::v1;
use meridian_proto::resources::v1::{Coordinates, Region, Resource};
use meridian_types::{ErrorCode, Incarnation, KeyHash, Kind, Mistake, Plan, PlanId};
use prometheus_client::registry::Registry;
use prost::Message;

use crate::machine::Machine;

/// What was told, in order.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) applied: Vec<(u64, Source)>,
    pub(crate) served: Option<Served>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) plans: Vec<PlanId>,
    pub(crate) peers: Vec<Arc<[Peer]>>,
    pub(crate) faults: Vec<v1::FaultList>,
    pub(crate) switches: Vec<v1::SwitchList>,
    pub(crate) outages: Vec<v1::OutageList>,
    /// How often it was asked to look at its peers.
    pub(crate) looks: u32,
    /// The node refuses the next configuration for this.
    pub(crate) refusal: Option<Mistake>,
}

#[derive(Default)]
pub(crate) struct Recorder(pub Mutex<Notes>);

#[async_trait]
impl Serving for Recorder {
    fn apply(&self, published: Arc<Published>) -> Result<(), Vec<Mistake>> {
        let mut notes = self.0.lock().unwrap();
        if let Some(refusal) = notes.refusal.take() {
            return Err(vec![refusal]);
        }
        notes.applied.push((published.commit.0, published.source));
        let tables = meridian_types::served::expected(&published.configuration);
        notes.served = Some(Served { commit: published.commit, digest: published.content.digest(), tables });
        Ok(())
    }

    fn accounts(&self, accounts: Arc<Accounts>) {
        self.0.lock().unwrap().accounts = accounts;
    }

    fn plan(&self, plan: Arc<Plan>) {
        self.0.lock().unwrap().plans.push(plan.id);
    }

    fn peers(&self, peers: Arc<[Peer]>) {
        self.0.lock().unwrap().peers.push(peers);
    }

    fn faults(&self, faults: &v1::FaultList) {
        self.0.lock().unwrap().faults.push(faults.clone());
    }

    fn switches(&self, switches: &v1::SwitchList) {
        self.0.lock().unwrap().switches.push(switches.clone());
    }

    fn outages(&self, outages: &v1::OutageList) {
        self.0.lock().unwrap().outages.push(outages.clone());
    }

    fn look(&self) {
        self.0.lock().unwrap().looks += 1;
    }

    fn vitals(&self) -> Vitals {
        Vitals { state: v1::ServingState::Serving, in_flight: 3, served: self.0.lock().unwrap().served }
    }

    fn report(&self) -> v1::Report {
        v1::Report { window_ms: 1000, ..v1::Report::default() }
    }

    async fn answer(&self, query: v1::Query) -> v1::Reply {
        if query.id == 0 {
            std::future::pending::<()>().await;
        }
        let lines = vec![format!("{:?}", query.question.is_some())];
        v1::Reply { id: query.id, answer: Some(v1::reply::Answer::Explanation(v1::Explanation { lines })) }
    }
}

pub(crate) struct Node {
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) handle: Handle,
    trigger: ShutdownTrigger,
    task: tokio::task::JoinHandle<()>,
}

impl Node {
    pub(crate) fn start(machine: &Machine, endpoints: &[&str]) -> Self {
        let recorder = Arc::new(Recorder::default());
        let options = Options {
            identity: NodeIdentity {
                name: "node-1".parse().unwrap(),
                region: "eu-west".parse().unwrap(),
                cell: "a".parse().unwrap(),
                role: Role::Node,
                incarnation: Incarnation(1),
                public_addresses: vec!["192.0.2.1:443".to_owned()],
                peer_address: None,
                max_in_flight: 100,
                build: "test".to_owned(),
            },
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            tls: None,
            host: machine.host(),
            state_dir: "/state".into(),
            serving: recorder.clone(),
        };
        let service = Service::new(options, &mut Registry::default());
        let handle = service.handle();
        let (trigger, seen) = shutdown();
        Self { recorder, handle, trigger, task: tokio::spawn(service.run(seen)) }
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.trigger.force();
        self.task.await.unwrap();
    }

    pub(crate) fn served(&self) -> Option<u64> {
        self.recorder.0.lock().unwrap().served.map(|served| served.commit.0)
    }

    pub(crate) fn applied(&self) -> Vec<u64> {
        self.recorder.0.lock().unwrap().applied.iter().map(|(commit, _)| *commit).collect()
    }
}

/// Waits until `is` holds, at most a minute of (paused) time.
pub(crate) async fn eventually(what: &str, is: impl FnMut() -> bool) {
    within(Duration::from_secs(60), what, is).await;
}

/// Waits for a condition, so long.
pub(crate) async fn within(limit: Duration, what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(limit, waiting).await.is_ok(), "never: {what}");
}

/// Regions, told apart by `latitude`.
pub(crate) fn content(latitude: f64, regions: &[&str]) -> Content {
    Content::from_resources(regions.iter().map(|name| {
        let region = Region {
            name: (*name).to_owned(),
            coordinates: Some(Coordinates { latitude, longitude: 0.0 }),
            jurisdiction: "EU".to_owned(),
            ..Region::default()
        };
        Resource { kind: "Region".to_owned(), name: region.name.clone(), body: region.encode_to_vec().into() }
    }))
}

pub(crate) fn plan(epoch: u64, number: u64) -> fleet::Plan {
    let region = fleet::RegionPlan {
        region: "eu-west".to_owned(),
        state: fleet::RegionState::Serving.into(),
        weight: 1000,
        target_weight: 1000,
        placement: vec![fleet::Share { region: "eu-west".to_owned(), permille: 1000 }],
        ..fleet::RegionPlan::default()
    };
    fleet::Plan { epoch, number, regions: vec![region], ..fleet::Plan::default() }
}

/// A key of the tenant `acme`.
pub(crate) fn key(text: &str, revoked: bool) -> meridian_proto::resources::v1::Key {
    meridian_proto::resources::v1::Key {
        hash: KeyHash::of(text).0.as_bytes().to_vec().into(),
        tenant: "acme".to_owned(),
        revoked_at_unix_ms: i64::from(revoked),
        ..Default::default()
    }
}

pub(crate) fn mistake(text: &str) -> Mistake {
    Mistake {
        kind: Kind::Provider,
        name: "openai".to_owned(),
        path: "credential.env".to_owned(),
        code: ErrorCode::InvalidField,
        text: text.to_owned(),
    }
}
