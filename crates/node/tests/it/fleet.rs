//! Two nodes with TLS: what a client meets, and what they see of each other.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use meridian_control_client::Peer;
use meridian_host::Host;
use meridian_identity::{Authority, Identity, Pem, Role, ServerTls};
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_node::{Handle, Service};
use meridian_proto::node::v1::Observation;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::support::{eventually, options};

struct Fleet {
    authority: Authority,
    dir: tempfile::TempDir,
    host: Host,
}

impl Fleet {
    fn new() -> Self {
        let host = Host::real();
        let authority = Authority::generate("test", host.clock.now_unix_ms()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.certificate_pem()).unwrap();
        Self { authority, dir, host }
    }

    async fn node(&self, name: &str) -> (Handle, ShutdownTrigger) {
        let identity = Identity::new(Role::Node, Some("eu-west".parse().unwrap()), name).unwrap();
        let hosts = ["127.0.0.1".to_owned()];
        let issued = self.authority.issue_pem(&identity, &hosts, self.host.clock.now_unix_ms()).unwrap();
        let public = Pem { ca: None, ..issued };
        let mut options = options(&self.host, name, self.dir.path()).await;
        options.tls = Some(ServerTls::from_pem(&public).unwrap());
        options.probe_scheme = http::uri::Scheme::HTTPS;
        options.extra_ca = Some(self.dir.path().join("ca.pem"));
        let service = Service::new(options).await.unwrap();
        let handle = service.handle();
        let (trigger, seen) = shutdown();
        tokio::spawn(service.run(seen));
        (handle, trigger)
    }

    fn peer(&self, name: &str, address: String) -> Peer {
        Peer { node: name.parse().unwrap(), region: "eu-west".parse().unwrap(), address, peer_address: None }
    }
}

fn seen(node: &Handle, peer: &str) -> Option<Observation> {
    node.serving().report().observations.into_iter().find(|seen| seen.node == peer)
}

#[tokio::test]
async fn nodes_see_through_their_public_listeners_who_lives_and_who_does_not() {
    let fleet = Fleet::new();
    let (watcher, _keep) = fleet.node("watcher").await;
    let (peer, trigger) = fleet.node("peer").await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    watcher.serving().peers(Arc::from([
        fleet.peer("peer", peer.http_address().unwrap().to_string()),
        fleet.peer("nobody", nobody.to_string()),
    ]));
    eventually("the peer is seen", || seen(&watcher, "peer").is_some_and(|seen| seen.reachable && seen.streak >= 2))
        .await;
    eventually("nobody is not", || seen(&watcher, "nobody").is_some_and(|seen| !seen.reachable)).await;
    assert_eq!(seen(&watcher, "nobody").unwrap().detail, "cannot be connected to");
    trigger.force();
    eventually("its end is seen", || seen(&watcher, "peer").is_some_and(|seen| !seen.reachable && seen.streak >= 2))
        .await;
}

#[tokio::test]
async fn tls_clients_get_the_http_version_that_they_ask_for() {
    let fleet = Fleet::new();
    let (node, _keep) = fleet.node("n1").await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(fleet.authority.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_only();
        let connector = if version == http::Version::HTTP_2 {
            builder.enable_all_versions().build()
        } else {
            builder.enable_http1().build()
        };
        let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
        let url = format!("https://{}/healthz", node.http_address().unwrap());
        let answer = client.get(url.parse().unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok\n");
    }
}
