//! Evidence about every node that this replica knows, from its streams or from the store.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_health::{Held, NodeEvidence, NodeVerdict, Verdicts};
use meridian_proto::fleet::v1 as wire;
use meridian_types::NodeName;

use crate::fleet::{Fleet, Node};
use crate::view::View;

/// What is known now.
pub(super) fn gather(view: &View, fleet: &Fleet, live: &BTreeMap<NodeName, Node>) -> BTreeMap<NodeName, NodeEvidence> {
    let mut evidence = BTreeMap::new();
    for (name, registered) in &view.nodes {
        let only_stored = NodeEvidence {
            region: registered.region.clone(),
            serves: !registered.document.dns_only,
            own: None,
            pulse: fleet.never(),
            lag: Duration::ZERO,
            observations: Vec::new(),
        };
        evidence.insert(name.clone(), only_stored);
    }
    // A node that has only opened a stream has said nothing yet.
    for (name, node) in live.iter().filter(|(_, node)| node.last_beat.is_some()) {
        evidence.insert(name.clone(), node.evidence(fleet.never()));
    }
    evidence
}

/// The verdicts that the store holds: what a leader starts from.
pub(super) fn stored(view: &View) -> Verdicts {
    let nodes = view.summaries.values().flat_map(|summary| &summary.nodes);
    nodes
        .filter_map(|node| {
            let verdict = match node.verdict() {
                wire::NodeVerdict::Serving => NodeVerdict::Serving,
                wire::NodeVerdict::Draining => NodeVerdict::Draining,
                wire::NodeVerdict::Unreachable => NodeVerdict::Unreachable,
                wire::NodeVerdict::Down => NodeVerdict::Down,
                wire::NodeVerdict::Unspecified => return None,
            };
            let name = NodeName::new(&node.node).ok()?;
            Some((name, Held::stored(verdict, node.since_unix_ms, node.evidence.clone())))
        })
        .collect()
}
