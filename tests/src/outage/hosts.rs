//! The hosts of an outage: two simulated providers, each with its fate, and a node that runs the binary's own code.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::anyhow;
use meridian_config::Source;
use meridian_control_client::{Published, Serving, Source as Origin};
use meridian_host::Host;
use meridian_lifecycle::shutdown;
use meridian_proto::accounts::Accounts;
use meridian_proto::content::Content;
use meridian_sim::{Match, Rule, Simulator};
use meridian_testkit::{MemoryFiles, simulated_host};
use meridian_types::{Class, CommitId, Key, KeyHash, Tenant, TenantName, key_text};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};
use turmoil::Sim;

use super::bugs::{self, Bug};
use super::eyes::{Eyes, Look, Remains, Stage};
use super::strike::{Outage, Strike};

pub(super) const PRIMARY: &str = "primary";
pub(super) const FALLBACK: &str = "fallback";
pub(super) const NODE: &str = "node";
pub(super) const NODE_PORT: u16 = 8080;
const PROVIDER_PORT: u16 = 4010;

/// The providers' own name of the model.
pub(super) const MODEL: &str = "gpt-4o";
/// Of an answer: a stream takes longer than a client that leaves it needs to be noticed.
pub(super) const TOKENS: u32 = 16;
const FIRST_TOKEN: Duration = Duration::from_millis(60);
const GAP: Duration = Duration::from_millis(20);
/// Requests that the simulated provider remembers: nobody asks for them.
const REMEMBERED: usize = 0;

/// Between two looks at the node.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The node has room for everybody: who is turned away is the providers' affair.
const MAX_IN_FLIGHT: u32 = 1000;
const GRACE: Duration = Duration::from_secs(1);
/// After a node has stopped, for its connections' tasks to see that nobody needs them.
const CLOSING: Duration = Duration::from_secs(2);
/// What a node with the bug gets a new configuration after.
const NEW_CONFIGURATION: Duration = Duration::from_millis(500);

/// Adds the providers and the node.
pub(super) fn add(sim: &mut Sim<'_>, seed: u64, outage: &Outage, eyes: &Eyes) {
    for (n, (name, strike)) in (1..).zip([(PRIMARY, Some(outage.primary)), (FALLBACK, outage.fallback)]) {
        let eyes = eyes.clone();
        sim.host(name, move || {
            let eyes = eyes.clone();
            async move { provider(name, seed ^ n, strike, &eyes).await.map_err(Into::into) }
        });
    }
    let (eyes, outage) = (eyes.clone(), outage.clone());
    sim.host(NODE, move || {
        let (eyes, outage) = (eyes.clone(), outage.clone());
        async move { node(seed, &outage, eyes).await.map_err(Into::into) }
    });
}

async fn provider(name: &str, seed: u64, strike: Option<Strike>, eyes: &Eyes) -> anyhow::Result<()> {
    let host = simulated_host(seed, Arc::new(MemoryFiles::default()));
    let options = meridian_sim::Options {
        tokens: TOKENS,
        first_token: FIRST_TOKEN,
        gap: GAP,
        seed,
        log_entries: REMEMBERED,
        ..meridian_sim::Options::default()
    };
    let simulator = Simulator::new(options, host.clock.clone());
    let door = watch::Sender::new(true);
    let fate = async {
        match strike {
            Some(strike) => suffer(name, &strike, &simulator, &door, eyes).await,
            None => Ok(()),
        }
    };
    tokio::try_join!(serve(&host, &simulator, door.subscribe()), fate).map(drop)
}

/// Takes connections while the door is open; when it closes, those that are there break.
async fn serve(host: &Host, simulator: &Simulator, mut door: watch::Receiver<bool>) -> anyhow::Result<()> {
    loop {
        door.wait_for(|open| *open).await.map(drop)?;
        let listener = host.net.listen(any(PROVIDER_PORT)).await?;
        let (trigger, stop) = shutdown();
        let serving = simulator.serve(listener, stop);
        tokio::pin!(serving);
        let closed = async { door.wait_for(|open| !*open).await.map(drop) };
        tokio::select! {
            served = &mut serving => return Ok(served?),
            closed = closed => closed?,
        }
        trigger.force();
        serving.await?;
    }
}

async fn suffer(
    name: &str,
    strike: &Strike,
    simulator: &Simulator,
    door: &watch::Sender<bool>,
    eyes: &Eyes,
) -> anyhow::Result<()> {
    let rule = strike.kind.fault().map(|fault| Rule {
        name: "outage".to_owned(),
        matches: Match::default(),
        fault,
        count: None,
        probability: (strike.percent < 100).then(|| f64::from(strike.percent) / 100.0),
    });
    let start = tokio::time::Instant::now();
    for struck in strike.struck() {
        sleep_until(start + struck.start).await;
        eyes.say(&format!("{name} begins: {:?}", strike.kind));
        match &rule {
            Some(rule) => simulator.rules().put(rule.clone())?,
            None => drop(door.send_replace(false)),
        }
        sleep_until(start + struck.end).await;
        eyes.say(&format!("{name} ends: {:?}", strike.kind));
        simulator.rules().clear();
        door.send_replace(true);
    }
    Ok(())
}

async fn node(seed: u64, outage: &Outage, eyes: Eyes) -> anyhow::Result<()> {
    let host = bugs::machine(simulated_host(seed, Arc::new(MemoryFiles::default())), eyes.bug);
    // What `configuration.yaml` names.
    host.files.replace("/credential".as_ref(), b"simulated").await?;
    let options = meridian_node::Options {
        name: NODE.parse()?,
        region: "eu-west".parse()?,
        cell: "main".parse()?,
        build: "simulation".to_owned(),
        http: Some(host.net.listen(any(NODE_PORT)).await?),
        host,
        tls: None,
        probe_scheme: meridian_node::Scheme::HTTP,
        limits: meridian_ingress::Limits::default(),
        peers: None,
        dns: None,
        control: None,
        state_dir: "/state".into(),
        max_in_flight: MAX_IN_FLIGHT,
        public_addresses: Vec::new(),
        egress_address: None,
        witness: None,
        extra_ca: None,
        drain_linger: Duration::ZERO,
        drain_grace: GRACE,
        registry: meridian_telemetry::registry("0", "node"),
    };
    let service = meridian_node::Service::new(options).await?;
    let serving = service.handle().serving();
    serving.accounts(Arc::new(accounts(seed)?));
    publish(serving.as_ref(), outage, eyes.bug, 1)?;
    eyes.enter(Stage::Load);
    let (trigger, stop) = shutdown();
    let stopping = async {
        eyes.reach(Stage::Stopping).await;
        trigger.drain();
        std::future::pending().await
    };
    tokio::select! {
        () = service.run(stop) => {}
        () = stopping => {}
        () = look(serving.as_ref(), &eyes) => {}
        forgot = forget(serving.as_ref(), outage, &eyes) => forgot?,
    }
    let state: Weak<dyn Serving> = Arc::downgrade(&serving);
    drop(serving);
    sleep(CLOSING).await;
    let remains = Remains { tasks: Handle::current().metrics().num_alive_tasks(), held: state.strong_count() > 0 };
    eyes.seen().remains = remains;
    eyes.enter(Stage::Stopped);
    Ok(())
}

/// Reads what the node would tell a control plane, for ever.
async fn look(serving: &dyn Serving, eyes: &Eyes) {
    loop {
        sleep(LOOK_EVERY).await;
        let report = serving.report();
        let asked = |name: &str| {
            let targets = report.targets.iter().filter(|target| target.provider.starts_with(name));
            targets.map(|target| target.attempts).sum()
        };
        let look = Look {
            at: eyes.now(),
            asked: [PRIMARY, FALLBACK].map(asked),
            under_way: report.targets.iter().map(|target| target.in_flight).sum(),
            started: report.requests_started,
            finished: report.requests_finished,
        };
        eyes.seen().looks.push(look);
    }
}

/// Gives the node new configurations that say the same in other names, if that is its bug.
async fn forget(serving: &dyn Serving, outage: &Outage, eyes: &Eyes) -> anyhow::Result<()> {
    let start = tokio::time::Instant::now();
    match eyes.bug {
        Some(Bug::ForgetsAlways) => {}
        Some(Bug::ForgetsAtRecovery) => {
            sleep_until(start + outage.primary.end()).await;
            publish(serving, outage, eyes.bug, 2)?;
            return std::future::pending().await;
        }
        _ => return std::future::pending().await,
    }
    for commit in 2.. {
        sleep(NEW_CONFIGURATION).await;
        publish(serving, outage, eyes.bug, commit)?;
    }
    Ok(())
}

/// Gives the node the configuration; what it has learned of a provider it knows by the provider's name.
fn publish(serving: &dyn Serving, outage: &Outage, bug: Option<Bug>, commit: u64) -> anyhow::Result<()> {
    let [primary, fallback] = outage.codecs;
    let (first, second) = match commit {
        1 => (PRIMARY.to_owned(), FALLBACK.to_owned()),
        _ => (format!("{PRIMARY}-{commit}"), format!("{FALLBACK}-{commit}")),
    };
    let text = include_str!("configuration.yaml")
        .replace("CODEC_OF_PRIMARY", primary)
        .replace("CODEC_OF_FALLBACK", fallback)
        .replace("PRIMARY", &first)
        .replace("FALLBACK", &second);
    let loaded = meridian_config::load(&[Source::new("configuration.yaml", &text)]);
    let content = Content::from_resources(loaded.map_err(|mistakes| anyhow!("{mistakes:?}"))?.resources);
    let mut configuration = content.configuration().map_err(|mistakes| anyhow!("{mistakes:?}"))?;
    if bug == Some(Bug::HasNoFallback) {
        configuration.models.values_mut().for_each(|model| model.tiers.truncate(1));
    }
    let published = Published {
        commit: CommitId(commit),
        digest: content.digest(),
        content: Arc::new(content),
        configuration: Arc::new(configuration),
        source: Origin::Live,
    };
    serving.apply(Arc::new(published)).map_err(|mistakes| anyhow!("{mistakes:?}"))
}

/// What clients call with.
pub(super) fn key(seed: u64) -> String {
    let mut random = [0; 32];
    simulated_host(seed ^ 0x006b_6579, Arc::new(MemoryFiles::default())).entropy.fill(&mut random);
    key_text(random)
}

fn accounts(seed: u64) -> anyhow::Result<Accounts> {
    let name: TenantName = "demo".parse()?;
    let tenant = Tenant {
        name: name.clone(),
        allowed_jurisdictions: Vec::new(),
        allowed_models: Vec::new(),
        class: Class::Default,
    };
    let key = Key {
        hash: KeyHash::of(&key(seed)),
        tenant: name.clone(),
        label: String::new(),
        created_at_unix_ms: 0,
        expires_at_unix_ms: None,
        revoked_at_unix_ms: None,
    };
    Ok(Accounts { tenants: [(name, tenant)].into(), keys: [(key.hash, key)].into() })
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}
