//! Questions to nodes, and what it means when no answer comes.

use std::time::Duration;

use meridian_types::NodeName;
use tonic::Status;

use crate::admin::listed;
use crate::fleet::AskError;
use crate::shared::Shared;

/// An answer is computed in memory; the rest is the way to another continent and back.
pub(super) const LIMIT: Duration = Duration::from_secs(3);

/// For an operator.
pub(super) fn refused(node: &NodeName, error: &AskError) -> Status {
    let text = format!("{node}: {error}");
    match error {
        AskError::Refused(_) => Status::failed_precondition(text),
        AskError::Late(_) => Status::deadline_exceeded(text),
        AskError::Full => Status::resource_exhausted(text),
        AskError::Gone => Status::unavailable(text),
    }
}

/// No node of that name (of any, if it is empty) pulses to this replica.
pub(super) fn unreachable(shared: &Shared, name: &str) -> Status {
    let view = shared.mirror.view();
    let live = shared.fleet.nodes();
    let is_known = |node: &NodeName| node.as_str() == name;
    if !name.is_empty() && !view.nodes.keys().chain(live.keys()).any(is_known) {
        let known = view.nodes.keys().chain(live.keys()).map(NodeName::as_str);
        return Status::not_found(format!("there is no node {name}; there are: {}", listed(known)));
    }
    let who = if name.is_empty() { "no node pulses" } else { &format!("{name} does not pulse") };
    Status::unavailable(format!(
        "{who} to this replica ({}), so it cannot be asked; `fleet` says since when",
        shared.replica
    ))
}
