//! Who probes whom: every serving node is watched by a few of its own region and by some of every other region.

use std::collections::BTreeMap;

use meridian_proto::node::v1::Peer;
use meridian_types::{Digest, NodeName, RegionName};

use super::Node;
use crate::view::Registered;

/// Observers of a node in its own region.
const NEIGHBOURS: usize = 3;
/// Observers of a node in each other region: two, so that one sick observer is not a region's only voice.
const OUTSIDERS: usize = 2;

/// What `observer` has to probe: nodes that pulse here, and those that only the store knows (they may be dead, and
/// somebody has to find that out). Observers are drawn by rendezvous hashing: a node that comes or goes moves only its
/// own duties.
pub(crate) fn peers_of(
    observer: &NodeName,
    nodes: &BTreeMap<NodeName, Node>,
    registered: &BTreeMap<NodeName, Registered>,
) -> Vec<Peer> {
    let Some(own) = nodes.get(observer) else { return Vec::new() };
    let mut subjects: BTreeMap<&NodeName, (&RegionName, Option<&String>)> = BTreeMap::new();
    for (name, node) in registered.iter().filter(|(_, node)| !node.document.dns_only) {
        subjects.insert(name, (&node.region, node.document.public_addresses.first()));
    }
    for (name, node) in nodes.iter().filter(|(_, node)| node.serves()) {
        subjects.insert(name, (&node.region, node.identity.public_addresses.first()));
    }
    let watches = |(subject, (region, address)): (&NodeName, (&RegionName, Option<&String>))| -> Option<Peer> {
        let address = address.filter(|_| subject != observer)?;
        // The asker counts as living: it is asking.
        let may_watch = |(name, node): &(&NodeName, &Node)| {
            *name != subject && node.region == own.region && node.serves() && (node.is_connected() || *name == observer)
        };
        let rank = |name: &NodeName| Digest::of_parts([subject.as_str().as_bytes(), name.as_str().as_bytes()]);
        let mut ranked: Vec<_> = nodes.iter().filter(may_watch).map(|(name, _)| (rank(name), name)).collect();
        ranked.sort();
        let limit = if *region == own.region { NEIGHBOURS } else { OUTSIDERS };
        let chosen = ranked.iter().take(limit).any(|(_, name)| *name == observer);
        chosen.then(|| Peer { node: subject.to_string(), region: region.to_string(), address: address.clone() })
    };
    subjects.into_iter().filter_map(watches).collect()
}
