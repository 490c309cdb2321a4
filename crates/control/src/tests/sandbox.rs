//! Replicas over one store, and the resources that the tests apply.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use meridian_host::Host;
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_proto::admin::v1::admin_service_client::AdminServiceClient;
use meridian_proto::admin::v1::{self as admin, ApplyRequest, ApplyResponse, Fleet};
use meridian_proto::resources::v1::{self as resources, Resource, ResourceRef};
use meridian_proto::transport;
use meridian_store::Store;
use meridian_store::memory::MemoryStore;
use meridian_types::KeyHash;
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

use crate::{Error, Handle, Options, Plaintext, Service};

/// Every wait of a test; far more than anything needs.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// A running replica.
pub(super) struct Replica {
    pub(super) handle: Handle,
    pub(super) address: SocketAddr,
    pub(super) admin: AdminServiceClient<Channel>,
    trigger: ShutdownTrigger,
    running: JoinHandle<Result<(), Error>>,
}

impl Replica {
    /// Starts one and waits until it is ready.
    pub(super) async fn start(store: &MemoryStore, name: &str) -> Self {
        Self::over(Arc::new(store.clone()), name).await
    }

    /// The same over any store.
    pub(super) async fn over(store: Arc<dyn Store>, name: &str) -> Self {
        let replica = Self::unready(store, name).await;
        tokio::time::timeout(LIMIT, replica.handle.readiness().wait()).await.unwrap();
        replica
    }

    /// Starts one and does not wait.
    pub(super) async fn unready(store: Arc<dyn Store>, name: &str) -> Self {
        Self::built(store, name, |service| service).await
    }

    /// Starts one whose service is changed first, and does not wait.
    pub(super) async fn built(store: Arc<dyn Store>, name: &str, change: fn(Service) -> Service) -> Self {
        let host = Host::real();
        let listener = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = Options {
            replica: name.to_owned(),
            address: address.to_string(),
            cluster: "test".to_owned(),
            store,
            host,
            listener,
            tls: None,
            plaintext: Plaintext::Loopback,
            codecs: vec!["openai_compatible".to_owned(), "anthropic".to_owned()],
        };
        let service = change(Service::new(options, &mut Registry::default()).unwrap());
        let handle = service.handle();
        let (trigger, shutdown) = shutdown();
        let running = tokio::spawn(service.run(shutdown));
        let admin = AdminServiceClient::new(channel(address).await);
        Self { handle, address, admin, trigger, running }
    }

    /// Drains and waits for the end.
    pub(super) async fn stop(self) {
        self.trigger.drain();
        tokio::time::timeout(LIMIT, self.running).await.unwrap().unwrap().unwrap();
    }

    /// Ends it as a crash would: nothing is said, no lease is given back.
    pub(super) fn kill(self) {
        self.running.abort();
        self.trigger.force();
    }

    pub(super) async fn try_apply(&mut self, request: ApplyRequest) -> Result<ApplyResponse, Status> {
        Ok(self.admin.apply(request).await?.into_inner())
    }

    /// Applies, and insists that it is taken.
    pub(super) async fn apply(&mut self, request: ApplyRequest) -> ApplyResponse {
        let response = self.try_apply(request).await.unwrap();
        assert_eq!(response.mistakes, [], "{:?}", response.mistakes);
        response
    }

    pub(super) async fn fleet(&mut self) -> Fleet {
        self.admin.get_fleet(admin::GetFleetRequest {}).await.unwrap().into_inner()
    }

    /// Waits until the fleet looks as wanted.
    pub(super) async fn fleet_with(&mut self, what: &str, wanted: impl Fn(&Fleet) -> bool) -> Fleet {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let fleet = self.fleet().await;
            if wanted(&fleet) {
                return fleet;
            }
            assert!(tokio::time::Instant::now() < deadline, "{what}: {fleet:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Drains or undrains on what the fleet shows.
    pub(super) async fn drain(&mut self, region: &str, drained: bool) -> Result<u64, Status> {
        self.set_drained(region, drained, false).await
    }

    /// Drains, whatever the rehearsal says.
    pub(super) async fn force_drain(&mut self, region: &str) -> Result<u64, Status> {
        self.set_drained(region, true, true).await
    }

    async fn set_drained(&mut self, region: &str, drained: bool, force: bool) -> Result<u64, Status> {
        let fleet = self.fleet().await;
        let shown = fleet.regions.iter().find(|shown| shown.region == region).unwrap();
        let request = admin::SetOverrideRequest {
            request_id: request_id(),
            region: region.to_owned(),
            expected_revision: shown.override_revision,
            change: Some(admin::set_override_request::Change::Drained(drained)),
            reason: "maintenance".to_owned(),
            until_unix_ms: 0,
            force,
        };
        Ok(self.admin.set_override(request).await?.into_inner().revision)
    }
}

pub(super) async fn channel(address: SocketAddr) -> Channel {
    let dial = move || async move { Host::real().net.connect(&address.to_string()).await };
    transport::connect(&address.to_string(), dial).await.unwrap()
}

/// A new UUID.
pub(super) fn request_id() -> String {
    let mut bytes = [0; 16];
    Host::real().entropy.fill(&mut bytes);
    let hex = hex::encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

pub(super) fn resource(kind: &str, name: &str, message: &impl Message) -> Resource {
    Resource { kind: kind.to_owned(), name: name.to_owned(), body: message.encode_to_vec().into() }
}

pub(super) fn region(name: &str, longitude: f64) -> Resource {
    let message = resources::Region {
        name: name.to_owned(),
        coordinates: Some(resources::Coordinates { latitude: 40.0, longitude }),
        jurisdiction: "US".to_owned(),
        weight: None,
        ..resources::Region::default()
    };
    resource("Region", name, &message)
}

pub(super) fn provider(name: &str, codec: &str) -> Resource {
    let message = resources::Provider {
        name: name.to_owned(),
        codec: codec.to_owned(),
        base_url: "https://api.example.com/v1".to_owned(),
        jurisdiction: "US".to_owned(),
        ..resources::Provider::default()
    };
    resource("Provider", name, &message)
}

pub(super) fn model(name: &str, provider: &str) -> Resource {
    let target = resources::Target { provider: provider.to_owned(), ..resources::Target::default() };
    let message = resources::Model {
        name: name.to_owned(),
        tiers: vec![resources::Tier { targets: vec![target] }],
        ..resources::Model::default()
    };
    resource("Model", name, &message)
}

pub(super) fn tenant(name: &str) -> Resource {
    resource("Tenant", name, &resources::Tenant { name: name.to_owned(), ..resources::Tenant::default() })
}

/// Much of a commit: a zone of more than 512 KiB that do not compress.
pub(super) fn bulk() -> Resource {
    let noise: String = (0..60_000u64).map(|i| KeyHash::of(&i.to_string()).id()).collect();
    let zone = resources::Zone {
        name: "example.com".to_owned(),
        nameservers: vec!["ns1.example.com".to_owned()],
        records: vec![resources::Record {
            name: "big".to_owned(),
            r#type: "TXT".to_owned(),
            values: noise.as_bytes().chunks(200).map(|text| String::from_utf8(text.to_vec()).unwrap()).collect(),
            ..resources::Record::default()
        }],
        ..resources::Zone::default()
    };
    resource("Zone", "example.com", &zone)
}

pub(super) fn removal(kind: &str, name: &str) -> ResourceRef {
    ResourceRef { kind: kind.to_owned(), name: name.to_owned() }
}

/// Three regions, a provider, a model and a tenant.
pub(super) fn everything() -> Vec<Resource> {
    vec![
        region("us", -120.0),
        region("eu", 0.0),
        region("ap", 110.0),
        provider("openai", "openai_compatible"),
        model("gpt", "openai"),
        tenant("acme"),
    ]
}

pub(super) fn apply(expected: u64, upserts: Vec<Resource>, removals: Vec<ResourceRef>) -> ApplyRequest {
    ApplyRequest {
        request_id: request_id(),
        expected_commit: expected,
        upserts,
        removals,
        reason: "test".to_owned(),
        dry_run: false,
        rollout: None,
    }
}

/// Waits until something is so.
pub(super) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The weight of each region, in the order of their names.
pub(super) fn weights(fleet: &Fleet) -> Vec<u32> {
    fleet.regions.iter().map(|region| region.weight).collect()
}

pub(super) fn shown<'a>(fleet: &'a Fleet, region: &str) -> &'a admin::FleetRegion {
    fleet.regions.iter().find(|shown| shown.region == region).unwrap()
}
