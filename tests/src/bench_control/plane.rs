//! The control plane that is measured, in a process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use meridian_config::Source;
use meridian_control_client::admin;
use meridian_host::Host;
use meridian_lifecycle::shutdown;
use meridian_proto::admin::v1::ApplyRequest;
use meridian_store::embedded::EmbeddedStore;
use meridian_types::RequestId;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// Models of the configuration: a fleet of some size.
const MODELS: u64 = 50;
/// A replica over an empty store is up within a second.
const START: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);
/// Looks at the memory, one after the other, that find no more than the first of them, but for ...
const SETTLED_LOOKS: u32 = 20;
/// ... so much: a third of a KiB for each node. Of a process that works, some pages always come and go.
const SLACK_KIB: u64 = 64;

/// Runs a replica until the process is killed.
///
/// # Errors
/// It cannot start.
pub async fn serve(dir: &Path, port: u16) -> anyhow::Result<()> {
    let host = Host::real();
    let listener = host.net.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    let options = meridian_control::Options {
        replica: "control-1".to_owned(),
        address: format!("127.0.0.1:{port}"),
        cluster: "bench".to_owned(),
        store: Arc::new(EmbeddedStore::open(dir, 1).await.context("open the store")?),
        host,
        listener,
        tls: None,
        plaintext: meridian_control::Plaintext::Loopback,
        codecs: meridian_providers::names().into_iter().map(str::to_owned).collect(),
    };
    let service = meridian_control::Service::new(options, &mut meridian_telemetry::registry("0", "control"))?;
    let (_trigger, stop) = shutdown();
    Ok(service.run(stop).await?)
}

/// The process, and the way to it.
pub(super) struct Plane {
    pub(super) address: String,
    pub(super) admin: admin::Client,
    host: Host,
    port: u16,
    dir: tempfile::TempDir,
    child: Child,
}

impl Plane {
    pub(super) async fn start(host: &Host) -> anyhow::Result<Self> {
        let free = host.net.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let port = free.local_addr()?.port();
        drop(free);
        let dir = tempfile::tempdir()?;
        let (child, address) = (spawn(dir.path(), port)?, format!("127.0.0.1:{port}"));
        let admin = connect(host, &address).await?;
        Ok(Self { address, admin, host: host.clone(), port, dir, child })
    }

    /// As a crash does it: nobody is told.
    pub(super) async fn restart(&mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        self.child = spawn(self.dir.path(), self.port)?;
        self.admin = connect(&self.host, &self.address).await?;
        Ok(())
    }

    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    pub(super) fn request_id(&self) -> String {
        let mut random = [0; 16];
        self.host.entropy.fill(&mut random);
        RequestId::from_random(random).to_string()
    }

    /// Makes a commit that changes one model of many.
    pub(super) async fn apply(&mut self, expected_commit: u64) -> anyhow::Result<()> {
        let text = configuration(expected_commit);
        let loaded = meridian_config::load(&[Source::new("bench.yaml", &text)]);
        let upserts = loaded.map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?.resources;
        let request = ApplyRequest { request_id: self.request_id(), expected_commit, upserts, ..Default::default() };
        let answer = self.admin.apply(request).await.context("apply")?.into_inner();
        ensure!(answer.mistakes.is_empty() && answer.commit == expected_commit + 1, "refused: {answer:?}");
        Ok(())
    }

    /// Resident memory, once it has stopped growing.
    pub(super) async fn settled_kib(&self) -> anyhow::Result<u64> {
        let end = Instant::now() + START;
        let (mut held, mut same): (u64, u32) = (0, 0);
        while same < SETTLED_LOOKS {
            ensure!(Instant::now() < end, "the memory of the control plane grows and grows");
            sleep(LOOK).await;
            let now = self.resident_kib().await?;
            (held, same) = if now <= held + SLACK_KIB { (held, same + 1) } else { (now, 0) };
        }
        Ok(held)
    }

    /// Resident memory.
    pub(super) async fn resident_kib(&self) -> anyhow::Result<u64> {
        let id = self.child.id().context("the control plane is gone")?;
        let status = tokio::fs::read_to_string(format!("/proc/{id}/status")).await?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

fn spawn(dir: &Path, port: u16) -> anyhow::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--serve").arg(dir).arg("--port").arg(port.to_string());
    Ok(command.stdin(Stdio::null()).kill_on_drop(true).spawn()?)
}

async fn connect(host: &Host, address: &str) -> anyhow::Result<admin::Client> {
    let began = Instant::now();
    loop {
        let ready = async {
            let mut client = admin::connect(address, None, host).await?;
            let request =
                meridian_proto::admin::v1::GetResourcesRequest { kind: "Region".to_owned(), name: String::new() };
            client.get_resources(request).await?;
            anyhow::Ok(client)
        };
        match ready.await {
            Ok(client) => return Ok(client),
            Err(error) if began.elapsed() > START => return Err(error).context("the control plane does not answer"),
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// Three regions, a provider, and models of which the first differs with `version`.
fn configuration(version: u64) -> String {
    let region = |(name, longitude): (&str, i32)| {
        format!(
            "kind: Region\nname: {name}\ncoordinates: {{latitude: 40, longitude: {longitude}}}\njurisdiction: US\n---\n"
        )
    };
    let model = |number: u64| {
        let weight = if number == 0 { 1 + version % 100 } else { 100 };
        format!(
            "kind: Model\nname: model-{number}\ntiers: [{{targets: [{{provider: acme, model: m, weight: {weight}}}]}}]\n---\n"
        )
    };
    let regions: String = [("us", -100), ("eu", 0), ("ap", 100)].into_iter().map(region).collect();
    let provider = "kind: Provider\nname: acme\ncodec: openai_compatible\nbase_url: https://api.example.com/v1\njurisdiction: US\n---\n";
    let models: String = (0..MODELS).map(model).collect();
    format!("{regions}{provider}{models}kind: Tenant\nname: acme\n")
}
