//! What must hold at every moment, whatever goes wrong. A promise comes with the bug that breaks it, for a test to see that it
//! is caught: `tests/tests/fleet_bugs.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_proto::fleet::v1 as fleet;
use meridian_types::{Plan, PlanId};
use prost::Message;

use super::departed::Departed;
use super::eyes::{Eyes, Stage};
use super::fleet::{CLUSTER, MAX_IN_FLIGHT, REGIONS, REPLICAS, cell_of, nodes_of};
use super::pins::Pins;
use super::planned;
use super::schedule::Fault;
use crate::etcd::Written;

/// Keys that end by themselves or are tidied up: a lease, an old request, an old record, a pin of no rollout any more.
const MAY_GO: [&str; 5] = ["cp/", "lead/", "req/", "audit/", "pin/"];
/// Largest commit that a node may be asked to take.
const MAX_COMMIT_BYTES: usize = 1 << 20;
/// What a region has at least when all serve and none is full: other regions' returns may take it down to that.
const EVEN: u32 = 1000 / REGIONS.len() as u32;
/// How long the effects of a fault on a region's nodes may last, on the verdict about the region.
const AFTERMATH: Duration = Duration::from_secs(20);

/// What was seen so far.
pub(super) struct Invariants {
    revision: i64,
    pins: Pins,
    /// The newest plan in the store.
    plan: Option<PlanId>,
    /// A backup was being put back at the last look: what it took away may be seen only now.
    restored: bool,
    /// Each region's weight in it.
    weights: BTreeMap<&'static str, u32>,
    /// The weight that each region had when its nodes began to lose control replicas, and nothing else.
    frozen: BTreeMap<&'static str, u32>,
    /// What each node obeyed, by its start.
    obeyed: BTreeMap<String, (u64, PlanId)>,
    /// When a region's own nodes were last in trouble.
    troubled: BTreeMap<&'static str, Duration>,
    departed: Departed,
    told: BTreeSet<String>,
}

impl Invariants {
    pub(super) fn new() -> Self {
        Self {
            revision: 0,
            pins: Pins::default(),
            plan: None,
            restored: false,
            weights: BTreeMap::new(),
            frozen: BTreeMap::new(),
            obeyed: BTreeMap::new(),
            troubled: BTreeMap::new(),
            departed: Departed::default(),
            told: BTreeSet::new(),
        }
    }

    /// Looks at everything; tells what is broken, each thing once.
    pub(super) fn look(&mut self, eyes: &Eyes, active: &[&Fault]) {
        let now = eyes.now();
        for region in REGIONS {
            if active.iter().any(|fault| troubles(fault, region)) {
                self.troubled.insert(region, now);
            }
            let alone = self.troubled.get(region).is_none_or(|at| now.saturating_sub(*at) >= AFTERMATH);
            if alone && active.iter().any(|fault| cuts_from_control(fault, region)) {
                let weight = self.weights.get(region).copied().unwrap_or(0);
                self.frozen.entry(region).or_insert(weight);
            } else {
                self.frozen.remove(region);
            }
        }
        let mut broken = self.look_at_store(eyes);
        broken.extend(self.look_at_nodes(eyes));
        broken.extend(self.departed.look(eyes, active));
        for what in broken {
            if self.told.insert(what.clone()) {
                eyes.broken(what);
            }
        }
    }

    fn look_at_store(&mut self, eyes: &Eyes) -> Vec<String> {
        let mut broken = Vec::new();
        let is_restoring = eyes.stage() == Stage::Restoring;
        let may_all_go = std::mem::replace(&mut self.restored, is_restoring) || is_restoring;
        let prefix = format!("/meridian/{CLUSTER}/");
        let written = eyes.cluster.written(&prefix, self.revision);
        self.revision = eyes.cluster.revision();
        broken.extend(self.pins.read(&prefix, &written));
        self.pins.news().iter().for_each(|news| eyes.say(news));
        for Written { key, value, .. } in written {
            let key = key.strip_prefix(&prefix).unwrap_or(&key);
            match (key, value) {
                ("epoch", Some(_)) => {
                    self.plan = None;
                    self.weights.clear();
                }
                (key, Some(value)) if key.starts_with("commit/") && value.len() > MAX_COMMIT_BYTES => {
                    broken.push(format!("{key} has {} bytes", value.len()));
                }
                ("plan", Some(value)) => broken.extend(self.plan(&value)),
                (key, None) if !may_all_go && !MAY_GO.iter().any(|kind| key.starts_with(kind)) => {
                    broken.push(format!("{key} was deleted, and nobody had asked for it"));
                }
                _ => {}
            }
        }
        broken
    }

    fn plan(&mut self, value: &[u8]) -> Vec<String> {
        let plan = match fleet::Plan::decode(value).map_err(|error| error.to_string()) {
            Ok(message) => meridian_proto::convert::plan(&message),
            Err(error) => Err(error),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => return vec![format!("the store has a plan that is none: {error}")],
        };
        let mut broken = planned::broken(&plan);
        if let Some(before) = self.plan.replace(plan.id)
            && plan.id <= before
        {
            broken.push(format!("plan {} was written after plan {before}", plan.id));
        }
        self.weights = REGIONS.into_iter().map(|region| (region, weight(&plan, region))).collect();
        for (region, before) in &self.frozen {
            let weight = weight(&plan, region);
            if weight < EVEN.min(*before) {
                broken.push(format!(
                    "plan {} lowers {region} from {before} to {weight}, which only lost control: {}",
                    plan.id, plan.reason
                ));
            }
        }
        broken
    }

    fn look_at_nodes(&mut self, eyes: &Eyes) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, node) in eyes.nodes() {
            let vitals = node.handle.serving().vitals();
            if let Some(served) = vitals.served
                && !self.pins.named(&cell_of(&name), served.commit.0)
            {
                let cell = cell_of(&name);
                broken.push(format!("{name} serves commit {}, which {cell} was never to run", served.commit));
            }
            if vitals.in_flight > MAX_IN_FLIGHT {
                broken.push(format!("{name} admitted {} requests, and has room for {MAX_IN_FLIGHT}", vitals.in_flight));
            }
            let Some(plan) = node.handle.control().and_then(meridian_control_client::Handle::plan) else { continue };
            broken.extend(self.obeys(&name, node.start, &plan));
        }
        broken
    }

    /// What is wrong with the plan that a node obeys, in the life that it `start`ed.
    fn obeys(&mut self, name: &str, start: u64, plan: &Plan) -> Option<String> {
        if plan.regions.is_empty() {
            return Some(format!("{name} obeys an empty plan"));
        }
        let (life, before) = self.obeyed.insert(name.to_owned(), (start, plan.id))?;
        (life == start && plan.id < before).then(|| format!("{name} went back from plan {before} to {}", plan.id))
    }
}

fn weight(plan: &Plan, region: &str) -> u32 {
    plan.regions.iter().find(|(name, _)| name.as_str() == region).map_or(0, |(_, plan)| plan.weight)
}

/// Whether a fault keeps control replicas from the region's nodes, and these from nothing else.
fn cuts_from_control(fault: &Fault, region: &str) -> bool {
    let nodes = nodes_of(region);
    // Of one replica alone, the others have news of it, and the leader may be among them.
    let all = |other: &[String]| other.iter().filter(|host| host.starts_with("control-")).count() == REPLICAS;
    let from_control = |side: &[String], other: &[String]| side == nodes && all(other);
    match fault {
        Fault::LosesControl(cut) => *cut == region,
        Fault::Partition(a, b) | Fault::BlackHole(a, b) | Fault::OneWay(a, b) => {
            from_control(a, b) || from_control(b, a)
        }
        _ => false,
    }
}

/// Whether a fault is about the region's own nodes.
fn troubles(fault: &Fault, region: &str) -> bool {
    let nodes = nodes_of(region);
    match fault {
        Fault::Crash(host) | Fault::Pause(host) | Fault::Slow(host) => nodes.contains(host),
        Fault::Surge(lost) | Fault::RegionDies(lost) => *lost == region,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use meridian_types::{CommitId, RegionPlan, RegionState};

    use super::*;

    /// A plan of epoch 1.
    fn plan(number: u64) -> Plan {
        let region = RegionPlan {
            state: RegionState::Serving,
            weight: 1000,
            target_weight: 1000,
            reason: String::new(),
            addresses: Vec::new(),
            placement: BTreeMap::new(),
            capacity: 8,
            demand: 0.0,
            settled: None,
        };
        Plan {
            id: PlanId { epoch: 1, number },
            commit: CommitId(1),
            made_at_unix_ms: 0,
            made_by: String::new(),
            reason: String::new(),
            regions: [("eu-west".parse().unwrap(), region)].into(),
            contingencies: BTreeMap::new(),
        }
    }

    /// No node can be made to obey such plans: what would be seen of it is made up here.
    #[test]
    fn a_node_that_goes_back_and_one_that_obeys_nothing_are_told() {
        let mut invariants = Invariants::new();
        assert_eq!(invariants.obeys("node", 0, &plan(7)), None);
        assert_eq!(invariants.obeys("node", 0, &plan(7)), None);
        let back = invariants.obeys("node", 0, &plan(6)).unwrap();
        assert!(back.starts_with("node went back from plan "), "{back}");
        assert_eq!(invariants.obeys("node", 1, &plan(5)), None, "it started anew, from its file");
        let empty = Plan { regions: BTreeMap::new(), ..plan(8) };
        assert_eq!(invariants.obeys("node", 1, &empty).unwrap(), "node obeys an empty plan");
    }
}
