//! A history that is told, not drawn: a region vanishes into a black hole and comes back, another is cut from the
//! control plane and serves on; DNS answers follow.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::client::{chat, key, resolve};
use super::eyes::{Eyes, Stage};
use super::fleet::{PROVIDERS, REGIONS, REPLICAS, nodes_of, numbered};
use super::operator::Operator;

const NAME: &str = "api.meridian.test";
/// Longest that anything here may take to show.
const PATIENCE: Duration = Duration::from_secs(20);
/// A dead region leaves the answers within this time.
const DETECTION: Duration = Duration::from_secs(5);
/// A region that returns ramps up within this time.
const SETTLED: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(250);

/// Tells it.
pub(super) async fn play(seed: u64, eyes: Eyes) -> anyhow::Result<()> {
    let story = Story { operator: Operator::new(seed, eyes.clone()), eyes, key: key(seed) };
    story.operator.configure().await?;
    story.operator.until("the fleet is up", PATIENCE, Operator::together).await?;
    story.everywhere(&REGIONS).await?;
    story.black_hole("eu-west").await?;
    story.cut_from_control("ap-southeast").await?;
    story.operator.until("all came together", PATIENCE * 3, Operator::together).await?;
    story.eyes.enter(Stage::Done);
    Ok(())
}

struct Story {
    operator: Operator,
    eyes: Eyes,
    key: String,
}

impl Story {
    /// Packets to and from the region vanish: no reset tells anyone.
    async fn black_hole(&self, gone: &str) -> anyhow::Result<()> {
        let others: Vec<_> = REGIONS.into_iter().filter(|region| *region != gone).collect();
        let far = PROVIDERS.into_iter().chain(["operator"]).map(str::to_owned);
        let hosts: Vec<String> =
            others.iter().flat_map(|region| nodes_of(region)).chain(controls()).chain(far).collect();
        let links = || nodes_of(gone).into_iter().flat_map(|node| hosts.iter().map(move |host| (node.clone(), host)));
        self.eyes.say(&format!("black hole around {gone}"));
        links().for_each(|(node, host)| turmoil::hold(node.as_str(), host.as_str()));
        for region in &others {
            let what = format!("{region} no longer answers with {gone}");
            self.named(&what, DETECTION, region, &others).await?;
            ensure!(self.serves(region).await, "{region} stopped serving while {gone} was gone");
        }
        links().for_each(|(node, host)| turmoil::release(node.as_str(), host.as_str()));
        self.eyes.say(&format!("{gone} released"));
        self.everywhere(&REGIONS).await?;
        ensure!(self.serves(gone).await, "{gone} is answered with and does not serve");
        Ok(())
    }

    /// A region that serves and only lost control must stay where it is.
    async fn cut_from_control(&self, cut: &str) -> anyhow::Result<()> {
        self.settled().await?;
        let links =
            || nodes_of(cut).into_iter().flat_map(|node| controls().map(move |control| (node.clone(), control)));
        links().for_each(|(node, control)| turmoil::partition(node, control));
        self.eyes.say(&format!("{cut} cut from control"));
        let before = self.weight(cut).await?;
        let start = Instant::now();
        while start.elapsed() < DETECTION * 2 {
            ensure!(self.serves(cut).await, "{cut} stopped serving without control");
            for region in REGIONS {
                let names = self.names(region).await;
                ensure!(
                    names == REGIONS.into_iter().collect(),
                    "{region} dropped a region that only lost control: {names:?}"
                );
            }
            ensure!(self.weight(cut).await? >= before, "{cut} only lost control, and lost weight");
            sleep(POLL).await;
        }
        links().for_each(|(node, control)| turmoil::repair(node, control));
        Ok(())
    }

    /// Returns when no weight moves any more: the region that came back has all of its own again.
    async fn settled(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            let plan = self.operator.fleet(0).await?.plan.unwrap_or_default();
            if plan.regions.iter().all(|region| region.weight == region.target_weight && region.weight > 300) {
                self.eyes.say("no weight moves any more");
                return Ok(());
            }
            ensure!(start.elapsed() < SETTLED, "weights still move: {:?}", plan.regions);
            sleep(POLL).await;
        }
    }

    async fn weight(&self, region: &str) -> anyhow::Result<u32> {
        let fleet = self.operator.fleet(0).await?;
        Ok(fleet.regions.iter().find(|found| found.region == region).map_or(0, |found| found.weight))
    }

    async fn serves(&self, region: &str) -> bool {
        match chat(&self.operator.host, &numbered(region, 0), &self.key, true).await {
            Ok((200, answer)) => answer.contains("data: [DONE]"),
            _ => false,
        }
    }

    /// Every region answers with exactly these.
    async fn everywhere(&self, expected: &[&str]) -> anyhow::Result<()> {
        for region in REGIONS {
            self.named(&format!("{region} answers with {expected:?}"), PATIENCE * 3, region, expected).await?;
        }
        Ok(())
    }

    async fn named(&self, what: &str, limit: Duration, asked: &str, expected: &[&str]) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.names(asked).await != expected.iter().copied().collect() {
            ensure!(start.elapsed() < limit, "not within {limit:?}: {what}");
            sleep(POLL).await;
        }
        self.eyes.say(what);
        Ok(())
    }

    /// The regions whose addresses the authority of the region `asked` answers with; none if it does not answer.
    async fn names(&self, asked: &str) -> BTreeSet<&'static str> {
        let found =
            resolve(&self.operator.host, &numbered(asked, 0), NAME).await.map_or(Vec::new(), |(_, found)| found);
        let is_of = |region: &str, address: &IpAddr| {
            nodes_of(region).iter().any(|node| turmoil::lookup(node.as_str()) == *address)
        };
        REGIONS.into_iter().filter(|region| found.iter().any(|address| is_of(region, address))).collect()
    }
}

fn controls() -> impl Iterator<Item = String> {
    (0..REPLICAS).map(|n| numbered("control", n))
}
