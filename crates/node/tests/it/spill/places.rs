//! Nodes of three regions with mutual TLS between them, each with two providers of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use meridian_control_client::Peer;
use meridian_host::Host;
use meridian_identity::{Authority, Identity, PeerTls, Pem, Role, ServerTls};
use meridian_lifecycle::{ShutdownTrigger, shutdown};
use meridian_node::{Handle, PeerListener, Service};
use meridian_sim::{Match, Rule, Simulator};
use meridian_types::region::Coordinates;
use meridian_types::{Configuration, Region};
use serde_json::Value;

use crate::support::{self, KEY, PATIENCE, Setup, Whole, eventually, options, publish, simulator};

/// Name, longitude on the equator, jurisdiction: `near` is the nearest to `home`.
const PLACES: [(&str, f64, &str); 3] = [("home", 0.0, "EU"), ("near", 10.0, "EU"), ("far", 90.0, "US")];

pub(crate) struct Place {
    pub(crate) node: Handle,
    pub(crate) sims: [Simulator; 2],
    pub(crate) trigger: ShutdownTrigger,
    pub(crate) peer: Peer,
}

pub(crate) struct Places {
    pub(crate) authority: Authority,
    pub(crate) all: [Place; 3],
    client: Client<HttpConnector, Full<Bytes>>,
    _dir: tempfile::TempDir,
}

pub(crate) const HOME: usize = 0;
pub(crate) const NEAR: usize = 1;
pub(crate) const FAR: usize = 2;

/// A certificate of `authority` for that process, without any host name, as `meridian pki` issues it.
pub(crate) fn certificate(authority: &Authority, role: Role, region: &str, name: &str) -> Pem {
    let identity = Identity::new(role, Some(region.parse().unwrap()), name).unwrap();
    authority.issue_pem(&identity, &[], Host::real().clock.now_unix_ms()).unwrap()
}

impl Places {
    /// All of them serve and know each other. `max_in_flight` is that of `home`.
    pub(crate) async fn start(setup: Setup) -> Self {
        let authority = Authority::generate("test", Host::real().clock.now_unix_ms()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for (place, ..) in PLACES {
            all.push(Place::start(&authority, place, &setup, dir.path()).await);
        }
        let peers: Vec<Peer> = all.iter().map(|place| place.peer.clone()).collect();
        for place in &all {
            let others = peers.iter().filter(|peer| **peer != place.peer);
            place.node.serving().peers(others.cloned().collect());
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        let places = Self { authority, all: all.try_into().ok().unwrap(), client, _dir: dir };
        places.know_each_other().await;
        places
    }

    async fn know_each_other(&self) {
        for place in &self.all {
            let sees_all = || {
                let seen = place.node.serving().report().observations;
                seen.len() == PLACES.len() - 1 && seen.iter().all(|seen| seen.reachable)
            };
            eventually("everybody is seen", sees_all).await;
        }
    }

    pub(crate) async fn chat(&self, at: usize, body: Value, headers: &[(&str, &str)]) -> Whole {
        let (head, body) = self.send(at, body, headers).await.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("in time").expect("a whole body");
        Whole { status: head.status, headers: head.headers, body: body.to_bytes() }
    }

    pub(crate) async fn send(
        &self,
        at: usize,
        body: Value,
        headers: &[(&str, &str)],
    ) -> http::Response<hyper::body::Incoming> {
        let url = format!("http://{}/v1/chat/completions", self.all[at].node.http_address().unwrap());
        let mut request = Request::post(url).header("content-type", "application/json");
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {KEY}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.to_string().into())).unwrap();
        tokio::time::timeout(PATIENCE, self.client.request(request)).await.expect("in time").expect("an answer")
    }

    /// Every call of that region's providers fails in this way.
    pub(crate) fn break_region(&self, at: usize, fault: &str) {
        for sim in &self.all[at].sims {
            sim.rules().clear();
            let (name, fault) = ("test".to_owned(), fault.to_owned());
            let rule = Rule { name, matches: Match::default(), fault, count: None, probability: None };
            sim.rules().put(rule).unwrap();
        }
    }

    /// Calls that the region's providers saw.
    pub(crate) fn seen(&self, at: usize) -> Vec<meridian_sim::Seen> {
        self.all[at].sims.iter().flat_map(|sim| sim.requests(0)).filter(|seen| seen.method == "POST").collect()
    }

    /// Where other nodes hand requests over to that one.
    pub(crate) fn peer_address(&self, at: usize) -> String {
        self.all[at].peer.peer_address.clone().unwrap()
    }
}

impl Place {
    async fn start(authority: &Authority, place: &str, setup: &Setup, dir: &std::path::Path) -> Self {
        let host = Host::real();
        let (trigger, seen) = shutdown();
        let (first, a) = simulator(&host, &setup.sim, &seen).await;
        let (second, b) = simulator(&host, &setup.sim, &seen).await;
        let mut options = options(&host, place, &dir.join(place)).await;
        options.region = place.parse().unwrap();
        if place == "home" {
            options.max_in_flight = setup.max_in_flight;
        }
        let listener = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let advertise = listener.local_addr().unwrap().to_string();
        let pem = certificate(authority, Role::Node, place, place);
        let tls = Some((ServerTls::from_pem(&pem).unwrap(), PeerTls::from_pem(&pem).unwrap()));
        options.peers = Some(PeerListener { listener, advertise: advertise.clone(), tls });
        let service = Service::new(options).await.unwrap();
        let node = service.handle();
        node.serving().accounts(Arc::new(support::accounts()));
        publish(&node, 1, configuration(setup, [a, b]));
        tokio::spawn(service.run(seen.child().1));
        let peer = Peer {
            node: place.parse().unwrap(),
            region: place.parse().unwrap(),
            address: node.http_address().unwrap().to_string(),
            peer_address: Some(advertise),
        };
        Self { node, sims: [first, second], trigger, peer }
    }
}

fn configuration(setup: &Setup, addresses: [SocketAddr; 2]) -> Configuration {
    let mut configuration = support::configuration(setup, addresses);
    for (name, longitude, jurisdiction) in PLACES {
        let region = Region {
            name: name.parse().unwrap(),
            coordinates: Coordinates { latitude: 0.0, longitude },
            jurisdiction: jurisdiction.parse().unwrap(),
            weight: 100,
            addresses: Vec::new(),
            overflow_jurisdictions: Vec::new(),
        };
        configuration.regions.insert(region.name.clone(), region);
    }
    configuration
}
