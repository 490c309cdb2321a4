//! What happens to the simulated fleet, and what must hold.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use meridian_config::Source;
use meridian_control_client::admin;
use meridian_host::Host;
use meridian_proto::admin::v1::{ApplyRequest, CreateKeyRequest, Fleet, GetFleetRequest};
use meridian_testkit::{EventLog, MemoryFiles, simulated_host};
use meridian_types::{KeyHash, RequestId, key_text};
use tokio::time::{Instant, sleep};

use super::client::{chat, resolve};
use super::fleet::{CONTROL_PORT, REGIONS};

const CONFIGURATION: &str = include_str!("configuration.yaml");
const NAME: &str = "api.meridian.test";
/// Longest that anything here may take to show.
const PATIENCE: Duration = Duration::from_secs(20);
/// A dead region leaves the answers within this time.
const DETECTION: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

struct Operator<'a> {
    host: Host,
    log: &'a EventLog,
    key: String,
}

pub(super) async fn play(seed: u64, log: &EventLog) -> anyhow::Result<()> {
    let host = simulated_host(seed ^ 0x00c1_1e47, Arc::new(MemoryFiles::default()));
    let mut random = [0; 32];
    host.entropy.fill(&mut random);
    let operator = Operator { host, log, key: key_text(random) };
    operator.configure().await?;
    operator.comes_up().await?;
    operator.black_hole("eu-west").await?;
    operator.cut_from_control("ap-southeast").await?;
    operator.control_restarts_nothing().await
}

impl Operator<'_> {
    fn say(&self, line: &str) {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        self.log.push(format!("{:>9.3} {line}", elapsed.as_secs_f64()));
    }

    async fn client(&self) -> anyhow::Result<admin::Client> {
        let endpoint = format!("control:{CONTROL_PORT}");
        let start = Instant::now();
        loop {
            match admin::connect(&endpoint, None, &self.host).await {
                Ok(client) => return Ok(client),
                Err(error) if start.elapsed() > PATIENCE => return Err(error).context("connect to control"),
                Err(_) => sleep(POLL).await,
            }
        }
    }

    fn request_id(&self) -> String {
        let mut random = [0; 16];
        self.host.entropy.fill(&mut random);
        RequestId::from_random(random).to_string()
    }

    async fn configure(&self) -> anyhow::Result<()> {
        let mut client = self.client().await?;
        let loaded = meridian_config::load(&[Source::new("configuration.yaml", CONFIGURATION)]);
        let loaded = loaded.map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
        let request = ApplyRequest { request_id: self.request_id(), upserts: loaded.resources, ..Default::default() };
        let start = Instant::now();
        let answer = loop {
            match client.apply(request.clone()).await {
                Ok(answer) => break answer.into_inner(),
                Err(status) if start.elapsed() > PATIENCE => return Err(status).context("apply"),
                Err(_) => sleep(POLL).await,
            }
        };
        ensure!(answer.mistakes.is_empty(), "refused: {:?}", answer.mistakes);
        let hash = KeyHash::of(&self.key).0.as_bytes().to_vec().into();
        let key =
            CreateKeyRequest { request_id: self.request_id(), tenant: "demo".to_owned(), hash, ..Default::default() };
        client.create_key(key).await.context("create the key")?;
        self.say(&format!("commit {} applied", answer.commit));
        Ok(())
    }

    async fn comes_up(&self) -> anyhow::Result<()> {
        for region in REGIONS {
            self.until(&format!("{region} serves"), PATIENCE, || self.serves(region)).await?;
            self.until(&format!("{region} answers with every region"), PATIENCE, || self.names(region, &REGIONS))
                .await?;
        }
        self.say_fleet().await
    }

    /// Packets to and from the region vanish: no reset tells anyone.
    async fn black_hole(&self, gone: &str) -> anyhow::Result<()> {
        let others: Vec<_> = REGIONS.into_iter().filter(|region| *region != gone).collect();
        let rest = ["control", "operator", "provider"];
        let everyone = || rest.into_iter().chain(others.iter().copied());
        self.say(&format!("black hole around {gone}"));
        everyone().for_each(|other| turmoil::hold(gone, other));
        for region in &others {
            let what = format!("{region} no longer answers with {gone}");
            self.until(&what, DETECTION, || self.names(region, &others)).await?;
            ensure!(self.serves(region).await, "{region} stopped serving while {gone} was gone");
        }
        self.say_fleet().await?;
        everyone().for_each(|other| turmoil::release(gone, other));
        self.say(&format!("{gone} released"));
        for region in REGIONS {
            let what = format!("{region} answers with every region again");
            self.until(&what, PATIENCE * 3, || self.names(region, &REGIONS)).await?;
        }
        self.until(&format!("{gone} serves again"), PATIENCE, || self.serves(gone)).await
    }

    /// A node that serves and only lost control must stay where it is.
    async fn cut_from_control(&self, cut: &str) -> anyhow::Result<()> {
        turmoil::partition(cut, "control");
        self.say(&format!("{cut} cut from control"));
        let start = Instant::now();
        while start.elapsed() < DETECTION * 2 {
            ensure!(self.serves(cut).await, "{cut} stopped serving without control");
            for region in REGIONS {
                ensure!(self.names(region, &REGIONS).await, "{region} dropped a region that only lost control");
            }
            sleep(POLL * 5).await;
        }
        self.say_fleet().await?;
        turmoil::repair(cut, "control");
        self.until(&format!("{cut} is in touch again"), PATIENCE, || async {
            self.fleet().await.is_ok_and(|fleet| {
                fleet.nodes.iter().all(|node| (0..1500).contains(&node.last_pulse_age_ms) && node.digest_matches)
            })
        })
        .await
    }

    async fn control_restarts_nothing(&self) -> anyhow::Result<()> {
        let before = self.fleet().await?.plan.context("no plan")?;
        ensure!(before.regions.iter().map(|region| region.weight).sum::<u32>() == 1000, "weights do not add up");
        self.say(&format!("ends with plan {}.{}", before.epoch, before.number));
        Ok(())
    }

    async fn serves(&self, region: &str) -> bool {
        match chat(&self.host, region, &self.key, true).await {
            Ok((200, answer)) => answer.contains("data: [DONE]"),
            _ => false,
        }
    }

    /// Whether the authority on `asked` answers with exactly the addresses of `expected`.
    async fn names(&self, asked: &str, expected: &[&str]) -> bool {
        let mut expected: Vec<IpAddr> = expected.iter().map(|region| turmoil::lookup(*region)).collect();
        expected.sort();
        match resolve(&self.host, asked, NAME).await {
            Ok(mut found) => {
                found.sort();
                found == expected
            }
            Err(_) => false,
        }
    }

    async fn fleet(&self) -> anyhow::Result<Fleet> {
        Ok(self.client().await?.get_fleet(GetFleetRequest {}).await?.into_inner())
    }

    async fn say_fleet(&self) -> anyhow::Result<()> {
        for region in self.fleet().await?.regions {
            self.say(&format!("  {} weight {}: {}", region.region, region.weight, region.reason));
        }
        Ok(())
    }

    async fn until<F: Future<Output = bool>>(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut() -> F,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        while !condition().await {
            ensure!(start.elapsed() < limit, "not within {limit:?}: {what}");
            sleep(POLL).await;
        }
        self.say(what);
        Ok(())
    }
}
