//! One node with two providers, `first` and `second`, each a simulator of its own, and a client.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use meridian_control_client::{Published, Source};
use meridian_host::Host;
use meridian_lifecycle::{Shutdown, ShutdownTrigger, shutdown};
use meridian_node::{Handle, Options, Service};
use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_sim::{Match, Rule, Simulator};
use meridian_types::provider::{Deadlines, Probe, ProbeKind};
use meridian_types::{CommitId, Configuration, Jurisdiction, Key, KeyHash, Model, ModelName, Provider, Tenant, model};
use serde_json::{Value, json};

pub(crate) const KEY: &str = "mrd_test";

/// What nodes connect from.
pub(crate) const EGRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));

/// A test that waits longer than this for anything has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Short, so that tests of silence are quick; a busy machine still meets them.
pub(crate) fn deadlines() -> Deadlines {
    Deadlines {
        connect: Duration::from_millis(1000),
        response_headers: Duration::from_millis(1000),
        first_token: Duration::from_millis(1300),
        idle: Duration::from_millis(1000),
        total: Duration::from_secs(15),
        min_bytes_per_s: 64,
    }
}

/// What differs between tests.
pub(crate) struct Setup {
    /// Codecs of the two providers.
    pub(crate) codecs: [&'static str; 2],
    /// Where the two providers are.
    pub(crate) jurisdictions: [&'static str; 2],
    pub(crate) max_in_flight: u32,
    pub(crate) linger: Duration,
    pub(crate) grace: Duration,
    pub(crate) sim: meridian_sim::Options,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            codecs: ["openai_compatible"; 2],
            jurisdictions: ["US", "EU"],
            max_in_flight: 100,
            linger: Duration::from_millis(100),
            grace: Duration::from_secs(5),
            sim: meridian_sim::Options { tokens: 6, ..meridian_sim::Options::instant() },
        }
    }
}

pub(crate) struct Sandbox {
    pub(crate) sims: [Simulator; 2],
    pub(crate) node: Handle,
    pub(crate) client: Client<HttpConnector, Full<Bytes>>,
    pub(crate) trigger: ShutdownTrigger,
    pub(crate) running: tokio::task::JoinHandle<()>,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

pub(crate) async fn start(setup: Setup) -> Sandbox {
    let sandbox = start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let (sandbox, addresses) = sandbox;
    let configuration = configuration(&setup, addresses);
    publish(&sandbox.node, 1, configuration);
    sandbox
}

pub(crate) fn publish(node: &Handle, commit: u64, configuration: Configuration) {
    let content = Content::default();
    let published = Published {
        commit: CommitId(commit),
        digest: content.digest(),
        content: Arc::new(content),
        configuration: Arc::new(configuration),
        source: Source::Live,
    };
    node.serving().apply(Arc::new(published)).expect("applied");
}

pub(crate) async fn start_without_configuration(
    max_in_flight: u32,
    linger: Duration,
    grace: Duration,
    sim: &meridian_sim::Options,
) -> (Sandbox, [SocketAddr; 2]) {
    let adjust = |options: &mut Options| {
        options.max_in_flight = max_in_flight;
        options.drain_linger = linger;
        options.drain_grace = grace;
    };
    start_adjusted(adjust, sim).await
}

/// Without configuration too.
pub(crate) async fn start_adjusted(
    adjust: impl FnOnce(&mut Options),
    sim: &meridian_sim::Options,
) -> (Sandbox, [SocketAddr; 2]) {
    let host = Host::real();
    let (trigger, seen) = shutdown();
    let (first, a) = simulator(&host, sim, &seen).await;
    let (second, b) = simulator(&host, sim, &seen).await;
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(&host, "n1", dir.path()).await;
    adjust(&mut options);
    let service = Service::new(options).await.unwrap();
    let node = service.handle();
    node.serving().accounts(Arc::new(accounts()));
    // Simulators live until the trigger is forced; the node drains when a test drains it.
    let (node_trigger, node_seen) = seen.child();
    let running = tokio::spawn(service.run(node_seen));
    std::mem::forget(trigger);
    let sandbox = Sandbox {
        sims: [first, second],
        address: node.http_address().unwrap(),
        node,
        client: Client::builder(TokioExecutor::new()).build_http(),
        trigger: node_trigger,
        running,
        _dir: dir,
    };
    (sandbox, [a, b])
}

/// A node on a free port of the loopback.
pub(crate) async fn options(host: &Host, name: &str, state_dir: &std::path::Path) -> Options {
    Options {
        name: name.parse().unwrap(),
        region: "eu-west".parse().unwrap(),
        cell: "main".parse().unwrap(),
        build: "test".to_owned(),
        http: Some(host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap()),
        host: host.clone(),
        tls: None,
        probe_scheme: http::uri::Scheme::HTTP,
        limits: meridian_ingress::Limits::default(),
        peers: None,
        dns: None,
        control: None,
        state_dir: state_dir.to_owned(),
        max_in_flight: 100,
        public_addresses: Vec::new(),
        // Tests see by it who connects.
        egress_address: Some(EGRESS),
        witness: None,
        extra_ca: None,
        drain_linger: Duration::ZERO,
        drain_grace: Duration::from_secs(1),
        registry: prometheus_client::registry::Registry::default(),
    }
}

pub(crate) async fn simulator(
    host: &Host,
    options: &meridian_sim::Options,
    seen: &Shutdown,
) -> (Simulator, SocketAddr) {
    let simulator = Simulator::new(options.clone(), host.clock.clone());
    let listener = host.net.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (serving, seen) = (simulator.clone(), seen.clone());
    tokio::spawn(async move { serving.serve(listener, seen).await });
    (simulator, address)
}

pub(crate) fn accounts() -> Accounts {
    let mut accounts = Accounts::default();
    for (key, tenant, places, models) in
        [(KEY, "acme", &[][..], &[][..]), ("mrd_eu", "europa", &["EU"][..], &["chat"][..])]
    {
        let name: meridian_types::TenantName = tenant.parse().unwrap();
        let tenant = Tenant {
            name: name.clone(),
            allowed_jurisdictions: places.iter().map(|place| Jurisdiction::new(place).unwrap()).collect(),
            allowed_models: models.iter().map(|model| ModelName::new(model).unwrap()).collect(),
            class: meridian_types::Class::Default,
        };
        let key = Key {
            hash: KeyHash::of(key),
            tenant: name.clone(),
            label: String::new(),
            created_at_unix_ms: 0,
            expires_at_unix_ms: None,
            revoked_at_unix_ms: None,
        };
        accounts.tenants.insert(name, tenant);
        accounts.keys.insert(key.hash, key);
    }
    accounts
}

/// `chat` is served by `first` and then by `second`; `only` by `first` alone.
pub(crate) fn configuration(setup: &Setup, addresses: [SocketAddr; 2]) -> Configuration {
    let mut configuration = Configuration::default();
    let names = ["first", "second"];
    for (i, name) in names.into_iter().enumerate() {
        let provider = Provider {
            name: name.parse().unwrap(),
            codec: setup.codecs[i].to_owned(),
            base_url: format!("http://{}/v1", addresses[i]),
            credential: Some(credential(i)),
            jurisdiction: setup.jurisdictions[i].parse().unwrap(),
            max_in_flight: 50,
            deadlines: deadlines(),
            probe: None,
            token_limit: None,
        };
        configuration.providers.insert(provider.name.clone(), provider);
    }
    for (model, tiers) in [("chat", &names[..]), ("only", &names[..1])] {
        let target = |name: &&str| {
            vec![model::Target {
                provider: name.parse().unwrap(),
                model: format!("up-{name}").parse().unwrap(),
                weight: 100,
                price: None,
                prefill: None,
            }]
        };
        let model = Model {
            name: model.parse().unwrap(),
            tiers: tiers.iter().map(target).collect(),
            fallbacks: Vec::new(),
            policy: model::Policy::default(),
        };
        configuration.models.insert(model.name.clone(), model);
    }
    assert!(configuration.check().is_empty());
    configuration
}

/// Probes as often as they can be, not only when they are needed.
pub(crate) fn every_second(kind: ProbeKind) -> Option<Probe> {
    Some(Probe { interval: Duration::from_secs(1), kind })
}

/// A variable that every process has and that is a valid header.
fn credential(_: usize) -> meridian_types::provider::CredentialRef {
    meridian_types::provider::CredentialRef::Env("CARGO_PKG_NAME".to_owned())
}

pub(crate) struct Whole {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Whole {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `error.code`.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) fn ask(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "hello there"}]})
}

pub(crate) fn ask_streamed(model: &str) -> Value {
    let mut body = ask(model);
    body["stream"] = true.into();
    body
}

impl Sandbox {
    /// Makes every request to one provider fail in this way.
    pub(crate) fn break_provider(&self, which: usize, fault: &str) {
        self.sims[which].rules().clear();
        let rule = Rule {
            name: "test".to_owned(),
            matches: Match::default(),
            fault: fault.to_owned(),
            count: None,
            probability: None,
        };
        self.sims[which].rules().put(rule).unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn request(&self, body: &Value) -> http::request::Builder {
        let _ = body;
        Request::post(self.url("/v1/chat/completions"))
            .header("authorization", format!("Bearer {KEY}"))
            .header("content-type", "application/json")
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        tokio::time::timeout(PATIENCE, self.client.request(request)).await.expect("in time").expect("an answer")
    }

    pub(crate) async fn whole(&self, request: Request<Full<Bytes>>) -> Whole {
        let (head, body) = self.send(request).await.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("in time").expect("a whole body");
        Whole { status: head.status, headers: head.headers, body: body.to_bytes() }
    }

    pub(crate) async fn chat(&self, body: Value) -> Whole {
        let request = self.request(&body).body(Full::new(body.to_string().into())).unwrap();
        self.whole(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Whole {
        let request = Request::get(self.url(path)).header("authorization", format!("Bearer {KEY}"));
        self.whole(request.body(Full::default()).unwrap()).await
    }

    pub(crate) async fn stream(&self, body: Value) -> Response<Incoming> {
        let request = self.request(&body).body(Full::new(body.to_string().into())).unwrap();
        self.send(request).await
    }

    /// Chat requests that one simulator saw.
    pub(crate) fn seen(&self, which: usize) -> Vec<meridian_sim::Seen> {
        self.sims[which].requests(0)
    }
}

/// The data of each event of a stream.
pub(crate) fn events(body: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(body).expect("UTF-8");
    assert!(text.is_empty() || text.ends_with("\n\n"), "the last event is whole: {text:?}");
    text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(str::to_owned).collect()
}

/// The text of a stream's deltas.
pub(crate) fn text_of(events: &[String]) -> String {
    let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    chunks.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Values of one metric by label set, from OpenMetrics text.
pub(crate) fn metric(text: &str, name: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines
        .filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            Some((key.strip_prefix(name)?.to_owned(), value.parse().ok()?))
        })
        .collect()
}
