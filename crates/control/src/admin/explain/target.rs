//! An upstream target, or all targets of a provider, as every node sees them.

use meridian_types::LatencySketch;
use tonic::Status;

use super::{history, quantiles};
use crate::admin::listed;
use crate::faults::{holding, text};
use crate::shared::Shared;

pub(super) fn target(shared: &Shared, name: &str) -> Result<Vec<String>, Status> {
    let (provider, model) = name.split_once(':').map_or((name, None), |(provider, model)| (provider, Some(model)));
    let mut lines = Vec::new();
    let mut known = std::collections::BTreeSet::new();
    for (node, live) in &shared.fleet.nodes() {
        for target in live.report.iter().flat_map(|(_, report)| &report.targets) {
            known.insert(format!("{}:{}", target.provider, target.model));
            if target.provider != provider || model.is_some_and(|model| target.model != model) {
                continue;
            }
            let failures: Vec<String> =
                target.failures.iter().map(|class| format!("{} {}", class.count, class.class)).collect();
            let state = if target.available { "a candidate".to_owned() } else { format!("OUT: {}", target.reason) };
            lines.push(format!(
                "{}:{} on {node} ({}): {state}; {} attempts, failures: {}, first token lately {:.0} ms, {} in flight",
                target.provider,
                target.model,
                live.region,
                target.attempts,
                if failures.is_empty() { "none".to_owned() } else { failures.join(", ") },
                target.first_token_ewma_ms,
                target.in_flight
            ));
        }
    }
    if lines.is_empty() {
        return Err(Status::not_found(format!(
            "no node reports a target {name}; there are: {}",
            listed(known.iter().map(String::as_str))
        )));
    }
    for ((provider, model), regions) in shared.fleet.first_tokens_of_targets(provider, model) {
        let mut all = LatencySketch::default();
        for (region, sketch) in &regions {
            all.merge(sketch);
            lines.push(format!(
                "{provider}:{model} first tokens of streams in {region} in the last minute: {}",
                quantiles(sketch)
            ));
        }
        if regions.len() > 1 {
            lines.push(format!(
                "{provider}:{model} first tokens of streams everywhere in the last minute: {}",
                quantiles(&all)
            ));
        }
    }
    let view = shared.mirror.view();
    for fault in holding(&view.faults.faults, shared.now_unix_ms()) {
        let spec = fault.spec.clone().unwrap_or_default();
        let other = |named: &str, own: &str| !named.is_empty() && named != own;
        if !other(&spec.provider, provider) && model.is_none_or(|model| !other(&spec.model, model)) {
            lines.push(format!("INJECTED fault {}: {}", fault.id, text(fault)));
        }
    }
    history(shared, name, &mut lines);
    Ok(lines)
}
