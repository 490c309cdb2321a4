//! Why things are as they are: verdicts with their evidence, plan inputs, overrides, since when. One line a fact.

mod ask;
mod dns;
mod node;
mod region;
mod request;
mod target;

use std::sync::Arc;

use meridian_proto::admin::v1::{self as admin, explain_request::Subject};
use meridian_types::LatencySketch;
use tonic::Status;

pub(super) use dns::dns;
pub(super) use request::request;

use crate::admin::listed;
use crate::lead::time;
use crate::shared::Shared;
use crate::view::View;

/// Events told about one thing: the newest.
const EVENTS: usize = 5;

/// Answers from what this replica knows.
pub(super) fn explain(shared: &Shared, request: &admin::ExplainRequest) -> Result<admin::ExplainResponse, Status> {
    let view = shared.mirror.view();
    let lines = match &request.subject {
        Some(Subject::Region(name)) => region::region(shared, &view, name)?,
        Some(Subject::Weight(name)) => region::weight(shared, &view, name)?,
        Some(Subject::Node(name)) => node::node(shared, &view, name)?,
        Some(Subject::Target(name)) => target::target(shared, name)?,
        None => return Err(Status::invalid_argument("subject must be one of region, node, target, weight")),
    };
    Ok(admin::ExplainResponse { replica: shared.replica.clone(), lines })
}

/// The newest events about a subject, and a word of how old this replica's knowledge is.
fn history(shared: &Shared, subject: &str, lines: &mut Vec<String>) {
    let events = shared.mirror.events.about(subject);
    for event in events.iter().rev().take(EVENTS) {
        lines.push(format!("at {}: {}", time(event.at_unix_ms), event.text));
    }
    if let Some(trouble) = shared.mirror.status.read_only() {
        lines.push(format!("this replica's view of the store may be old: {trouble}"));
    }
}

/// `2.0 s`.
fn seconds(ms: i64) -> String {
    // Ages of things that happened, far below the 2^52 ms that a double counts exactly.
    format!("{:.1} s", ms as f64 / 1000.0)
}

/// `p50 82 ms, p99 140 ms of 532`.
fn quantiles(sketch: &LatencySketch) -> String {
    match (sketch.quantile_ms(0.5), sketch.quantile_ms(0.99)) {
        (Some(p50), Some(p99)) => format!("p50 {p50:.0} ms, p99 {p99:.0} ms of {}", sketch.count()),
        _ => "none".to_owned(),
    }
}

fn configured<'a>(
    view: &'a Arc<View>,
    name: &str,
) -> Result<(&'a meridian_types::RegionName, &'a meridian_types::Region), Status> {
    let regions = view.head.as_ref().map(|head| &head.configuration.regions);
    let found = regions.and_then(|regions| regions.iter().find(|(region, _)| region.as_str() == name));
    found.ok_or_else(|| {
        let known = regions.into_iter().flatten().map(|(region, _)| region.as_str());
        Status::not_found(format!("there is no region {name}; there are: {}", listed(known)))
    })
}
