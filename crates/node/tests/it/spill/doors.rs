//! Who may hand requests over: nodes of this cluster, and nobody else.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use meridian_host::{Host, Network, TcpNetwork};
use meridian_identity::{Authority, PeerTls, Role};

use super::places::{FAR, HOME, NEAR, Places, certificate};
use crate::support::{PATIENCE, Setup, ask, metric};

impl Places {
    pub(super) async fn metrics(&self, at: usize) -> String {
        let stream = TcpNetwork.connect(&self.all[at].node.http_address().unwrap().to_string()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream.io)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/metrics").header("host", "x").body(Full::<Bytes>::default()).unwrap();
        let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }

    /// Speaks to a node's listener for nodes, as whoever `tls` says.
    async fn hand_over(&self, tls: &PeerTls, headers: &[(&str, &str)]) -> std::io::Result<StatusCode> {
        let connection = TcpNetwork.connect(&self.peer_address(NEAR)).await?;
        let near = "spiffe://meridian/node/near/near".parse().unwrap();
        let connection = tls.connect(connection, &near).await?;
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(connection.io)).await;
        let (mut sender, connection) = handshake.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        let mut request = Request::post("http://near/v1/chat/completions");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(ask("chat").to_string()))).unwrap();
        let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap();
        answer.map(|answer| answer.status()).map_err(std::io::Error::other)
    }
}

#[tokio::test]
async fn only_a_node_of_this_cluster_may_hand_over_and_only_for_a_tenant() {
    let places = Places::start(Setup::default()).await;
    let tls =
        |authority: &Authority, role, name| PeerTls::from_pem(&certificate(authority, role, "home", name)).unwrap();
    let node = tls(&places.authority, Role::Node, "home");
    let tenant = ("x-meridian-tenant", "acme");
    assert_eq!(places.hand_over(&node, &[tenant]).await.unwrap(), 200);
    assert_eq!(places.hand_over(&node, &[("x-meridian-tenant", "nobody")]).await.unwrap(), 403);
    // A key is a client's, and clients have another door.
    assert_eq!(places.hand_over(&node, &[("authorization", "Bearer mrd_test")]).await.unwrap(), 403);
    // It looks at residency itself: the only provider in the EU is the second one, and the tenant may not use `only`.
    assert_eq!(places.hand_over(&node, &[tenant, ("x-data-region", "CN")]).await.unwrap(), 403);

    let dns = tls(&places.authority, Role::Dns, "home");
    assert!(places.hand_over(&dns, &[tenant]).await.is_err());
    let strangers = Authority::generate("test", Host::real().clock.now_unix_ms()).unwrap();
    let pem = certificate(&strangers, Role::Node, "home", "home");
    let own = certificate(&places.authority, Role::Node, "home", "home");
    // It trusts us, so that only our side can be the one that refuses.
    let stranger = PeerTls::from_pem(&meridian_identity::Pem { ca: own.ca, ..pem }).unwrap();
    assert!(places.hand_over(&stranger, &[tenant]).await.is_err());
    let refused = metric(&places.metrics(NEAR).await, "meridian_peer_http_handshakes_failed_total");
    assert_eq!(refused[""], 2.0);
}

#[tokio::test]
async fn who_shows_no_certificate_or_speaks_in_the_clear_is_refused() {
    let places = Places::start(Setup::default()).await;
    let clear = TcpNetwork.connect(&places.peer_address(NEAR)).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(clear.io)).await;
    let (mut sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://near/v1/chat/completions").header("x-meridian-tenant", "acme");
    let request = request.body(Full::new(Bytes::from(ask("chat").to_string()))).unwrap();
    assert!(tokio::time::timeout(PATIENCE, sender.send_request(request)).await.unwrap().is_err());
    assert!(places.seen(NEAR).is_empty());
}

#[tokio::test]
async fn a_node_at_another_nodes_address_is_not_taken_for_it() {
    let places = Places::start(Setup::default()).await;
    places.break_region(HOME, "error;status=500");
    // Someone has mixed up addresses: `near` is said to be where `far` listens.
    let mut near = places.all[NEAR].peer.clone();
    near.peer_address = Some(places.peer_address(FAR));
    places.all[HOME].node.serving().peers([near].into());
    crate::support::eventually("near is seen", || {
        places.all[HOME].node.serving().report().observations.iter().any(|seen| seen.reachable)
    })
    .await;
    let answer = places.chat(HOME, ask("chat"), &[]).await;
    assert!(answer.status.is_server_error());
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("region near could not be connected to"), "{message}");
    assert!(places.seen(FAR).is_empty());
    let seen = places.all[HOME].node.serving().report().observations.remove(0);
    assert!(seen.reachable && seen.handed.is_some_and(|last| !last.taken), "{seen:?}");
}
