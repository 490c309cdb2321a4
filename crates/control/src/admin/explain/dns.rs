//! Asks a node why it would answer as it does.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use meridian_proto::admin::v1 as admin;
use meridian_proto::node::v1::{self as node, query};
use meridian_types::{DomainName, NodeName};
use tonic::Status;

use crate::admin::listed;
use crate::fleet::AskError;
use crate::shared::Shared;

/// An answer is computed in memory; the rest is the way to another continent and back.
const LIMIT: Duration = Duration::from_secs(3);

/// Over the sync stream of the named node, or of any.
pub(in crate::admin) async fn dns(
    shared: &Shared,
    request: admin::ExplainDnsRequest,
) -> Result<admin::ExplainDnsResponse, Status> {
    check(&request)?;
    let Some((name, asks)) = shared.fleet.asks(&request.node) else {
        return Err(elsewhere(shared, &request.node));
    };
    let question = query::Question::ExplainDns(node::ExplainDns { name: request.name, from: request.from });
    match asks.ask(question, LIMIT).await {
        Ok(explanation) => Ok(admin::ExplainDnsResponse { node: name.to_string(), lines: explanation.lines }),
        Err(error @ AskError::Refused(_)) => Err(Status::failed_precondition(error.to_string())),
        Err(error @ AskError::Late(_)) => Err(Status::deadline_exceeded(error.to_string())),
        Err(error @ AskError::Full) => Err(Status::resource_exhausted(error.to_string())),
        Err(error @ AskError::Gone) => Err(Status::unavailable(error.to_string())),
    }
}

/// A node would explain nothing of it.
fn check(request: &admin::ExplainDnsRequest) -> Result<(), Status> {
    let admin::ExplainDnsRequest { name, from, .. } = request;
    DomainName::new(name).map_err(|error| Status::invalid_argument(error.to_string()))?;
    if from.parse::<IpAddr>().is_err() && from.parse::<IpNet>().is_err() {
        let text = format!("{from:?} is neither an address nor a prefix such as 203.0.113.0/24");
        return Err(Status::invalid_argument(text));
    }
    Ok(())
}

/// A node is asked over its sync stream, which it has to one replica only, and pulses to all: says where to go.
fn elsewhere(shared: &Shared, name: &str) -> Status {
    let view = shared.mirror.view();
    let live = shared.fleet.nodes();
    let is_known = |node: &NodeName| node.as_str() == name;
    if !name.is_empty() && !view.nodes.keys().chain(live.keys()).any(is_known) {
        let known = view.nodes.keys().chain(live.keys()).map(NodeName::as_str);
        return Status::not_found(format!("there is no node {name}; there are: {}", listed(known)));
    }
    let who = if name.is_empty() { "no node takes" } else { &format!("{name} does not take") };
    let others = view.replicas.values().filter(|replica| replica.replica != shared.replica);
    let others: Vec<String> = others.map(|other| format!("{} at {}", other.replica, other.address)).collect();
    Status::unavailable(format!(
        "{who} its configuration from this replica ({}), so another one has to ask it; others: {}",
        shared.replica,
        listed(others.iter().map(String::as_str))
    ))
}
