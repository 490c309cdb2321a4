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

/// Who looks.
#[derive(Debug, Clone, Copy)]
pub struct Observer<'a> {
    /// Where it runs.
    pub region: &'a RegionName,
    /// Whether it serves requests: then it is a living node of its region itself.
    pub serves: bool,
}

/// The regions that `own` takes for gone: its own probes fail, a living node of a third region says the same, and not more
/// regions say the opposite; one that has a voice which reaches it says so, whatever its others say. What was agreed before
/// (`held`) holds until the own probes succeed again: neither that the third region went silent since takes anything back, nor
/// that the own probes are old, because this process stood still. Never the region that it serves itself, whatever others say.
/// With two regions there is no third: then `witness` takes its place, something outside of both that answered this node
/// just now. It says that there is a way out, so that it speaks against the other region alone, and while the own one lives.
pub fn gone(
    own: Observer<'_>,
    probes: &[Probe],
    told: &[Told],
    witness: bool,
    held: &BTreeSet<RegionName>,
) -> BTreeSet<RegionName> {
    let seen = summarise(probes);
    let lives = |region: &RegionName| seen.get(region).is_some_and(|(reachable, _)| *reachable);
    let witnessed = |region: &RegionName| witness && may_be_witnessed(own, &seen, region);
    let agreed = |region: &RegionName| {
        let third = |told: &&Told| told.by != *own.region && told.by != *region && lives(&told.by);
        let voices = told.iter().filter(|told| told.about == *region && told.age <= LIFE).filter(third);
        let (for_it, against): (Vec<&Told>, Vec<&Told>) = voices.partition(|voice| voice.reachable);
        let for_it: BTreeSet<&RegionName> = for_it.into_iter().map(|voice| &voice.by).collect();
        let against: BTreeSet<&RegionName> = against.into_iter().map(|voice| &voice.by).collect();
        let against = against.difference(&for_it).count();
        against > 0 && against >= for_it.len()
    };
    let lost = seen.iter().filter(|(region, (reachable, _))| !reachable && !own.is_living(region));
    let new = lost.map(|(region, _)| region).filter(|region| witnessed(region) || agreed(region));
    held.iter().filter(|region| !lives(region)).chain(new).cloned().collect()
}

/// Whether a node of one of two regions has to ask its witness now: all its probes of the other region fail, and that was
/// not agreed before.
pub fn asks_witness(own: Observer<'_>, probes: &[Probe], held: &BTreeSet<RegionName>) -> bool {
    let seen = summarise(probes);
    let lost = seen.iter().filter(|(region, (reachable, _))| !reachable && !held.contains(*region));
    lost.map(|(region, _)| region).any(|region| may_be_witnessed(own, &seen, region))
}

fn may_be_witnessed(own: Observer<'_>, seen: &BTreeMap<RegionName, (bool, Duration)>, region: &RegionName) -> bool {
    let own_lives = || own.serves || seen.get(own.region).is_some_and(|(reachable, _)| *reachable);
    region != own.region && own_lives()
}

impl Observer<'_> {
    fn is_living(&self, region: &RegionName) -> bool {
        self.serves && self.region == region
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> RegionName {
        RegionName::new(name).unwrap()
    }

    fn regions(names: &[&str]) -> BTreeSet<RegionName> {
        names.iter().map(|name| region(name)).collect()
    }

    /// What a node of `us` concludes.
    fn after(
        serves: bool,
        probes: &[Probe],
        told: &[Told],
        witness: bool,
        held: &BTreeSet<RegionName>,
    ) -> BTreeSet<RegionName> {
        gone(Observer { region: &region("us"), serves }, probes, told, witness, held)
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
            assert_eq!(after(true, probes, told, false, &BTreeSet::new()), regions(expected), "{what}");
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
    }

    #[test]
    fn a_region_whose_nodes_disagree_reaches_the_one_that_they_speak_of() {
        let (yes, no) = (|by: &str| told(by, "eu", true), |by: &str| told(by, "eu", false));
        let table: [(&str, Vec<Told>, &[&str]); 6] = [
            ("one third region, torn", vec![no("ap"), yes("ap")], &[]),
            ("torn the other way around", vec![yes("ap"), no("ap"), no("ap")], &[]),
            ("whole", vec![no("ap"), no("ap")], &["eu"]),
            ("one torn and one against", vec![no("ap"), yes("ap"), no("sa")], &["eu"]),
            ("one torn and two against", vec![no("ap"), yes("ap"), no("sa"), no("in")], &["eu"]),
            ("two torn and one against", vec![no("ap"), yes("ap"), no("sa"), yes("sa"), no("in")], &[]),
        ];
        let probes = [probe("eu", false), probe("ap", true), probe("sa", true), probe("in", true)];
        for (what, told, expected) in table {
            assert_eq!(after(true, &probes, &told, false, &BTreeSet::new()), regions(expected), "{what}");
        }
    }

    #[test]
    fn what_was_agreed_holds_until_own_probes_succeed() {
        let held = regions(&["eu"]);
        let later = |probes: &[Probe]| after(true, probes, &[], false, &held);
        let eu_lost = probe("eu", false);
        assert_eq!(later(&[eu_lost.clone(), probe("ap", false)]), held, "the third region went silent");
        let old = Probe { age: LIFE + Duration::from_millis(1), ..eu_lost.clone() };
        assert_eq!(later(&[old]), held, "this process stood still");
        assert_eq!(later(&[Probe { streak: 1, ..eu_lost }]), held, "another node there is looked at from now on");
        assert_eq!(later(&[]), held, "nothing is known");
        assert!(later(&[probe("eu", true)]).is_empty());
    }

    #[test]
    fn a_node_that_serves_nobody_is_no_proof_that_its_own_region_lives() {
        let none = BTreeSet::new();
        let (dead, ap, eu) = (probe("us", false), probe("ap", true), probe("eu", true));
        let told = [told("ap", "us", false), told("eu", "us", false)];
        let probes = [dead.clone(), ap.clone(), eu];
        assert_eq!(after(false, &probes, &told, false, &none), regions(&["us"]));
        assert_eq!(after(true, &probes, &told, false, &none), none);
        assert_eq!(after(false, &probes, &[], false, &none), none, "on its own word alone");
        // A witness stands for a third region against the other one, and not if none of either answers: then it may be
        // that this node asks in the wrong way.
        let eu_lost = probe("eu", false);
        assert_eq!(after(false, &[dead.clone(), eu_lost.clone()], &[], true, &none), none);
        assert_eq!(after(false, &[probe("us", true), eu_lost.clone()], &[], true, &none), regions(&["eu"]));
        assert_eq!(after(true, &[dead, eu_lost], &[], true, &none), regions(&["eu"]));
    }

    #[test]
    fn of_two_regions_one_drops_the_other_only_while_its_own_way_out_is_proved() {
        let none = BTreeSet::new();
        let eu = regions(&["eu"]);
        let after =
            |probes: &[Probe], witness: bool, held: &BTreeSet<RegionName>| after(true, probes, &[], witness, held);
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
            let us = region("us");
            assert_eq!(asks_witness(Observer { region: &us, serves: true }, probes, held), expected);
        }
    }
}
