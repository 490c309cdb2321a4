//! The listener: who gets in, and what tools find there.

use std::sync::Arc;

use meridian_host::Host;
use meridian_identity::{Authority, ClientTls, Identity, Role, ServerTls};
use meridian_lifecycle::shutdown;
use meridian_proto::admin::v1::admin_service_client::AdminServiceClient;
use meridian_proto::admin::v1::{GetFleetRequest, HistoryRequest};
use meridian_proto::transport;
use meridian_store::memory::MemoryStore;
use prometheus_client::registry::Registry;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
use tonic_reflection::pb::{v1, v1alpha};

use super::node::{Syncing, hello, identity};
use super::sandbox::{LIMIT, Replica, channel};
use crate::{Options, Plaintext, Service};

#[tokio::test]
async fn tools_find_health_and_both_reflections() {
    let store = MemoryStore::new(1);
    let replica = Replica::start(&store, "cp-1").await;
    let channel = channel(replica.address).await;
    for service in ["", "meridian.admin.v1.AdminService"] {
        wait_until(&channel, service, ServingStatus::Serving).await;
    }
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let requests = tokio_stream::once(request);
    let mut answers = client.server_reflection_info(requests).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(answer.contains("meridian.admin.v1.AdminService") && answer.contains("grpc.health.v1.Health"), "{answer}");

    let symbol = "meridian.node.v1.NodeService".to_owned();
    let ask = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol);
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(answer.contains("FileDescriptorResponse"), "{answer}");
    replica.stop().await;
}

/// What the health service says of a service.
async fn health(channel: &Channel, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner().status()
}

async fn wait_until(channel: &Channel, service: &str, status: ServingStatus) {
    let waiting = async {
        while health(channel, service).await != status {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap();
}

#[tokio::test]
async fn without_a_store_nothing_is_said_to_serve_until_it_is_there() {
    let store = MemoryStore::new(1);
    store.set_available(false);
    let replica = Replica::unready(Arc::new(store.clone()), "cp-1").await;
    let channel = channel(replica.address).await;
    for service in ["", "meridian.admin.v1.AdminService", "meridian.node.v1.NodeService"] {
        assert_eq!(health(&channel, service).await, ServingStatus::NotServing, "{service}");
    }
    assert_eq!(replica.handle.readiness().check(), Err("the store was not read yet".to_owned()));
    // An answer made of nothing would look like a fleet without regions.
    let mut operator = AdminServiceClient::new(channel.clone());
    let refused = operator.get_fleet(GetFleetRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().starts_with("the store was not read yet"), "{refused}");
    let mut early = operator.clone();
    let early = tokio::spawn(async move { early.history(HistoryRequest { limit: 0 }).await });
    store.set_available(true);
    wait_until(&channel, "meridian.admin.v1.AdminService", ServingStatus::Serving).await;
    assert!(early.await.unwrap().is_ok(), "a question that comes early waits for the store");
    replica.stop().await;
}

#[tokio::test]
async fn certificates_say_who_may_do_what() {
    let host = Host::real();
    let now = host.clock.now_unix_ms();
    let authority = Authority::generate("test", now).unwrap();
    let pem = |uri: &str| {
        let identity: Identity = uri.parse().unwrap();
        authority.issue_pem(&identity, &["localhost".to_owned()], now).unwrap()
    };
    let listener = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = Options {
        replica: "cp-1".to_owned(),
        address: address.to_string(),
        cluster: "test".to_owned(),
        store: Arc::new(MemoryStore::new(1)),
        host: host.clone(),
        listener,
        tls: Some(ServerTls::from_pem(&pem("spiffe://meridian/control/-/cp-1")).unwrap()),
        plaintext: Plaintext::Loopback,
        codecs: Vec::new(),
    };
    let service = Service::new(options, &mut Registry::default()).unwrap();
    let handle = service.handle();
    let (trigger, shutdown) = shutdown();
    let running = tokio::spawn(service.run(shutdown));
    tokio::time::timeout(LIMIT, handle.readiness().wait()).await.unwrap();

    let dial = async |uri: &str| -> Channel {
        let tls = ClientTls::from_pem(&pem(uri), Role::Control).unwrap();
        let dial = move || {
            let tls = tls.clone();
            async move { tls.connect(Host::real().net.connect(&address.to_string()).await?, "localhost").await }
        };
        transport::connect(&address.to_string(), dial).await.unwrap()
    };
    let mut operator = AdminServiceClient::new(dial("spiffe://meridian/operator/-/alice").await);
    assert!(operator.history(HistoryRequest { limit: 0 }).await.is_ok());
    let node = dial("spiffe://meridian/node/eu/n1").await;
    let refused = AdminServiceClient::new(node.clone()).get_fleet(GetFleetRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let claim = |name: &str| meridian_proto::node::v1::Hello { identity: Some(identity("eu", name, 1)), ..hello() };
    assert!(Syncing::over(node.clone(), claim("n1")).await.is_ok());
    let refused = Syncing::over(node, claim("n2")).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // Without a certificate there is no connection at all.
    let plain = move || async move { Host::real().net.connect(&address.to_string()).await };
    if let Ok(channel) = transport::connect(&address.to_string(), plain).await {
        assert!(AdminServiceClient::new(channel).get_fleet(GetFleetRequest {}).await.is_err());
    }
    trigger.drain();
    tokio::time::timeout(LIMIT, running).await.unwrap().unwrap().unwrap();
}
