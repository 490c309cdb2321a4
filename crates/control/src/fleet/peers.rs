//! Who probes whom: every serving node is watched by a few of its own region and by some of every other region.

use std::collections::BTreeMap;
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
/// be dead, and somebody has to find that out. Observers are drawn by rendezvous hashing: a node that comes or goes
/// moves only its own duties.
fn draw(
    nodes: &BTreeMap<NodeName, Node>,
    registered: &BTreeMap<NodeName, Registered>,
) -> BTreeMap<NodeName, Arc<Vec<Peer>>> {
    let mut subjects: BTreeMap<&NodeName, (&RegionName, Option<&String>, &String)> = BTreeMap::new();
    for (name, node) in registered.iter().filter(|(_, node)| !node.document.dns_only) {
        let Registered { region, document, .. } = node;
        subjects.insert(name, (region, document.public_addresses.first(), &document.peer_address));
    }
    for (name, node) in nodes.iter().filter(|(_, node)| node.serves()) {
        let Node { region, identity, .. } = node;
        subjects.insert(name, (region, identity.public_addresses.first(), &identity.peer_address));
    }
    let mut observers: BTreeMap<&RegionName, Vec<&NodeName>> = BTreeMap::new();
    for (name, node) in nodes.iter().filter(|(_, node)| node.serves() && node.is_connected()) {
        observers.entry(&node.region).or_default().push(name);
    }
    let mut duties: BTreeMap<NodeName, Vec<Peer>> = nodes.keys().map(|name| (name.clone(), Vec::new())).collect();
    for (subject, (region, address, peer_address)) in subjects {
        let Some(address) = address else { continue };
        for (place, names) in &observers {
            let rank = |name: &NodeName| Digest::of_parts([subject.as_str().as_bytes(), name.as_str().as_bytes()]);
            let others = names.iter().filter(|name| **name != subject);
            let mut ranked: Vec<(Digest, &NodeName)> = others.map(|name| (rank(name), *name)).collect();
            ranked.sort();
            let limit = if *place == region { NEIGHBOURS } else { OUTSIDERS };
            for (_, observer) in ranked.into_iter().take(limit) {
                duties.entry(observer.clone()).or_default().push(Peer {
                    node: subject.to_string(),
                    region: region.to_string(),
                    address: address.clone(),
                    peer_address: peer_address.clone(),
                });
            }
        }
    }
    duties.into_iter().map(|(name, peers)| (name, Arc::new(peers))).collect()
}

#[cfg(test)]
mod tests {
    use meridian_proto::node::v1::{Beat, NodeIdentity};

    use super::*;
    use crate::fleet::Asks;
    use crate::view::View;

    #[tokio::test(start_paused = true)]
    async fn every_node_is_watched_from_its_own_region_and_twice_from_every_other_one() {
        let fleet = Fleet::new();
        for (region, node) in ["us", "eu", "ap"].iter().flat_map(|region| (0..6).map(move |node| (region, node))) {
            let identity = NodeIdentity {
                node: format!("{region}-{node}"),
                region: (*region).to_owned(),
                public_addresses: vec!["192.0.2.1:80".to_owned()],
                peer_address: "192.0.2.1:81".to_owned(),
                ..NodeIdentity::default()
            };
            let (name, session) = fleet.open_pulse(identity, Asks::new().0).unwrap();
            assert!(fleet.beat(&name, session, Beat::default(), &View::default()).unwrap());
        }
        let duties = draw(&fleet.nodes(), &BTreeMap::new());
        let mut watched: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (observer, peers) in &duties {
            for peer in peers.iter() {
                assert_ne!(peer.node, observer.as_str());
                assert_eq!(peer.peer_address, "192.0.2.1:81");
                let from = observer.as_str()[..2].to_owned();
                *watched.entry((peer.node.clone(), from)).or_default() += 1;
            }
        }
        assert_eq!(watched.len(), 18 * 3);
        for ((subject, from), count) in watched {
            assert_eq!(count, if subject.starts_with(&from) { NEIGHBOURS } else { OUTSIDERS }, "{subject} from {from}");
        }
    }
}
