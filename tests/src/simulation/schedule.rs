//! What goes wrong, when, and for how long: drawn from the seed.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::fences::PROVIDER_INSIDE;
use super::fleet::{NODES_PER_REGION, REGIONS, REPLICAS, numbered};

/// Faults begin within this time after the fleet came up.
pub(super) const STORM: Duration = Duration::from_secs(30);
/// Longest life of a fault: long enough for leases (10 s) and for every timeout of ours to pass.
const LONGEST_MS: u64 = 15_000;
const SHORTEST_MS: u64 = 500;
/// Faults of one history.
const EPISODES: std::ops::RangeInclusive<usize> = 4..=9;
/// One history in so many ends with a restore from a backup.
const RESTORES: u32 = 4;

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// The process dies; at the end of the fault it starts again.
    Crash(String),
    /// Every node of the region crashes.
    RegionDies(&'static str),
    /// The process is frozen, or its machine unplugged: packets vanish, and arrive at the end of the fault.
    Pause(String),
    /// Nothing gets through between the two sides; connections are refused.
    Partition(Vec<String>, Vec<String>),
    /// Packets between the two sides vanish until the end.
    BlackHole(Vec<String>, Vec<String>),
    /// Packets from the first to the second are lost; the other way is fine.
    OneWay(Vec<String>, Vec<String>),
    /// Nodes of a region hear no control replica, and serve on.
    LosesControl(&'static str),
    /// Members of etcd do not hear each other: no quorum.
    LostQuorum,
    /// Everything to and from the host takes long.
    Slow(String),
    /// History is forgotten.
    Compaction,
    /// Writes are carried out, and their answers are lost.
    LostReplies,
    /// Clients all ask one region.
    Surge(&'static str),
    /// A commit that every node refuses.
    Poison,
}

/// A fault with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Episode {
    /// After the fleet came up.
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    pub(super) fault: Fault,
}

impl fmt::Display for Episode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at +{:.1} s for {:.1} s: {:?}", self.at.as_secs_f64(), self.lasts.as_secs_f64(), self.fault)
    }
}

/// Which faults come, and whether the store is lost in the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// In order of time.
    pub(super) episodes: Vec<Episode>,
    /// Whether the store is restored from a backup afterwards.
    pub(super) restore: bool,
}

impl Schedule {
    /// The schedule of a seed.
    pub(super) fn draw(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut episodes: Vec<Episode> = (0..random.random_range(EPISODES)).map(|_| episode(&mut random)).collect();
        episodes.sort_by_key(|episode| episode.at);
        Self { episodes, restore: random.random_ratio(1, RESTORES) }
    }

    /// History is forgotten once, after a while in which the operator can do his work.
    #[must_use]
    pub fn calm() -> Self {
        let (at, lasts) = (Duration::from_secs(20), Duration::from_millis(SHORTEST_MS));
        Self { episodes: vec![Episode { at, lasts, fault: Fault::Compaction }], restore: false }
    }

    /// All control replicas crash together, soon after the fleet came up.
    #[must_use]
    pub fn restart_of_control() -> Self {
        let (at, lasts) = (Duration::from_secs(4), Duration::from_secs(2));
        let crash = |n| Episode { at, lasts, fault: Fault::Crash(numbered("control", n)) };
        Self { episodes: (0..REPLICAS).map(crash).collect(), restore: false }
    }

    /// Two regions die, one after the other, and are dead together for a while.
    #[must_use]
    pub fn dead_regions() -> Self {
        let [_, first, second] = REGIONS;
        let dies = |at, lasts, region| Episode {
            at: Duration::from_secs(at),
            lasts: Duration::from_secs(lasts),
            fault: Fault::RegionDies(region),
        };
        Self { episodes: vec![dies(4, 25, first), dies(12, 12, second)], restore: false }
    }

    /// A region dies when nobody has been planning for a while, as the store has no quorum or all replicas are dead (`dead`);
    /// nobody plans before it lives again.
    #[must_use]
    pub fn dead_region_that_nobody_plans_for(dead: bool) -> Self {
        let [_, region, _] = REGIONS;
        let during =
            |at, lasts, fault| Episode { at: Duration::from_secs(at), lasts: Duration::from_secs(lasts), fault };
        let crashes = (0..REPLICAS).map(|n| Fault::Crash(numbered("control", n)));
        let lost: Vec<Fault> = if dead { crashes.collect() } else { vec![Fault::LostQuorum] };
        let mut episodes: Vec<Episode> = lost.into_iter().map(|fault| during(4, 40, fault)).collect();
        episodes.push(during(12, 28, Fault::RegionDies(region)));
        Self { episodes, restore: false }
    }

    /// The nodes of one region do not reach the provider that the fenced tenant may use, soon after the fleet came up.
    #[must_use]
    pub fn lost_provider() -> Self {
        let [_, region, _] = REGIONS;
        let (at, lasts) = (Duration::from_secs(4), Duration::from_secs(10));
        let fault = Fault::Partition(super::fleet::nodes_of(region), vec![PROVIDER_INSIDE.to_owned()]);
        Self { episodes: vec![Episode { at, lasts, fault }], restore: false }
    }

    /// Clients all ask one region, soon after the fleet came up.
    #[must_use]
    pub fn crowd() -> Self {
        let [_, region, _] = REGIONS;
        let (at, lasts) = (Duration::from_secs(4), Duration::from_secs(6));
        Self { episodes: vec![Episode { at, lasts, fault: Fault::Surge(region) }], restore: false }
    }

    /// The nodes of one region hear no control replica, soon after the fleet came up.
    #[must_use]
    pub fn lost_control() -> Self {
        let [_, region, _] = REGIONS;
        let (at, lasts) = (Duration::from_secs(6), Duration::from_secs(10));
        Self { episodes: vec![Episode { at, lasts, fault: Fault::LosesControl(region) }], restore: false }
    }
}

fn episode(random: &mut StdRng) -> Episode {
    let at = Duration::from_millis(random.random_range(0..STORM.as_millis() as u64));
    let lasts = Duration::from_millis(random.random_range(SHORTEST_MS..LONGEST_MS));
    Episode { at, lasts, fault: fault(random) }
}

fn fault(random: &mut StdRng) -> Fault {
    let region = pick(random, &REGIONS);
    let node = numbered(region, random.random_range(0..NODES_PER_REGION));
    let control = numbered("control", random.random_range(0..REPLICAS));
    let etcd = numbered("etcd", random.random_range(0..REPLICAS));
    let all = |kind: &str| (0..REPLICAS).map(|n| numbered(kind, n)).collect::<Vec<_>>();
    let nodes = super::fleet::nodes_of(region);
    let host = pick(random, &[node, control.clone(), etcd.clone()]);
    match random.random_range(0..18) {
        0 => Fault::Crash(host),
        1 => Fault::Pause(host),
        2 => Fault::Crash(control),
        3 => Fault::Crash(etcd),
        4 => Fault::Partition(vec![control], all("etcd")),
        5 => Fault::BlackHole(vec![control], all("etcd")),
        6 => Fault::Partition(vec![control], nodes),
        7 => Fault::OneWay(vec![control], nodes),
        8 => Fault::OneWay(nodes, vec![control]),
        9 => Fault::OneWay(vec![etcd], vec![control]),
        10 => Fault::LosesControl(region),
        11 => Fault::LostQuorum,
        12 => Fault::Slow(host),
        13 => pick(random, &[Fault::Compaction, Fault::LostReplies]),
        14 => Fault::Surge(region),
        15 => Fault::RegionDies(region),
        16 => Fault::Partition(nodes, vec![PROVIDER_INSIDE.to_owned()]),
        _ => Fault::Poison,
    }
}

#[expect(clippy::indexing_slicing, reason = "the index is drawn from the slice's own range")]
fn pick<T: Clone>(random: &mut StdRng, of: &[T]) -> T {
    of[random.random_range(0..of.len())].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_one_schedule_and_two_hundred_seeds_draw_every_fault() {
        assert_eq!(Schedule::draw(7), Schedule::draw(7));
        assert_ne!(Schedule::draw(7), Schedule::draw(8));
        let all: Vec<_> = (0..200).map(Schedule::draw).collect();
        let mut kinds: Vec<String> = all
            .iter()
            .flat_map(|schedule| &schedule.episodes)
            .map(|episode| format!("{:?}", episode.fault).split('(').next().unwrap_or_default().to_owned())
            .collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds.len(), 13, "{kinds:?}");
        assert!(all.iter().any(|schedule| schedule.restore));
    }
}
