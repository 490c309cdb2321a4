//! The store is right and a node is wrong: the fleet says so.

#![expect(clippy::unwrap_used, reason = "a test: it fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use meridian_config::Source;
use meridian_control_client::{Published, Serving, Source as Origin, admin};
use meridian_host::Host;
use meridian_lifecycle::shutdown;
use meridian_proto::admin::v1::{ApplyRequest, FleetNode, GetFleetRequest};
use meridian_proto::content::Content;
use meridian_store::memory::MemoryStore;
use meridian_types::{CommitId, Configuration, RequestId};
use tokio::time::Instant;

const CONFIGURATION: &str = "
kind: Region
name: eu
coordinates: {latitude: 53.3, longitude: -6.3}
jurisdiction: EU
---
kind: Provider
name: acme
codec: openai_compatible
base_url: https://api.example.com/v1
jurisdiction: EU
---
kind: Model
name: chat
tiers: [{targets: [{provider: acme}]}]
";

const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// A control plane and a node, both real, on the loopback.
struct Pair {
    admin: admin::Client,
    node: Arc<dyn Serving>,
    _dir: tempfile::TempDir,
}

async fn start() -> Pair {
    let host = Host::real();
    let any = || "127.0.0.1:0".parse().unwrap();
    let listener = host.net.listen(any()).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let options = meridian_control::Options {
        replica: "control-1".to_owned(),
        address: address.clone(),
        cluster: "test".to_owned(),
        store: Arc::new(MemoryStore::new(1)),
        host: host.clone(),
        listener,
        tls: None,
        plaintext: meridian_control::Plaintext::Loopback,
        codecs: meridian_providers::names().into_iter().map(str::to_owned).collect(),
    };
    let control = meridian_control::Service::new(options, &mut meridian_telemetry::registry("0", "control")).unwrap();
    let ready = control.handle();
    // Both live as long as the test's runtime.
    let (trigger, stop) = shutdown();
    std::mem::forget(trigger);
    tokio::spawn(control.run(stop.clone()));
    tokio::time::timeout(PATIENCE, ready.readiness().wait()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let http = host.net.listen(any()).await.unwrap();
    let public = http.local_addr().unwrap().to_string();
    let options = meridian_node::Options {
        name: "n1".parse().unwrap(),
        region: "eu".parse().unwrap(),
        cell: "main".parse().unwrap(),
        build: "test".to_owned(),
        host: host.clone(),
        http: Some(http),
        tls: None,
        probe_scheme: meridian_node::Scheme::HTTP,
        limits: meridian_ingress::Limits::default(),
        peers: None,
        dns: None,
        control: Some(meridian_node::Control { endpoints: vec![address.clone()], tls: None }),
        state_dir: dir.path().to_owned(),
        max_in_flight: 10,
        public_addresses: vec![public],
        egress_address: None,
        witness: None,
        extra_ca: None,
        drain_linger: Duration::ZERO,
        drain_grace: Duration::ZERO,
        registry: meridian_telemetry::registry("0", "node"),
    };
    let service = meridian_node::Service::new(options).await.unwrap();
    let node = service.handle().serving();
    tokio::spawn(service.run(stop));
    let admin = admin::connect(&address, None, &host).await.unwrap();
    Pair { admin, node, _dir: dir }
}

impl Pair {
    /// Waits until the fleet shows the node as wanted; for how long.
    async fn until(&mut self, what: &str, wanted: impl Fn(&FleetNode) -> bool) -> Duration {
        let began = Instant::now();
        loop {
            let fleet = self.admin.get_fleet(GetFleetRequest {}).await.unwrap().into_inner();
            if fleet.nodes.first().is_some_and(&wanted) {
                return began.elapsed();
            }
            assert!(began.elapsed() < PATIENCE, "{what}: {fleet:#?}");
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Makes the node serve from a configuration that need not be that of its content.
    fn serve(&self, content: &Arc<Content>, configuration: Configuration) {
        let published = Published {
            commit: CommitId(1),
            digest: content.digest(),
            content: content.clone(),
            configuration: Arc::new(configuration),
            source: Origin::Live,
        };
        self.node.apply(Arc::new(published)).unwrap();
    }
}

#[tokio::test]
async fn tables_that_are_not_what_their_commit_says_show_in_the_fleet_within_a_second() {
    let mut pair = start().await;
    let resources = meridian_config::load(&[Source::new("test.yaml", CONFIGURATION)]).unwrap().resources;
    let content = Arc::new(Content::from_resources(resources.clone()));
    let mut random = [0; 16];
    Host::real().entropy.fill(&mut random);
    let request_id = RequestId::from_random(random).to_string();
    let applied = pair.admin.apply(ApplyRequest { request_id, upserts: resources, ..Default::default() }).await;
    assert_eq!(applied.unwrap().into_inner().mistakes, []);
    let is_well = |node: &FleetNode| node.commit == 1 && node.digest_matches && node.divergences.is_empty();
    pair.until("it serves the commit", is_well).await;

    // It still says the right commit with the right digest, and sends requests elsewhere.
    let mut wrong = content.configuration().unwrap();
    wrong.providers.values_mut().for_each(|provider| provider.base_url = "https://elsewhere.example/v1".to_owned());
    pair.serve(&content, wrong);
    let tells = |node: &FleetNode| {
        node.digest_matches && node.divergences.iter().any(|text| text.contains("serves requests from tables"))
    };
    let took = pair.until("the fleet tells", tells).await;
    assert!(took < Duration::from_secs(1), "only after {took:?}");

    pair.serve(&content, content.configuration().unwrap());
    pair.until("it is mended", is_well).await;
}
