//! Who probes whom: every serving node is watched by a few of its own region and by some of every other region, and every
//! node watches some of every other region.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use meridian_proto::node::v1::Peer;
use meridian_types::{Digest, NodeName, RegionName};
use tokio::time::Instant;

use super::{Fleet, Node};
use crate::view::Registered;

/// Observers of a node in its own region.
const NEIGHBOURS: usize = 3;
/// Observers of a node in each other region: two, so that one sick observer is not a region's only voice.
const OUTSIDERS: usize = 2;
/// Of each other region every node looks at so many, if there are so many: with one, its restart would look as the loss of
/// its region. More are not needed: nobody takes a region for gone on its own word.
const VANTAGES: usize = 2;
/// A node that was silent for so long says nothing of its region while there are others there: it may have been replaced.
/// Long after the loss of a region is found, so that what stands for it stays the same meanwhile.
const MISSING: Duration = Duration::from_secs(60);

/// The duties are drawn anew this long after the fleet moved, at the earliest: every beat asks for them ...
const FRESH: Duration = Duration::from_millis(200);
/// ... and at the latest after this, because silence moves nothing.
const STALE: Duration = Duration::from_secs(1);

/// Everybody's duties, drawn together and remembered for a moment.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    drawn: Mutex<Option<Drawn>>,
}

#[derive(Debug)]
struct Drawn {
    at: Instant,
    moves: u64,
    duties: BTreeMap<NodeName, Arc<Vec<Peer>>>,
}

impl Roster {
    /// What `observer` has to probe.
    pub(crate) fn peers_of(
        &self,
        observer: &NodeName,
        fleet: &Fleet,
        registered: &BTreeMap<NodeName, Registered>,
    ) -> Arc<Vec<Peer>> {
        let moves = fleet.moves();
        let mut drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(drawn) = drawn.as_ref()
            && drawn.at.elapsed() < if drawn.moves == moves { STALE } else { FRESH }
            && let Some(peers) = drawn.duties.get(observer)
        {
            return peers.clone();
        }
        let duties = draw(&fleet.nodes(), registered);
        let peers = duties.get(observer).cloned().unwrap_or_default();
        *drawn = Some(Drawn { at: Instant::now(), moves, duties });
        peers
    }
}

/// The duties of every node that pulses here. Subjects are these nodes, and those that only the store knows: they may
/// be dead, and somebody has to find that out. Who is paired with whom is drawn by rendezvous hashing: a node that comes or
/// goes moves only its own duties.
///
/// There are two sorts. Each subject has observers, of serving nodes alone, for who plans to judge it by. And each node
/// that answers DNS, also one that does nothing else and is nobody's subject, has vantages on every region that it does not
/// serve itself, to know while nobody plans whether it lives.
fn draw(
    nodes: &BTreeMap<NodeName, Node>,
    registered: &BTreeMap<NodeName, Registered>,
) -> BTreeMap<NodeName, Arc<Vec<Peer>>> {
    let subjects = subjects(nodes, registered);
    let mut observers: BTreeMap<&RegionName, Vec<Observer<'_>>> = BTreeMap::new();
    for (name, node) in nodes.iter().filter(|(_, node)| node.is_connected()) {
        let observer = Observer { name, serves: node.serves(), vantages: BTreeMap::new() };
        observers.entry(&node.region).or_default().push(observer);
    }
    let mut duties: BTreeMap<&NodeName, BTreeSet<&NodeName>> = BTreeMap::new();
    for (subject, Subject { region, is_missing, .. }) in &subjects {
        for (place, observers) in &mut observers {
            let mut ranked: Vec<(Digest, &NodeName)> = Vec::new();
            for observer in observers.iter_mut().filter(|observer| observer.name != *subject) {
                let rank = Digest::of_parts([subject.as_str().as_bytes(), observer.name.as_str().as_bytes()]);
                if observer.serves {
                    ranked.push((rank, observer.name));
                }
                if !observer.serves || place != region {
                    observer.consider(region, (*is_missing, rank, subject));
                }
            }
            ranked.sort();
            let limit = if place == region { NEIGHBOURS } else { OUTSIDERS };
            for (_, observer) in ranked.into_iter().take(limit) {
                duties.entry(observer).or_default().insert(subject);
            }
        }
    }
    for Observer { name, vantages, .. } in observers.into_values().flatten() {
        let chosen = vantages.into_values().flatten().map(|(.., subject)| subject);
        duties.entry(name).or_default().extend(chosen);
    }
    let peers = |observer: &NodeName| -> Vec<Peer> {
        let names = duties.get(observer).into_iter().flatten();
        names.filter_map(|name| Some(subjects.get(name)?.peer(name))).collect()
    };
    nodes.keys().map(|name| (name.clone(), Arc::new(peers(name)))).collect()
}

/// A subject as a vantage on its region: the least is taken first.
type Vantage<'a> = (bool, Digest, &'a NodeName);

/// Someone who looks.
struct Observer<'a> {
    name: &'a NodeName,
    serves: bool,
    /// The best of each region.
    vantages: BTreeMap<&'a RegionName, BTreeSet<Vantage<'a>>>,
}

impl<'a> Observer<'a> {
    fn consider(&mut self, region: &'a RegionName, vantage: Vantage<'a>) {
        let best = self.vantages.entry(region).or_default();
        best.insert(vantage);
        if best.len() > VANTAGES {
            best.pop_last();
        }
    }
}

/// Someone to look at.
struct Subject<'a> {
    region: &'a RegionName,
    address: &'a String,
    peer_address: &'a String,
    /// It was not heard for long, or never by this replica.
    is_missing: bool,
}

impl Subject<'_> {
    fn peer(&self, name: &NodeName) -> Peer {
        Peer {
            node: name.to_string(),
            region: self.region.to_string(),
            address: self.address.clone(),
            peer_address: self.peer_address.clone(),
        }
    }
}

/// Every serving node that says where it is reached.
fn subjects<'a>(
    nodes: &'a BTreeMap<NodeName, Node>,
    registered: &'a BTreeMap<NodeName, Registered>,
) -> BTreeMap<&'a NodeName, Subject<'a>> {
    let mut subjects = BTreeMap::new();
    for (name, Registered { region, document, .. }) in registered.iter().filter(|(_, node)| !node.document.dns_only) {
        let Some(address) = document.public_addresses.first() else { continue };
        subjects.insert(name, Subject { region, address, peer_address: &document.peer_address, is_missing: true });
    }
    for (name, node) in nodes.iter().filter(|(_, node)| node.serves()) {
        let Node { region, identity, .. } = node;
        let is_missing = node.age().is_none_or(|age| age >= MISSING);
        match identity.public_addresses.first() {
            Some(address) => {
                subjects.insert(name, Subject { region, address, peer_address: &identity.peer_address, is_missing })
            }
            // What the store says of it is older.
            None => subjects.remove(name),
        };
    }
    subjects
}

#[cfg(test)]
mod tests {
    use meridian_proto::node::v1::{Beat, NodeIdentity, Role};

    use super::*;
    use crate::fleet::Asks;
    use crate::view::View;

    /// Of each region a node has at most its own vantages and so many times its even part of the observers' duties.
    const UNEVEN: usize = 3;

    fn join(fleet: &Fleet, region: &str, name: &str, role: Role) {
        let identity = NodeIdentity {
            node: name.to_owned(),
            region: region.to_owned(),
            public_addresses: vec!["192.0.2.1:80".to_owned()],
            peer_address: "192.0.2.1:81".to_owned(),
            role: role.into(),
            ..NodeIdentity::default()
        };
        let (name, session) = fleet.open_pulse(identity, Asks::new().0).unwrap();
        assert!(fleet.beat(&name, session, Beat::default(), &View::default()).unwrap());
    }

    /// A fleet of so many serving nodes, and so many that only answer DNS, in each region: `us-0`, `us-dns-0`.
    fn fleet(regions: &[(&str, usize, usize)]) -> Fleet {
        let fleet = Fleet::new();
        for (region, serving, dns) in regions {
            (0..*serving).for_each(|n| join(&fleet, region, &format!("{region}-{n}"), Role::Node));
            (0..*dns).for_each(|n| join(&fleet, region, &format!("{region}-dns-{n}"), Role::Dns));
        }
        fleet
    }

    fn region_of(name: &str) -> &str {
        name.split('-').next().unwrap()
    }

    /// Names of the peers of each node.
    fn drawn(fleet: &Fleet) -> BTreeMap<String, BTreeSet<String>> {
        let duties = draw(&fleet.nodes(), &BTreeMap::new());
        let names = |peers: Arc<Vec<Peer>>| peers.iter().map(|peer| peer.node.clone()).collect();
        duties.into_iter().map(|(name, peers)| (name.to_string(), names(peers))).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn every_node_is_watched_from_every_region_and_every_node_watches_each_other_region() {
        for regions in [
            &[("us", 6, 0), ("eu", 6, 0), ("ap", 6, 0)][..],
            &[("us", 3, 0), ("eu", 3, 0), ("ap", 3, 0)],
            &[("us", 3, 2), ("eu", 3, 1), ("ap", 3, 0)],
            &[("us", 6, 0), ("eu", 1, 0)],
            &[("us", 1, 1), ("eu", 6, 0)],
            &[("us", 1, 0), ("eu", 1, 0), ("ap", 1, 0), ("in", 0, 2)],
            &[("us", 20, 5), ("eu", 20, 0), ("ap", 3, 0), ("sa", 1, 0)],
        ] {
            let size = |of: &str| regions.iter().find(|(region, ..)| *region == of).unwrap().1;
            let drawn = drawn(&fleet(regions));
            for (observer, peers) in &drawn {
                let (own, serves) = (region_of(observer), !observer.contains("dns"));
                assert!(!peers.contains(observer) && peers.iter().all(|peer| !peer.contains("dns")), "{regions:?}");
                let even = |region: &str| {
                    let observers = if region == own { NEIGHBOURS } else { OUTSIDERS };
                    (observers * size(region)).div_ceil(size(own).max(1))
                };
                let bound: usize = regions.iter().map(|(region, ..)| VANTAGES + UNEVEN * even(region)).sum();
                assert!(peers.len() <= bound, "{observer} has {} peers, above {bound}: {regions:?}", peers.len());
                for (region, ..) in regions.iter().filter(|(region, ..)| !serves || *region != own) {
                    let count = peers.iter().filter(|peer| region_of(peer) == *region).count();
                    assert!(
                        count >= VANTAGES.min(size(region)),
                        "{observer} looks at {count} of {region}: {regions:?}"
                    );
                    if !serves {
                        assert_eq!(count, VANTAGES.min(size(region)), "{observer} at {region}: {regions:?}");
                    }
                }
            }
            for (subject, from) in drawn.keys().flat_map(|name| regions.iter().map(move |(region, ..)| (name, *region)))
            {
                if subject.contains("dns") {
                    continue;
                }
                let looks = |(name, peers): &(&String, &BTreeSet<String>)| {
                    region_of(name) == from && !name.contains("dns") && peers.contains(subject)
                };
                let (count, size) = (drawn.iter().filter(looks).count(), size(from));
                if region_of(subject) == from {
                    assert_eq!(count, NEIGHBOURS.min(size - 1), "{subject} from {from}: {regions:?}");
                } else {
                    assert!(count >= OUTSIDERS.min(size), "{subject} from {from}: {count}: {regions:?}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_comes_or_only_answers_dns_moves_little() {
        let regions = [("us", 20, 0), ("eu", 20, 0), ("ap", 20, 0)];
        let fleet = fleet(&regions);
        let before = drawn(&fleet);
        join(&fleet, "us", "us-dns-0", Role::Dns);
        let mut after = drawn(&fleet);
        assert_eq!(after.remove("us-dns-0").unwrap().len(), regions.len() * VANTAGES);
        assert_eq!(before, after, "it takes nobody's place");
        join(&fleet, "us", "us-20", Role::Node);
        let after = drawn(&fleet);
        let moved: usize = before.iter().map(|(name, peers)| peers.symmetric_difference(&after[name]).count()).sum();
        let all: usize = before.values().map(BTreeSet::len).sum();
        // It is one of 61: those who look at it now, and those who need not look at others any more.
        assert!(moved * 10 < all, "{moved} of {all} moved");
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_for_a_region_is_what_was_heard_of_late() {
        let fleet = fleet(&[("us", 1, 0)]);
        (0..20).for_each(|n| join(&fleet, "eu", &format!("eu-{n}"), Role::Node));
        tokio::time::advance(MISSING).await;
        join(&fleet, "eu", "eu-living", Role::Node);
        join(&fleet, "ap", "ap-dns-0", Role::Dns);
        let seen = &drawn(&fleet)["ap-dns-0"];
        assert!(seen.contains("eu-living"), "{seen:?}");
        assert_eq!(seen.iter().filter(|name| region_of(name) == "eu").count(), VANTAGES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_is_told_with_its_addresses() {
        let duties = draw(&fleet(&[("us", 1, 0), ("eu", 1, 0)]).nodes(), &BTreeMap::new());
        let peers = &duties[&NodeName::new("us-0").unwrap()];
        let expected = Peer {
            node: "eu-0".to_owned(),
            region: "eu".to_owned(),
            address: "192.0.2.1:80".to_owned(),
            peer_address: "192.0.2.1:81".to_owned(),
        };
        assert_eq!(**peers, [expected]);
    }
}
