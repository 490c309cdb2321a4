//! P and T evidence: what other nodes' probes say, one voice a region, and what became of requests handed over.

use std::collections::{BTreeMap, BTreeSet};

use meridian_types::{NodeName, RegionName};

use crate::NodeEvidence;
use crate::evidence::{Control, OBSERVATION_LIFE, TRUSTED_LAG};

/// So many other regions must agree, if there are so many: one alone may have lost its own way out.
const REGIONS_TO_AGREE: usize = 2;
/// So many nodes of the same region must agree where no other region can speak.
const NEIGHBOURS_TO_AGREE: usize = 2;

/// What the others say about one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Votes {
    /// Other regions that cannot reach it.
    pub regions_against: BTreeSet<RegionName>,
    /// Other regions that reach it.
    pub regions_for: BTreeSet<RegionName>,
    /// Nodes of its own region that cannot reach it.
    pub neighbours_against: usize,
    /// Nodes of its own region that reach it.
    pub neighbours_for: usize,
    /// Other regions that could say something, had they a voice now: those not known to be down.
    pub regions_asked: usize,
    /// Nodes whose last request that was handed over to it was lost, and whose was taken.
    pub requests_lost: usize,
    /// See `requests_lost`.
    pub requests_taken: usize,
}

impl Votes {
    /// Whether the other regions agree that it is unreachable.
    pub fn outside_agrees(&self) -> bool {
        let needed = self.regions_asked.min(REGIONS_TO_AGREE);
        needed > 0 && self.regions_against.len() >= needed
    }

    /// Whether its neighbours agree that it is unreachable and nobody outside contradicts.
    pub fn inside_agrees(&self) -> bool {
        let voices = self.neighbours_against + self.neighbours_for;
        voices > 0
            && self.neighbours_for == 0
            && self.neighbours_against >= voices.min(NEIGHBOURS_TO_AGREE)
            && self.regions_for.is_empty()
    }

    /// Whether requests that are handed over to it are lost, whoever hands them over. Few do, so that one is enough: this
    /// is never all that speaks against a node.
    pub fn loses_requests(&self) -> bool {
        self.requests_lost > 0 && self.requests_taken == 0
    }

    /// For people.
    pub fn describe(&self) -> String {
        let (against, voices) = (self.regions_against.len(), self.regions_against.len() + self.regions_for.len());
        let neighbours = self.neighbours_against + self.neighbours_for;
        match (voices, neighbours) {
            (0, 0) => "nobody else can say".to_owned(),
            (0, _) => format!("{} of {neighbours} neighbours cannot reach it", self.neighbours_against),
            _ if against == 0 => format!("{} reach it", names(&self.regions_for)),
            _ => format!("{against} of {voices} regions cannot reach it"),
        }
    }
}

fn names(regions: &BTreeSet<RegionName>) -> String {
    regions.iter().map(RegionName::as_str).collect::<Vec<_>>().join(", ")
}

/// Counts what everybody says about everybody. `down` are regions known to be down: they are not waited for.
pub fn count(evidence: &BTreeMap<NodeName, NodeEvidence>, down: &BTreeSet<RegionName>) -> BTreeMap<NodeName, Votes> {
    let regions: BTreeSet<&RegionName> =
        evidence.values().filter(|node| node.serves).map(|node| &node.region).collect();
    let mut voices: BTreeMap<(&NodeName, &RegionName), (usize, usize)> = BTreeMap::new();
    let mut handed: BTreeMap<&NodeName, (usize, usize)> = BTreeMap::new();
    for observer in evidence.values().filter(|observer| has_a_voice(observer, evidence)) {
        for seen in observer.observations.iter().filter(|seen| seen.age <= OBSERVATION_LIFE) {
            let (against, for_it) = voices.entry((&seen.subject, &observer.region)).or_default();
            *(if seen.reachable { for_it } else { against }) += 1;
            if let Some(last) = seen.handed.filter(|last| last.age <= OBSERVATION_LIFE) {
                let (lost, taken) = handed.entry(&seen.subject).or_default();
                *(if last.taken { taken } else { lost }) += 1;
            }
        }
    }
    let votes_about = |(name, node): (&NodeName, &NodeEvidence)| {
        let asked = regions.iter().filter(|region| ***region != node.region && !down.contains(**region)).count();
        let (requests_lost, requests_taken) = handed.get(name).copied().unwrap_or_default();
        let mut votes = Votes { regions_asked: asked, requests_lost, requests_taken, ..Votes::default() };
        for region in &regions {
            let Some(&(against, for_it)) = voices.get(&(name, *region)) else { continue };
            if **region == node.region {
                (votes.neighbours_against, votes.neighbours_for) = (against, for_it);
            } else if against > for_it {
                votes.regions_against.insert((*region).clone());
            } else {
                votes.regions_for.insert((*region).clone());
            }
        }
        (name.clone(), votes)
    };
    evidence.iter().map(votes_about).collect()
}

/// Only who serves is heard: of the others, which look at a few nodes to know what to answer, nobody knows whether they keep
/// their own time. And only who is in touch with us and keeps its own time, and not one that fails most of its probes of nodes that we see alive:
/// nodes that we do not see alive either say nothing about the observer.
fn has_a_voice(observer: &NodeEvidence, evidence: &BTreeMap<NodeName, NodeEvidence>) -> bool {
    let seen_alive =
        |subject: &NodeName| evidence.get(subject).is_some_and(|node| node.pulse.control() == Control::Alive);
    let fresh = observer.observations.iter().filter(|seen| seen.age <= OBSERVATION_LIFE && seen_alive(&seen.subject));
    let (failed, all) = fresh.fold((0, 0), |(failed, all), seen| (failed + usize::from(!seen.reachable), all + 1));
    observer.serves && observer.pulse.control() == Control::Alive && observer.lag <= TRUSTED_LAG && failed * 2 <= all
}
