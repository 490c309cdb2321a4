//! The operator of a storm: configures, commits all the time, restores the backup, and looks whether all came together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use meridian_config::Source;
use meridian_control::backup;
use meridian_control_client::{Published, admin};
use meridian_host::Host;
use meridian_proto::admin::v1::{ApplyRequest, ApplyResponse, CreateKeyRequest, Fleet, GetFleetRequest, RolloutPolicy};
use meridian_proto::content::Content;
use meridian_proto::fleet::v1::RegionState;
use meridian_proto::resources::v1::Resource;
use meridian_testkit::{MemoryFiles, simulated_host};
use meridian_types::{KeyHash, RequestId};
use tokio::time::{Instant, sleep, timeout};

use super::client::{DEMO, key_of};
use super::eyes::{Eyes, Stage};
use super::fences::FENCED;
use super::fleet::{CLUSTER, REPLICAS, UNKNOWN_CODEC, control, nodes, store};
use super::rollouts;

const CONFIGURATION: &str = include_str!("configuration.yaml");
const POLL: Duration = Duration::from_millis(50);
/// Longest that anything may take once there is no fault any more: leases, backoffs (30 s) and ramps.
const PATIENCE: Duration = Duration::from_secs(90);
/// Longest wait for one call.
pub(super) const CALL: Duration = Duration::from_secs(4);
/// Between two things that the operator does in a storm.
const ACT_EVERY: Duration = Duration::from_secs(3);
/// A cell runs the commit that ends a storm this long before the next one gets it.
const LAST_BAKE: Duration = Duration::from_millis(500);
/// A node that serves what it should not is shown within this time.
const SHOWN: Duration = Duration::from_secs(1);

/// Works with the admin API, as people do.
pub(super) struct Operator {
    pub(super) host: Host,
    pub(super) eyes: Eyes,
    seed: u64,
    pub(super) commits: u64,
    pub(super) refused: u64,
}

/// Plays the operator's part until the end.
pub(super) async fn play(seed: u64, eyes: Eyes) -> anyhow::Result<()> {
    let mut operator = Operator::new(seed, eyes);
    operator.configure().await?;
    operator.until("the fleet is up", PATIENCE, Operator::together).await?;
    let store = store(0).await?;
    let (file, keys) = backup::take(&store, CLUSTER, &*operator.host.clock).await.context("take a backup")?;
    operator.eyes.say(&format!("backup of {keys} keys"));
    operator.eyes.enter(Stage::Storm);
    while operator.eyes.stage() == Stage::Storm {
        operator.act().await;
        sleep(ACT_EVERY).await;
    }
    if operator.eyes.stage() == Stage::Restoring {
        operator.restore(&store, &file).await?;
        operator.eyes.enter(Stage::Healed);
    }
    operator.heal().await?;
    operator.until("all came together", PATIENCE, Operator::together).await?;
    operator.divergence_is_shown().await?;
    operator.eyes.say(&format!("{} changes, {} attempts refused", operator.commits, operator.refused));
    operator.eyes.enter(Stage::Done);
    Ok(())
}

impl Operator {
    pub(super) fn new(seed: u64, eyes: Eyes) -> Self {
        let host = simulated_host(seed ^ 0x0b, Arc::new(MemoryFiles::default()));
        Self { host, eyes, seed, commits: 0, refused: 0 }
    }

    pub(super) async fn client(&self, replica: usize) -> anyhow::Result<admin::Client> {
        Ok(timeout(CALL, admin::connect(&control(replica), None, &self.host)).await??)
    }

    pub(super) async fn fleet(&self, replica: usize) -> anyhow::Result<Fleet> {
        let mut client = self.client(replica).await?;
        Ok(timeout(CALL, client.get_fleet(GetFleetRequest {})).await??.into_inner())
    }

    pub(super) fn request_id(&self) -> String {
        let mut random = [0; 16];
        self.host.entropy.fill(&mut random);
        RequestId::from_random(random).to_string()
    }

    /// Does something through the first replica that takes it.
    pub(super) async fn anywhere<T>(&self, attempt: impl AsyncFn(usize) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let mut last = anyhow::anyhow!("no replica");
        for replica in 0..REPLICAS {
            match attempt(replica).await {
                Ok(done) => return Ok(done),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Makes a commit that comes to the cells as `rollout` says.
    pub(super) async fn apply(&self, upserts: &[Resource], rollout: RolloutPolicy) -> anyhow::Result<ApplyResponse> {
        let attempt = async |replica| {
            let request = ApplyRequest {
                request_id: self.request_id(),
                expected_commit: self.fleet(replica).await?.head_commit,
                upserts: upserts.to_vec(),
                rollout: Some(rollout),
                ..Default::default()
            };
            let mut client = self.client(replica).await?;
            let answer = timeout(CALL, client.apply(request)).await??.into_inner();
            ensure!(answer.mistakes.is_empty(), "refused: {:?}", answer.mistakes);
            Ok(answer)
        };
        self.anywhere(attempt).await
    }

    pub(super) async fn configure(&self) -> anyhow::Result<()> {
        let resources = resources(CONFIGURATION)?;
        let start = Instant::now();
        let commit = loop {
            match self.apply(&resources, rollouts::everywhere()).await {
                Ok(answer) => break answer.commit,
                Err(error) if start.elapsed() > PATIENCE => return Err(error).context("apply"),
                Err(_) => sleep(POLL).await,
            }
        };
        for tenant in [DEMO, FENCED] {
            let hash = KeyHash::of(&key_of(self.seed, tenant)).0.as_bytes().to_vec().into();
            let (request_id, tenant) = (self.request_id(), tenant.to_owned());
            let request = CreateKeyRequest { request_id, tenant, hash, ..Default::default() };
            // One request id: whatever became of an attempt, there will be one key.
            while let Err(error) = self.create_key(request.clone()).await {
                ensure!(start.elapsed() < PATIENCE, "create the key: {error:#}");
                sleep(POLL).await;
            }
        }
        self.eyes.say(&format!("commit {commit} applied"));
        Ok(())
    }

    async fn create_key(&self, request: CreateKeyRequest) -> anyhow::Result<()> {
        let mut client = self.client(0).await?;
        timeout(CALL, client.create_key(request)).await??;
        Ok(())
    }

    /// One more commit; a poisoned one if that is due. Says what came of it.
    pub(super) async fn commit(&self, rollout: RolloutPolicy) -> anyhow::Result<String> {
        let codec = if self.eyes.take_poison() { UNKNOWN_CODEC } else { "openai_compatible" };
        let number = self.commits + self.refused;
        let answer = self.apply(&resources(&extra(codec, number))?, rollout).await?;
        Ok(format!("commit {} applied, codec {codec}, {}", answer.commit, answer.rollout_reason))
    }

    /// With every replica gone: waits for their leases, then puts the backup back.
    async fn restore(&self, store: &dyn meridian_store::Store, file: &[u8]) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            match backup::restore(store, CLUSTER, file, true).await {
                Ok(restored) => {
                    self.eyes.say(&format!("restored {} keys, epoch {}", restored.keys, restored.epoch));
                    return Ok(());
                }
                Err(error) if start.elapsed() > PATIENCE => return Err(error).context("restore"),
                Err(_) => sleep(POLL * 20).await,
            }
        }
    }

    /// After the storm a good commit gets through.
    async fn heal(&mut self) -> anyhow::Result<()> {
        // A storm that let no commit through leaves no poison for those that come after it.
        self.eyes.take_poison();
        let start = Instant::now();
        let upserts = resources(&extra("openai_compatible", u64::MAX))?;
        loop {
            match self.apply(&upserts, rollouts::cell_by_cell(LAST_BAKE)).await {
                Ok(answer) => {
                    self.eyes.say(&format!("commit {} applied after {:.1?}", answer.commit, start.elapsed()));
                    return Ok(());
                }
                Err(error) if start.elapsed() > PATIENCE => return Err(error).context("apply after the storm"),
                Err(_) => sleep(POLL * 10).await,
            }
        }
    }

    /// What is missing until every replica and every node agree with the store and with each other.
    pub(super) async fn together(&self) -> anyhow::Result<()> {
        let mut heads = BTreeSet::new();
        for replica in 0..REPLICAS {
            let fleet = self.fleet(replica).await.with_context(|| format!("control-{}", replica + 1))?;
            let told = |what: &str| format!("control-{} says {what}", replica + 1);
            ensure!(fleet.read_only.is_empty(), told(&format!("read-only: {}", fleet.read_only)));
            ensure!(!fleet.leader.is_empty(), told("there is no leader"));
            let plan = fleet.plan.context("no plan")?;
            heads.insert((fleet.head_commit, plan.epoch, plan.number));
            for region in &fleet.regions {
                let state = region.state();
                ensure!(
                    state == RegionState::Serving,
                    told(&format!("{} is {state:?}: {}", region.region, region.evidence))
                );
            }
            ensure!(fleet.nodes.len() == nodes().len(), told(&format!("{} nodes", fleet.nodes.len())));
            for node in &fleet.nodes {
                ensure!(node.divergences.is_empty(), told(&format!("{}: {:?}", node.node, node.divergences)));
                ensure!((0..1500).contains(&node.last_pulse_age_ms), told(&format!("{} is silent", node.node)));
            }
        }
        ensure!(heads.len() == 1, "replicas differ: {heads:?}");
        let running = self.eyes.nodes();
        ensure!(running.len() == nodes().len(), "{} nodes run", running.len());
        let mut first = None;
        for (name, node) in running {
            let served = node.handle.serving().vitals().served;
            let first = *first.get_or_insert(served);
            ensure!(served.is_some() && served == first, "{name} serves {served:?}, another {first:?}");
            ensure!(
                served.is_some_and(|served| heads.iter().all(|(head, ..)| *head == served.commit.0)),
                "{name} lags"
            );
        }
        Ok(())
    }

    /// A node that serves something else under its commit's name is shown at once, and put right by the next commit.
    async fn divergence_is_shown(&mut self) -> anyhow::Result<()> {
        let nodes = self.eyes.nodes();
        let index = usize::try_from(self.seed).unwrap_or_default() % nodes.len();
        let Some((name, node)) = nodes.into_iter().nth(index) else { bail!("no node") };
        let served = node.handle.serving().vitals().served.context("it serves nothing")?;
        let content = Content::from_resources(resources(CONFIGURATION)?);
        let configuration = content.configuration().map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
        let tampered = Published {
            commit: served.commit,
            digest: served.digest,
            content: Arc::new(content),
            configuration: Arc::new(configuration),
            source: meridian_control_client::Source::Live,
        };
        node.handle.serving().apply(Arc::new(tampered)).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?;
        let start = Instant::now();
        loop {
            let mut telling = 0;
            for replica in 0..REPLICAS {
                let fleet = self.fleet(replica).await?;
                telling +=
                    usize::from(fleet.nodes.iter().any(|seen| seen.node == name && !seen.divergences.is_empty()));
            }
            if telling == REPLICAS {
                break;
            }
            if start.elapsed() > SHOWN {
                self.eyes.broken(format!("{name} serves what it should not, and only {telling} replicas say so"));
                break;
            }
        }
        self.eyes.say(&format!("the divergence of {name} was shown after {:.3?}", start.elapsed()));
        let put_right = self.commit(rollouts::everywhere()).await.context("the next commit")?;
        self.eyes.say(&put_right);
        self.until("the next commit put it right", PATIENCE, Operator::together).await
    }

    pub(super) async fn until<'a, F: Future<Output = anyhow::Result<()>>>(
        &'a self,
        what: &str,
        limit: Duration,
        mut missing: impl FnMut(&'a Self) -> F,
    ) -> anyhow::Result<()> {
        let start = Instant::now();
        while let Err(error) = missing(self).await {
            ensure!(start.elapsed() < limit, "not within {limit:?}: {what}: {error:#}");
            sleep(POLL * 4).await;
        }
        self.eyes.say(&format!("{what} after {:.1?}", start.elapsed()));
        Ok(())
    }
}

/// A provider that no model names: what it says changes the configuration and no request.
fn extra(codec: &str, number: u64) -> String {
    format!(
        "kind: Provider\nname: extra\ncodec: {codec}\nbase_url: http://provider:4010/v{number}\n\
         credential: {{file: /credential}}\njurisdiction: US\n"
    )
}

fn resources(yaml: &str) -> anyhow::Result<Vec<Resource>> {
    let loaded = meridian_config::load(&[Source::new("configuration.yaml", yaml)]);
    Ok(loaded.map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?.resources)
}
