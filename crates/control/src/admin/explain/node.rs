//! A node: its verdict, what it says, what others see of it.

use std::sync::Arc;

use meridian_proto::node::v1::ServingState;
use meridian_types::NodeName;
use tonic::Status;

use super::{history, seconds};
use crate::admin::listed;
use crate::fleet::Node;
use crate::lead::time;
use crate::rollout::name;
use crate::shared::Shared;
use crate::view::View;

pub(super) fn node(shared: &Shared, view: &Arc<View>, name: &str) -> Result<Vec<String>, Status> {
    let live = shared.fleet.nodes();
    let found = live.get(name);
    let registered = view.nodes.iter().find(|(node, _)| node.as_str() == name);
    if found.is_none() && registered.is_none() {
        let known = view.nodes.keys().chain(live.keys()).map(NodeName::as_str);
        return Err(Status::not_found(format!("there is no node {name}; there are: {}", listed(known))));
    }
    let mut lines = Vec::new();
    let held = view.summaries.values().flat_map(|summary| &summary.nodes).find(|node| node.node == name);
    match held {
        Some(held) => {
            let verdict = held.verdict().as_str_name().trim_start_matches("NODE_VERDICT_").to_lowercase();
            lines.push(format!("{name} is {verdict} since {}: {}", time(held.since_unix_ms), held.evidence));
        }
        None => lines.push(format!("no leader has judged {name} yet")),
    }
    if let Some((_, registered)) = registered {
        let document = &registered.document;
        lines.push(format!(
            "registered in region {}, cell {}, first seen {}",
            document.region,
            document.cell,
            time(document.first_seen_unix_ms)
        ));
    }
    match found {
        Some(node) => says(view, node, &mut lines),
        None => lines.push(format!("it never pulsed to this replica ({})", shared.replica)),
    }
    for divergence in found.map(Node::divergences).unwrap_or_default() {
        lines.push(format!("it DIFFERS from what it should serve: {divergence}"));
    }
    lines.extend(found.map(Node::notes).unwrap_or_default());
    lines.extend(seen(&live, name));
    history(shared, name, &mut lines);
    Ok(lines)
}

fn says(view: &View, node: &Node, lines: &mut Vec<String>) {
    let age = node.age().map_or_else(|| "no beat yet".to_owned(), |age| format!("{:.1} s ago", age.as_secs_f64()));
    let state = match node.state {
        ServingState::Serving => "serving",
        ServingState::Overloaded => "overloaded",
        ServingState::Draining => "draining",
        ServingState::Starting => "starting",
        ServingState::Unspecified => "nothing yet",
    };
    lines.push(format!(
        "it says {state} (last pulse {age}), {} of {} in flight",
        node.in_flight, node.identity.max_in_flight
    ));
    lines.push(format!("it serves commit {} (head is {}) under plan {}", node.commit, view.head_id(), node.plan));
    let cell = node.cell();
    if let Some(target) = view.target(cell.as_ref()).filter(|target| target.id != view.head_id()) {
        let rollout = view.rollout().map(|rollout| &rollout.document);
        let why = rollout.map_or_else(String::new, |rollout| format!("{}: {}", name(rollout.state()), rollout.reason));
        lines.push(format!("its cell is to run commit {}: the rollout of the head is {why}", target.id));
    }
    if let Some((commit, faults)) = &node.refused {
        let text = faults.first().map_or("", |fault| fault.text.as_str());
        lines.push(format!("it refused commit {commit} with {} faults, first: {text}", faults.len()));
    }
}

/// What every observer's probe last saw, and what became of requests that it handed over.
fn seen<'a>(live: &'a std::collections::BTreeMap<NodeName, Node>, name: &'a str) -> impl Iterator<Item = String> + 'a {
    live.iter().flat_map(move |(observer, node)| {
        let observations = node.report.iter().flat_map(|(at, report)| {
            let since = i64::try_from(at.elapsed().as_millis()).unwrap_or(i64::MAX);
            report.observations.iter().map(move |seen| (since, seen))
        });
        let about = observations.filter(move |(_, seen)| seen.node == name && seen.streak > 0);
        about.map(move |(since, seen)| {
            let age = seconds(since.saturating_add(i64::from(seen.age_ms)));
            let what =
                if seen.reachable { "reaches it".to_owned() } else { format!("cannot reach it ({})", seen.detail) };
            let handed = seen.handed.map_or_else(String::new, |last| {
                let age = seconds(since.saturating_add(i64::from(last.age_ms)));
                let what = if last.taken { "taken" } else { "lost" };
                format!("; requests handed over were {what}, {} in a row, last {age} ago", last.streak)
            });
            format!("{observer} in {} {what}, {} times in a row, last {age} ago{handed}", node.region, seen.streak)
        })
    })
}
