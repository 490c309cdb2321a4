//! Asks a node why it would answer as it does.

use std::time::Duration;

use meridian_proto::admin::v1 as admin;
use meridian_proto::node::v1::{self as node, query};
use tonic::Status;

use crate::fleet::AskError;
use crate::shared::Shared;

/// An answer is computed in memory; the rest is the way to another continent and back.
const LIMIT: Duration = Duration::from_secs(3);

/// Over the sync stream of the named node, or of any.
pub(in crate::admin) async fn dns(
    shared: &Shared,
    request: admin::ExplainDnsRequest,
) -> Result<admin::ExplainDnsResponse, Status> {
    let Some((name, asks)) = shared.fleet.asks(&request.node) else {
        let what = if request.node.is_empty() { "no node".to_owned() } else { format!("node {} not", request.node) };
        return Err(Status::unavailable(format!("{what} connected to this replica ({})", shared.replica)));
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
