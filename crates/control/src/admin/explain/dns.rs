//! Asks a node why it would answer as it does.

use std::net::IpAddr;

use ipnet::IpNet;
use meridian_proto::admin::v1 as admin;
use meridian_proto::node::v1::{self as node, query, reply};
use meridian_types::DomainName;
use tokio::time::Instant;
use tonic::Status;

use super::ask::{LIMIT, refused, unreachable};
use crate::fleet::AskError;
use crate::shared::Shared;

/// Over the pulse of the named node, or of the first that answers DNS.
pub(in crate::admin) async fn dns(
    shared: &Shared,
    request: admin::ExplainDnsRequest,
) -> Result<admin::ExplainDnsResponse, Status> {
    check(&request)?;
    let asks = shared.fleet.asks(&request.node);
    let question = node::ExplainDns { name: request.name, from: request.from };
    let end = Instant::now() + LIMIT;
    let mut last = unreachable(shared, &request.node);
    for (name, asks) in asks {
        let question = query::Question::ExplainDns(question.clone());
        let left = end.saturating_duration_since(Instant::now());
        last = match asks.ask(question, left).await {
            Ok(reply::Answer::Explanation(explanation)) => {
                return Ok(admin::ExplainDnsResponse { node: name.to_string(), lines: explanation.lines });
            }
            Ok(_) => Status::internal(format!("{name} answered another question")),
            // It answers no DNS; of several the next may.
            Err(error @ AskError::Refused(_)) => refused(&name, &error),
            Err(error) => return Err(refused(&name, &error)),
        };
    }
    Err(last)
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
