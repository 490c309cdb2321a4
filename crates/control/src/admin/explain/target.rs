//! An upstream target, or all targets of a provider, as every node sees them.

use std::collections::BTreeMap;

use meridian_types::LatencySketch;
use tonic::Status;

use super::{history, quantiles};
use crate::admin::listed;
use crate::lead::time;
use crate::scope::Scope;
use crate::shared::Shared;
use crate::view::View;
use crate::{faults, switches};

pub(super) fn target(shared: &Shared, name: &str) -> Result<Vec<String>, Status> {
    let (provider, model) = name.split_once(':').map_or((name, None), |(provider, model)| (provider, Some(model)));
    let view = shared.mirror.view();
    let asked = Scope::everywhere(provider, model);
    // What operators did first, for it explains the rest; then the verdicts: they are what one came for.
    let off = switches::holding(&view.switches.switches, shared.now_unix_ms());
    let off = off.filter(|switch| switches::scope(switch).meets(asked));
    let mut lines: Vec<String> = off
        .map(|switch| format!("SWITCHED OFF since {}: {}", time(switch.made_at_unix_ms), switches::text(switch)))
        .collect();
    lines.extend(verdicts(&view, |held, of| held == provider && model.is_none_or(|model| of == model)));
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
    for fault in faults::holding(&view.faults.faults, shared.now_unix_ms()) {
        if fault.spec.as_ref().is_none_or(|spec| Scope::from(spec).meets(asked)) {
            lines.push(format!("INJECTED fault {}: {}", fault.id, faults::text(fault)));
        }
    }
    history(shared, name, &mut lines);
    Ok(lines)
}

/// What is concluded of each target, and what each region finds.
fn verdicts(view: &View, is_asked: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let mut targets: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for (region, summary) in &view.summaries {
        for target in summary.targets.iter().filter(|target| is_asked(&target.provider, &target.model)) {
            let found = targets.entry((&target.provider, &target.model)).or_default();
            found.extend(target.finding.as_ref().map(|finding| {
                let verdict = if finding.down { "DOWN" } else { "up" };
                format!("from {region}: {verdict} since {}: {}", time(finding.since_unix_ms), finding.evidence)
            }));
        }
    }
    let tell = |((provider, model), found): ((&str, &str), Vec<String>)| {
        let mut outages = view.outages.list.iter();
        let verdict = match outages.find(|outage| outage.provider == provider && outage.model == model) {
            Some(outage) => {
                let since = time(outage.since_unix_ms);
                let text = outage.text.strip_prefix("down").unwrap_or(&outage.text);
                format!("DOWN{text}; since {since}")
            }
            None if found.is_empty() => "unknown: nobody has asked it of late".to_owned(),
            None => "up wherever it was asked of late".to_owned(),
        };
        std::iter::once(format!("{provider}:{model} is {verdict}")).chain(found)
    };
    targets.into_iter().flat_map(tell).collect()
}
