//! A region, and its weight.

use std::sync::Arc;

use meridian_proto::fleet::v1::OverrideTerms;
use meridian_types::{RegionName, RegionPlan, Shares};
use tonic::Status;

use super::{configured, history, quantiles, seconds};
use crate::lead::{self, time};
use crate::planner::{RETURN, UTILISATION};
use crate::shared::Shared;
use crate::view::View;

/// State, evidence, nodes, override.
pub(super) fn region(shared: &Shared, view: &Arc<View>, name: &str) -> Result<Vec<String>, Status> {
    let (name, region) = configured(view, name)?;
    let now = shared.now_unix_ms();
    let mut lines = Vec::new();
    match view.summaries.get(name) {
        Some(summary) => {
            let state = plan_of(view, name).map_or("not in a plan yet", |plan| plan.state.as_str());
            let since = time(summary.since_unix_ms);
            lines.push(format!("{name} is {state}, as judged since {since}: {}", summary.evidence));
            let age = seconds(now.saturating_sub(summary.written_at_unix_ms));
            lines.push(format!("the leader wrote so {age} ago"));
            for node in &summary.nodes {
                let verdict = node.verdict().as_str_name().trim_start_matches("NODE_VERDICT_").to_lowercase();
                let since = time(node.since_unix_ms);
                lines.push(format!("node {} is {verdict} since {since}: {}", node.node, node.evidence));
            }
            let targets = summary.targets.iter().filter(|target| !target.healthy);
            lines.extend(
                targets.map(|target| {
                    format!("target {}:{} is out here: {}", target.provider, target.model, target.reason)
                }),
            );
        }
        None => lines.push(format!("no leader has judged {name} yet")),
    }
    let addresses: Vec<String> = region.addresses.iter().map(ToString::to_string).collect();
    let declared = if addresses.is_empty() { "those of its serving nodes".to_owned() } else { addresses.join(", ") };
    lines.push(format!(
        "declared: jurisdiction {}, weight {}, addresses: {declared}",
        region.jurisdiction, region.weight
    ));
    lines.push(overridden(view, name, now));
    lines.push(format!("first tokens of requests in the last minute: {}", quantiles(&shared.fleet.first_tokens(name))));
    if let Some(plan) = &view.plan {
        let id = plan.plan.id;
        if let Some(gone) = plan.plan.contingencies.get(name) {
            lines.push(format!("if it is gone, plan {id} has the weights {}", list(&gone.weights)));
        }
    }
    history(shared, name.as_str(), &mut lines);
    Ok(lines)
}

/// What the planner was told, what it made of it, and what moves.
pub(super) fn weight(shared: &Shared, view: &Arc<View>, name: &str) -> Result<Vec<String>, Status> {
    let (name, region) = configured(view, name)?;
    let now = shared.now_unix_ms();
    let mut lines = Vec::new();
    match (&view.plan, plan_of(view, name)) {
        (Some(published), Some(plan)) => {
            let id = published.plan.id;
            let made = seconds(now.saturating_sub(published.plan.made_at_unix_ms));
            lines.push(format!("{name} has weight {} of 1000 in plan {id}: {}", plan.weight, plan.reason));
            lines.push(format!(
                "plan {id} was made {made} ago by {}: {}",
                published.plan.made_by, published.plan.reason
            ));
            if plan.target_weight != plan.weight {
                lines.push(format!("it ramps: the weight moves to {}", plan.target_weight));
            }
            lines.push(format!("clients nearest to it go to {}", list(&plan.placement)));
            let others = published.plan.regions.iter().filter(|(other, _)| *other != name);
            for (other, row) in others {
                if let Some(share) = row.placement.get(name).filter(|share| **share > 0) {
                    lines.push(format!("of the clients nearest to {other} {share}/1000 come here"));
                }
            }
        }
        _ => lines.push(format!("no plan speaks of {name} yet")),
    }
    lines.push(format!("declared weight {}; {}", region.weight, overridden(view, name, now)));
    let inputs = lead::inputs(shared, view);
    if let Some(input) = inputs.regions.get(name) {
        let demand = input.demand.unwrap_or(0.0);
        let used = demand / f64::from(input.capacity.max(1)) * 100.0;
        lines.push(format!(
            "the planner is told now: {}, capacity {}, demand {demand:.1} ({used:.0} %; it spills above {:.0} % and \
             returns below {:.0} %)",
            input.state.as_str(),
            input.capacity,
            UTILISATION * 100.0,
            RETURN * 100.0
        ));
        let first_token = |ms: Option<f64>| ms.map_or("no recent request".to_owned(), |ms| format!("{ms:.0} ms"));
        let others: Vec<String> = inputs
            .regions
            .iter()
            .filter(|(other, _)| *other != name)
            .map(|(other, input)| format!("{other} {}", first_token(input.first_token_ms)))
            .collect();
        let own = first_token(input.first_token_ms);
        lines.push(format!("first token here: {own}; elsewhere: {}", others.join(", ")));
    }
    history(shared, name.as_str(), &mut lines);
    Ok(lines)
}

fn plan_of<'a>(view: &'a View, name: &RegionName) -> Option<&'a RegionPlan> {
    view.plan.as_ref().and_then(|published| published.plan.regions.get(name))
}

fn overridden(view: &View, name: &RegionName, now: i64) -> String {
    let held = view.overridden(name, now);
    let drained = held.drain.map(|terms| ("drained".to_owned(), terms));
    let weighed = held.weight.map(|(weight, terms)| (format!("weight {weight}"), terms));
    let tell = |(what, terms): (String, &OverrideTerms)| {
        let until = if terms.until_unix_ms == 0 { "removed".to_owned() } else { time(terms.until_unix_ms) };
        let reason = if terms.reason.is_empty() { "no reason given" } else { &terms.reason };
        format!("{what} by {} since {} until {until}: {reason}", terms.author, time(terms.made_at_unix_ms))
    };
    let told: Vec<String> = drained.into_iter().chain(weighed).map(tell).collect();
    if told.is_empty() { "no override".to_owned() } else { told.join("; ") }
}

fn list(shares: &Shares) -> String {
    let shares: Vec<String> = shares.iter().map(|(name, share)| format!("{name} {share}")).collect();
    shares.join(", ")
}
