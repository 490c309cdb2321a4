//! What became of a client's request: asked of the node that its id names and of those it was handed
//! over to, or of all.

use std::collections::BTreeSet;

use futures::future::join_all;
use meridian_proto::admin::v1 as admin;
use meridian_proto::node::v1::{self as node, query, reply};
use meridian_types::NodeName;
use tonic::Status;

use super::ask::{LIMIT, refused, unreachable};
use crate::fleet::{AskError, Asks};
use crate::lead::time;
use crate::shared::Shared;

/// Nodes asked for an id that names none: a whole fleet.
const MAX_ASKED: usize = 1000;
/// Nodes named in the answer that nobody knows it.
const MAX_NAMED: usize = 5;
/// Longest id that a node takes from a client.
const MAX_ID_BYTES: usize = 128;

/// Over the pulses, so that any replica can.
pub(in crate::admin) async fn request(
    shared: &Shared,
    request: admin::FindRequestRequest,
) -> Result<admin::FindRequestResponse, Status> {
    let id = request.request_id;
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(Status::invalid_argument(format!("request_id must have 1 to {MAX_ID_BYTES} bytes")));
    }
    let mut asks = shared.fleet.asks("");
    if let Some(named) = node_of(&id) {
        let is_named = |name: &NodeName| name.as_str() == named;
        if asks.iter().any(|(name, _)| is_named(name)) {
            asks.retain(|(name, _)| is_named(name));
        } else if shared.mirror.view().nodes.keys().any(is_named) {
            return Err(unreachable(shared, named));
        }
    }
    asks.truncate(MAX_ASKED);
    if asks.is_empty() {
        return Err(unreachable(shared, ""));
    }
    let asked: BTreeSet<NodeName> = asks.iter().map(|(name, _)| name.clone()).collect();
    let answers = ask_all(asks, &id).await;
    let mut records = Vec::new();
    let mut told = Vec::new();
    for (name, answer) in answers {
        match answer {
            Ok(found) => {
                told.push(kept(&name, &found));
                records.extend(found.records);
            }
            Err(error) => told.push(refused(&name, &error).message().to_owned()),
        }
    }
    if records.is_empty() {
        let more = told.len().saturating_sub(MAX_NAMED);
        told.truncate(MAX_NAMED);
        let more = if more == 0 { String::new() } else { format!("; and {more} more nodes") };
        return Err(Status::not_found(format!(
            "no request {id} is remembered: it has not ended yet, later ones took its place, or it never came ({}{more})",
            told.join("; ")
        )));
    }
    records.sort_by_key(|record| std::cmp::Reverse(record.began_unix_ms));
    // A node that it was handed over to has a story of its own, under the same id; it follows.
    let served = |name: &NodeName| {
        records.iter().flat_map(|record| &record.handovers).any(|handover| handover.node == name.as_str())
    };
    let mut others = shared.fleet.asks("");
    others.retain(|(name, _)| !asked.contains(name) && served(name));
    for (_, answer) in ask_all(others, &id).await {
        // One that does not answer takes nothing from what is known.
        records.extend(answer.map(|found| found.records).unwrap_or_default());
    }
    Ok(admin::FindRequestResponse { replica: shared.replica.clone(), records })
}

async fn ask_all(asks: Vec<(NodeName, Asks)>, id: &str) -> Vec<(NodeName, Result<node::FoundRequest, AskError>)> {
    join_all(asks.into_iter().map(|(name, asks)| ask(name, asks, id.to_owned()))).await
}

async fn ask(name: NodeName, asks: Asks, request_id: String) -> (NodeName, Result<node::FoundRequest, AskError>) {
    let question = query::Question::FindRequest(node::FindRequest { request_id });
    let answer = asks.ask(question, LIMIT).await.and_then(|answer| match answer {
        reply::Answer::FoundRequest(found) => Ok(found),
        _ => Err(AskError::Refused("an answer to another question".to_owned())),
    });
    (name, answer)
}

fn kept(name: &NodeName, found: &node::FoundRequest) -> String {
    match found.remembered {
        0 => format!("{name} remembers none"),
        count => format!("{name} remembers the last {count}, since {}", time(found.oldest_unix_ms)),
    }
}

/// Ids that nodes make are `<region>_<node>_<16 hexadecimal digits>`.
fn node_of(id: &str) -> Option<&str> {
    let mut parts = id.split('_');
    let (_, node, digits) = (parts.next()?, parts.next()?, parts.next()?);
    let is_ours = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()) && parts.next().is_none();
    is_ours.then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_a_node_made_names_it() {
        assert_eq!(node_of("eu-west_eu-west-1_0123456789abcdef"), Some("eu-west-1"));
        for other in ["", "a_b_c", "a_b_0123456789abcdef_d", "7c9e6679-7425-40de-944b-e07fc1f90ae7"] {
            assert_eq!(node_of(other), None, "{other}");
        }
    }
}
