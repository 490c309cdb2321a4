//! While nobody plans: which other regions a node may take for gone, on its own probes and the word of a third.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_types::RegionName;

/// So many probes in a row must have failed: one may be lost on the way.
const MISSES: u32 = 2;
/// What was seen longer ago, by itself or by others, says nothing about now.
const LIFE: Duration = Duration::from_secs(5);

/// What the own probes of one node last saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Where the node runs.
    pub region: RegionName,
    /// Whether it answered.
    pub reachable: bool,
    /// Probes in a row with this outcome.
    pub streak: u32,
    /// Time since the last.
    pub age: Duration,
}

/// What a node that answers said of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Where the node that says so runs.
    pub by: RegionName,
    /// The region.
    pub about: RegionName,
    /// Whether any node there answers it.
    pub reachable: bool,
    /// Time since it saw that.
    pub age: Duration,
}

/// What probes say of each region: reachable if any node answers, lost if all of them failed often enough; a region that
/// cannot be told either way is missing. With the age of the youngest probe.
pub fn summarise(probes: &[Probe]) -> BTreeMap<RegionName, (bool, Duration)> {
    let mut regions: BTreeMap<&RegionName, Vec<&Probe>> = BTreeMap::new();
    for probe in probes.iter().filter(|probe| probe.streak > 0 && probe.age <= LIFE) {
        regions.entry(&probe.region).or_default().push(probe);
    }
    let verdict = |(region, probes): (&RegionName, Vec<&Probe>)| {
        let reachable = probes.iter().any(|probe| probe.reachable);
        let lost = probes.iter().all(|probe| !probe.reachable && probe.streak >= MISSES);
        let age = probes.iter().map(|probe| probe.age).min().unwrap_or(LIFE);
        (reachable || lost).then(|| (region.clone(), (reachable, age)))
    };
    regions.into_iter().filter_map(verdict).collect()
}

/// The regions that a node of `own` takes for gone: its own probes fail, a living node of a third region says the same,
/// and not more of them say the opposite. What was agreed before (`held`) holds until the own probes succeed again: that
/// the third region went silent since takes nothing back. Never `own`, whatever others say. With two regions there is no third:
/// then `witness` takes its place, something outside of both that answered this node just now.
pub fn gone(
    own: &RegionName,
    probes: &[Probe],
    told: &[Told],
    witness: bool,
    held: &BTreeSet<RegionName>,
) -> BTreeSet<RegionName> {
    let seen = summarise(probes);
    let lives = |region: &RegionName| seen.get(region).is_some_and(|(reachable, _)| *reachable);
    let agreed = |region: &&RegionName| {
        let third = |told: &&Told| told.by != *own && told.by != **region && lives(&told.by);
        let voices = told.iter().filter(|told| told.about == **region && told.age <= LIFE).filter(third);
        let (mut against, mut for_it) = (BTreeSet::new(), BTreeSet::new());
        for voice in voices {
            if voice.reachable { &mut for_it } else { &mut against }.insert(&voice.by);
        }
        !against.is_empty() && against.len() >= for_it.len()
    };
    let lost = seen.iter().filter(|(region, (reachable, _))| !reachable && *region != own).map(|(region, _)| region);
    lost.filter(|region| held.contains(*region) || witness || agreed(region)).cloned().collect()
}

/// Whether a node of one of two regions has to ask its witness now: all its probes of the other region fail, and that was
/// not agreed before.
pub fn asks_witness(own: &RegionName, probes: &[Probe], held: &BTreeSet<RegionName>) -> bool {
    let lost = |(region, (reachable, _)): (&RegionName, &(bool, Duration))| {
        !reachable && region != own && !held.contains(region)
    };
    summarise(probes).iter().any(lost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    fn probe(name: &str, reachable: bool) -> Probe {
        Probe { region: region(name), reachable, streak: 2, age: Duration::from_millis(300) }
    }

    fn told(by: &str, about: &str, reachable: bool) -> Told {
        Told { by: region(by), about: region(about), reachable, age: Duration::from_secs(1) }
    }

    #[test]
    fn own_probes_and_a_living_third_region_have_to_agree() {
        let check = |what: &str, probes: &[Probe], told: &[Told], expected: &[&str]| {
            let expected: BTreeSet<_> = expected.iter().map(|name| region(name)).collect();
            assert_eq!(gone(&region("us"), probes, told, false, &BTreeSet::new()), expected, "{what}");
        };
        let (eu_lost, ap_lives) = (probe("eu", false), probe("ap", true));
        check("all is well", &[probe("eu", true), ap_lives.clone()], &[told("ap", "eu", true)], &[]);
        check("both agree", &[eu_lost.clone(), ap_lives.clone()], &[told("ap", "eu", false)], &["eu"]);
        check("own probes alone", &[eu_lost.clone(), ap_lives.clone()], &[], &[]);
        check("the third reaches it", &[eu_lost.clone(), ap_lives.clone()], &[told("ap", "eu", true)], &[]);
        check("others alone", &[probe("eu", true), ap_lives.clone()], &[told("ap", "eu", false)], &[]);
        check("the third is lost too", &[eu_lost.clone(), probe("ap", false)], &[told("ap", "eu", false)], &[]);
        check("two regions", std::slice::from_ref(&eu_lost), &[told("us", "eu", false)], &[]);
        check("never the own one", &[probe("us", false), ap_lives.clone()], &[told("ap", "us", false)], &[]);
        check("one miss", &[Probe { streak: 1, ..eu_lost.clone() }, ap_lives.clone()], &[told("ap", "eu", false)], &[]);
        check(
            "one node of it answers",
            &[eu_lost.clone(), probe("eu", true), ap_lives.clone()],
            &[told("ap", "eu", false)],
            &[],
        );
        let old = Told { age: Duration::from_secs(6), ..told("ap", "eu", false) };
        check("old news", &[eu_lost.clone(), ap_lives.clone()], &[old], &[]);
        let four = [eu_lost.clone(), ap_lives.clone(), probe("sa", true), probe("in", true)];
        let words = [told("ap", "eu", false), told("sa", "eu", true), told("in", "eu", true)];
        check("more say the opposite", &four, &words, &[]);
        check("as many do", &four, &words[..2], &["eu"]);
        // What was agreed outlives the third region, and ends with the first probe that succeeds.
        let held = BTreeSet::from([region("eu")]);
        let later = |probes: &[Probe]| gone(&region("us"), probes, &[], false, &held);
        assert_eq!(later(&[eu_lost.clone(), probe("ap", false)]), held);
        assert!(later(&[probe("eu", true)]).is_empty());
    }

    #[test]
    fn of_two_regions_one_drops_the_other_only_while_its_own_way_out_is_proved() {
        let none = BTreeSet::new();
        let eu = BTreeSet::from([region("eu")]);
        let after = |probes: &[Probe], witness: bool, held: &BTreeSet<RegionName>| {
            gone(&region("us"), probes, &[], witness, held)
        };
        let (lost, lives) = ([probe("eu", false)], [probe("eu", true)]);
        assert_eq!(after(&lost, true, &none), eu);
        assert_eq!(after(&lost, false, &none), none, "cut off itself, as far as it knows");
        assert_eq!(after(&lives, true, &none), none);
        assert_eq!(after(&lost, false, &eu), eu, "what was agreed holds until the probes succeed");
        assert_eq!(after(&lives, false, &eu), none);
        assert_eq!(after(&[probe("us", false)], true, &none), none, "never the own one");
        let once = [Probe { streak: 1, ..probe("eu", false) }];
        assert_eq!(after(&once, true, &none), none);
        for (probes, held, expected) in
            [(&lost, &none, true), (&lives, &none, false), (&lost, &eu, false), (&once, &none, false)]
        {
            assert_eq!(asks_witness(&region("us"), probes, held), expected);
        }
    }
}
