//! A region that is dead is in no DNS answer any more, whether somebody plans or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_types::RegionName;

use super::eyes::{Eyes, Running, Stage};
use super::fleet::{REGIONS, REPLICAS, nodes, nodes_of, numbered};
use super::schedule::Fault;

/// After this long a dead region has left every answer. A leader that died with it is taken for one until its lease ends
/// (6 s); then another one judges and plans, or the nodes agree, in some seconds each.
const LATEST: Duration = Duration::from_secs(10);

/// What was seen so far.
#[derive(Default)]
pub(super) struct Departed {
    /// When each region last had a node that ran.
    lived: BTreeMap<&'static str, Duration>,
    /// When a fault last was about each node.
    disturbed: BTreeMap<String, Duration>,
    /// The faults of the control plane, and since when it has these and no others.
    control: (Vec<Fault>, Duration),
}

impl Departed {
    /// What is broken.
    pub(super) fn look(&mut self, eyes: &Eyes, active: &[&Fault]) -> Vec<String> {
        let now = eyes.now();
        let running = eyes.nodes();
        for region in REGIONS {
            if eyes.stage() == Stage::Starting || nodes_of(region).iter().any(|node| running.contains_key(node)) {
                self.lived.insert(region, now);
            }
        }
        for host in active.iter().flat_map(|fault| touched(fault)) {
            self.disturbed.insert(host, now);
        }
        let of_control = |fault: &&&Fault| touched(fault).iter().any(|host| !nodes().contains(host));
        let control: Vec<Fault> = active.iter().filter(of_control).map(|fault| (*fault).clone()).collect();
        if self.control.0 != control || eyes.stage() == Stage::Restoring {
            self.control = (control, now);
        }
        let is_long_ago = |at: Option<&Duration>| at.is_none_or(|at| now.saturating_sub(*at) >= LATEST);
        let (dead, others): (Vec<&str>, Vec<&str>) =
            REGIONS.into_iter().partition(|region| is_long_ago(self.lived.get(region)));
        // One region that sees it die cannot tell by itself whether it is the one that is cut off; and who is in trouble may
        // know nothing, and has nothing to say to the others.
        let others: Vec<String> = others.into_iter().flat_map(nodes_of).collect();
        let [dead] = dead.as_slice() else { return Vec::new() };
        if !is_long_ago(Some(&self.control.1)) || !others.iter().all(|node| is_long_ago(self.disturbed.get(node))) {
            return Vec::new();
        }
        let names = |(name, node): &(&String, &Running)| others.contains(name) && names(node, dead);
        let telling = running.iter().filter(names);
        telling.map(|(name, _)| format!("{name} names {dead}, which has long been dead")).collect()
    }
}

/// Whether any answer may name the region.
fn names(node: &Running, region: &str) -> bool {
    let served = node.handle.dns().map(meridian_dns::Handle::served).unwrap_or_default();
    let region = RegionName::new(region).ok();
    region.and_then(|region| served.regions.get(&region)?.named.as_ref().map(drop)).is_some()
}

/// The hosts that a fault is about, but for clients and providers.
fn touched(fault: &Fault) -> BTreeSet<String> {
    let etcd = || (0..REPLICAS).map(|n| numbered("etcd", n)).collect();
    match fault {
        Fault::Crash(host) | Fault::Pause(host) | Fault::Slow(host) => [host.clone()].into(),
        Fault::RegionDies(region) => nodes_of(region).into_iter().collect(),
        Fault::Partition(a, b) | Fault::BlackHole(a, b) | Fault::OneWay(a, b) => {
            let hosts = a.iter().chain(b).filter(|host| !host.starts_with("provider"));
            hosts.cloned().collect()
        }
        Fault::LosesControl(region) => {
            nodes_of(region).into_iter().chain((0..REPLICAS).map(|n| numbered("control", n))).collect()
        }
        Fault::LostQuorum | Fault::Compaction | Fault::LostReplies => etcd(),
        Fault::Surge(_) | Fault::Poison => BTreeSet::new(),
    }
}
