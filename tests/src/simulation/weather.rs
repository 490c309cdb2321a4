//! Makes faults happen: links between hosts, crashes, and the store's own troubles.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use turmoil::Sim;

use super::eyes::{Eyes, Stage};
use super::fleet::{PROVIDERS, REPLICAS, nodes, nodes_of, numbered};
use super::schedule::{Episode, Fault, Schedule};

/// What a slow host's packets take, one way.
const SLOW: Duration = Duration::from_millis(400);
/// What they take when that is over.
const USUAL: Duration = Duration::from_millis(20);
/// Transactions whose answers are lost.
const LOST_REPLIES: usize = 3;

/// How a pair of hosts is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    Held,
    Refused,
    /// From the first of the pair to the second.
    Forth,
}

/// Cuts of pairs of hosts.
type Links = BTreeMap<(String, String), Cut>;

/// Brings on a schedule's faults, and takes them away.
pub(super) struct Weather {
    schedule: Schedule,
    began: Option<Duration>,
    active: BTreeSet<usize>,
    over: BTreeSet<usize>,
    links: Links,
    crashed: BTreeSet<String>,
    slow: BTreeSet<String>,
}

impl Weather {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            began: None,
            active: BTreeSet::new(),
            over: BTreeSet::new(),
            links: Links::new(),
            crashed: BTreeSet::new(),
            slow: BTreeSet::new(),
        }
    }

    /// Faults that are there now.
    pub(super) fn active(&self) -> Vec<&Fault> {
        self.active.iter().filter_map(|n| self.schedule.episodes.get(*n)).map(|episode| &episode.fault).collect()
    }

    /// Moves on to the present. The storm is over when every fault has been and gone.
    pub(super) fn advance(&mut self, sim: &mut Sim<'_>, eyes: &Eyes) {
        let now = eyes.now();
        match eyes.stage() {
            Stage::Storm => {
                let began = *self.began.get_or_insert(now);
                self.storm(sim, eyes, now.saturating_sub(began));
            }
            Stage::Healed if !self.crashed.is_empty() => self.apply(sim),
            _ => {}
        }
    }

    fn storm(&mut self, sim: &mut Sim<'_>, eyes: &Eyes, elapsed: Duration) {
        let mut changed = false;
        for (n, episode) in self.schedule.episodes.clone().into_iter().enumerate() {
            let is_due = episode.at <= elapsed && !self.over.contains(&n);
            if is_due && self.active.insert(n) {
                eyes.say(&format!("begins: {:?}", episode.fault));
                begin(&episode, eyes);
                changed = true;
            }
            if elapsed >= episode.at + episode.lasts && self.active.remove(&n) {
                eyes.say(&format!("ends: {:?}", episode.fault));
                self.over.insert(n);
                changed = true;
            }
        }
        if changed {
            eyes.surge(self.active().into_iter().find_map(|fault| match fault {
                Fault::Surge(region) => Some(*region),
                _ => None,
            }));
            let no_quorum = self.active().contains(&&Fault::LostQuorum);
            for n in 0..REPLICAS {
                eyes.cluster.isolate(n, no_quorum || self.is_paused(&numbered("etcd", n)));
            }
            self.slow_down(sim);
            self.apply(sim);
        }
        if self.over.len() == self.schedule.episodes.len() {
            if self.schedule.restore {
                let controls = (0..REPLICAS).map(|n| numbered("control", n));
                controls.for_each(|host| {
                    sim.crash(host.as_str());
                    self.crashed.insert(host);
                });
                eyes.enter(Stage::Restoring);
            } else {
                eyes.enter(Stage::Healed);
            }
        }
    }

    fn is_paused(&self, host: &str) -> bool {
        self.active().into_iter().any(|fault| matches!(fault, Fault::Pause(paused) if paused == host))
    }

    fn slow_down(&mut self, sim: &Sim<'_>) {
        let active = self.active();
        let slow = active.into_iter().filter_map(|fault| match fault {
            Fault::Slow(host) => Some(host.clone()),
            _ => None,
        });
        let slow: BTreeSet<String> = slow.collect();
        for host in slow.union(&self.slow) {
            let latency = if slow.contains(host) { SLOW } else { USUAL };
            for other in everyone().iter().filter(|other| *other != host && !slow.contains(*other)) {
                sim.set_link_latency(host.as_str(), other.as_str(), latency);
            }
        }
        self.slow = slow;
    }

    /// Makes links and processes what the active faults say.
    fn apply(&mut self, sim: &mut Sim<'_>) {
        let wanted = self.active().into_iter().fold(Links::new(), |mut links, fault| {
            cut(fault, &mut links);
            links
        });
        for ((a, b), cut) in self.links.iter().filter(|(pair, cut)| wanted.get(*pair) != Some(*cut)) {
            match cut {
                Cut::Held => sim.release(a.as_str(), b.as_str()),
                Cut::Refused => sim.repair(a.as_str(), b.as_str()),
                Cut::Forth => sim.repair_oneway(a.as_str(), b.as_str()),
            }
        }
        for ((a, b), cut) in wanted.iter().filter(|(pair, cut)| self.links.get(*pair) != Some(*cut)) {
            match cut {
                Cut::Held => sim.hold(a.as_str(), b.as_str()),
                Cut::Refused => sim.partition(a.as_str(), b.as_str()),
                Cut::Forth => sim.partition_oneway(a.as_str(), b.as_str()),
            }
        }
        self.links = wanted;
        let down: BTreeSet<String> = self
            .active()
            .into_iter()
            .flat_map(|fault| match fault {
                Fault::Crash(host) => vec![host.clone()],
                Fault::RegionDies(region) => nodes_of(region),
                _ => Vec::new(),
            })
            .collect();
        self.crashed.difference(&down).for_each(|host| sim.bounce(host.as_str()));
        down.difference(&self.crashed).for_each(|host| sim.crash(host.as_str()));
        self.crashed = down;
    }
}

fn begin(episode: &Episode, eyes: &Eyes) {
    match &episode.fault {
        Fault::Compaction => eyes.cluster.compact(),
        Fault::LostReplies => eyes.cluster.lose_replies(LOST_REPLIES),
        Fault::Poison => eyes.ask_for_poison(),
        _ => {}
    }
}

fn cut(fault: &Fault, links: &mut Links) {
    let mut pairs = |from: &[String], to: &[String], how: Cut| {
        for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (a, b))) {
            // One entry a pair: a cut that is not one-way means both directions, whoever is named first.
            let pair = if how == Cut::Forth || a < b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) };
            links.insert(pair, how);
        }
    };
    match fault {
        Fault::Pause(host) => {
            let others: Vec<String> = everyone().into_iter().filter(|other| other != host).collect();
            pairs(std::slice::from_ref(host), &others, Cut::Held);
        }
        Fault::BlackHole(a, b) => pairs(a, b, Cut::Held),
        Fault::Partition(a, b) => pairs(a, b, Cut::Refused),
        Fault::OneWay(from, to) => pairs(from, to, Cut::Forth),
        Fault::LosesControl(region) => pairs(&nodes_of(region), &controls(), Cut::Refused),
        _ => {}
    }
}

fn controls() -> Vec<String> {
    (0..REPLICAS).map(|n| numbered("control", n)).collect()
}

/// Every host that a fault can touch.
fn everyone() -> Vec<String> {
    let members = (0..REPLICAS).map(|n| numbered("etcd", n));
    let clients = ["operator", "client", "fenced"].into_iter();
    let rest = PROVIDERS.into_iter().chain(clients).map(str::to_owned);
    nodes().into_iter().chain(controls()).chain(members).chain(rest).collect()
}
