//! `fleet`: what an operator looks at when something is wrong.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use meridian_proto::admin::v1::{Fleet, FleetNode, FleetRegion, GetFleetRequest, WatchFleetRequest};
use meridian_proto::fleet::v1::{NodeVerdict, OverrideTerms, RegionState};
use meridian_proto::node::v1::{Role, ServingState};

use super::switch;
use crate::cli::OutputFormat;
use crate::connection::Connection;
use crate::failure::Usage;
use crate::format::{age, date, table};
use crate::output;

/// Clears a terminal and goes to its first line (ECMA-48: ED 2, CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const PLAIN: &str = "\x1b[0m";
/// Words that ask for attention, and how much.
const LOUD: [(&str, &str); 10] = [
    ("DOWN", RED),
    ("NEVER SEEN", RED),
    ("DIFFERS", RED),
    ("READ-ONLY", RED),
    ("TARGET", RED),
    ("SWITCHED OFF", YELLOW),
    ("ROLLOUT", YELLOW),
    ("DRAINED", YELLOW),
    ("DRAINING", YELLOW),
    ("UNREACHABLE", YELLOW),
];

#[derive(Debug, Args)]
pub(crate) struct FleetArgs {
    /// `table` or `json`.
    #[arg(short = 'o', long, value_enum, default_value = "table")]
    output: OutputFormat,
    /// Follow: print again whenever it changed.
    #[arg(long)]
    watch: bool,
    /// With --watch, at least this long between two.
    #[arg(long, value_name = "DURATION", default_value = "1s", requires = "watch", value_parser = humantime::parse_duration)]
    interval: Duration,
}

pub(crate) async fn fleet(connection: &Connection, args: &FleetArgs) -> anyhow::Result<()> {
    if args.output == OutputFormat::Yaml {
        return Err(Usage("the fleet is shown as table or json".to_owned()).into());
    }
    if !args.watch {
        let fleet = connection.read(async |mut client| client.get_fleet(GetFleetRequest {}).await).await?;
        output::print(&render(&fleet, args.output)?)?;
        return Ok(());
    }
    let interval_ms = u32::try_from(args.interval.as_millis()).unwrap_or(u32::MAX);
    let request = WatchFleetRequest { interval_ms };
    let mut fleets = connection.read(async |mut client| client.watch_fleet(request).await).await?;
    while let Some(fleet) = fleets.message().await.map_err(|status| connection.refused(&status))? {
        let mut text = render(&fleet, args.output)?;
        if args.output == OutputFormat::Table {
            text = if output::is_terminal() { format!("{CLEAR}{text}") } else { format!("{text}\n") };
        }
        if output::print_next(&text)?.is_break() {
            return Ok(());
        }
    }
    Err(anyhow::anyhow!("the control replica ended the watch"))
}

fn render(fleet: &Fleet, format: OutputFormat) -> anyhow::Result<String> {
    if format == OutputFormat::Json {
        return Ok(format!("{}\n", serde_json::to_string(fleet).context("write JSON")?));
    }
    let text = tables(fleet);
    Ok(if output::is_colourful() { coloured(&text) } else { text })
}

fn tables(fleet: &Fleet) -> String {
    let mut text = headline(fleet);
    text.push('\n');
    let header = ["REGION", "STATE", "WEIGHT", "IN FLIGHT", "DEMAND", "FIRST TOKEN", "SINCE", "REASON"];
    text.push_str(&table(&header, fleet.regions.iter().map(|region| region_row(region, fleet.at_unix_ms))));
    text.push('\n');
    let header = ["NODE", "REGION", "STATE", "LAST PULSE", "COMMIT", "IN FLIGHT", "ADDRESSES", "NOTE"];
    text.push_str(&table(&header, fleet.nodes.iter().map(node_row)));
    text
}

fn headline(fleet: &Fleet) -> String {
    let leader = if fleet.leader.is_empty() { "NONE: no new plans are made" } else { &fleet.leader };
    let mut text = format!("replica {}   leader {leader}   commit {}\n", fleet.replica, fleet.head_commit);
    match &fleet.plan {
        Some(plan) => {
            let made = age(fleet.at_unix_ms.saturating_sub(plan.made_at_unix_ms));
            let reason = if plan.reason.is_empty() { "-" } else { &plan.reason };
            text.push_str(&format!("plan {}.{}   made {made} ago: {reason}\n", plan.epoch, plan.number));
        }
        None => text.push_str("no plan yet\n"),
    }
    if let Some(rollout) = &fleet.rollout {
        let has = rollout.cells.iter().filter(|cell| cell.commit == rollout.commit).count();
        let (commit, all) = (rollout.commit, rollout.cells.len());
        text.push_str(&format!("ROLLOUT of commit {commit}, {has} of {all} cells run it: {}\n", rollout.reason));
    }
    for switch in &fleet.switches {
        let (name, until) = (switch::place(switch), switch::until(switch));
        text.push_str(&format!("SWITCHED OFF: {name}, {until}, by {}: {}\n", switch.author, switch.reason));
    }
    for outage in &fleet.outages {
        let since = age(fleet.at_unix_ms.saturating_sub(outage.since_unix_ms));
        text.push_str(&format!("TARGET {}:{} for {since}: {}\n", outage.provider, outage.model, outage.text));
    }
    if !fleet.read_only.is_empty() {
        text.push_str(&format!("READ-ONLY: {}\n", fleet.read_only));
    }
    text
}

fn region_row(region: &FleetRegion, now: i64) -> Vec<String> {
    let state = match region.state() {
        RegionState::Serving if region.drained => "DRAINING",
        RegionState::Serving => "serving",
        RegionState::Drained => "DRAINED",
        RegionState::Down => "DOWN",
        RegionState::Empty => "NEVER SEEN",
        RegionState::Unspecified => "unknown",
    };
    let since = if region.since_unix_ms == 0 { "-".to_owned() } else { age(now.saturating_sub(region.since_unix_ms)) };
    let first_token = match region.first_token_p50_ms {
        ms if ms > 0.0 => format!("{ms:.0}ms"),
        _ => "-".to_owned(),
    };
    vec![
        region.region.clone(),
        state.to_owned(),
        region.weight.to_string(),
        format!("{}/{}", region.in_flight, region.capacity),
        format!("{:.1}", region.demand),
        first_token,
        since,
        region_reason(region),
    ]
}

/// Why the weight is what it is, then the evidence for the state, then what an operator did: each thing once. A plan
/// that is not made yet cannot name the operator.
fn region_reason(region: &FleetRegion) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut add = |text: String| {
        if !text.is_empty() && !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
    };
    add(region.reason.clone());
    add(region.evidence.clone());
    // In the words of the planner's reason.
    if let Some(terms) = region.drain_terms.as_ref().filter(|_| region.drained) {
        add(format!("drained {}", by(terms)));
    }
    if let Some((weight, terms)) = region.weight_override.zip(region.weight_terms.as_ref()) {
        add(format!("weight {weight} set {}", by(terms)));
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join("; ") }
}

fn by(terms: &OverrideTerms) -> String {
    let reason = if terms.reason.is_empty() { "no reason given" } else { &terms.reason };
    let until = match terms.until_unix_ms {
        0 => String::new(),
        until => format!(", until {}", date(until)),
    };
    format!("by {}: {reason}{until}", terms.author)
}

fn node_row(node: &FleetNode) -> Vec<String> {
    let state = match (node.verdict(), node.state()) {
        (NodeVerdict::Down, _) => "DOWN",
        (NodeVerdict::Unreachable, _) => "UNREACHABLE",
        (NodeVerdict::Draining, _) | (_, ServingState::Draining) => "DRAINING",
        (_, ServingState::Overloaded) => "OVERLOADED",
        (_, ServingState::Starting) => "starting",
        (NodeVerdict::Serving, _) => "serving",
        (NodeVerdict::Unspecified, _) => "unknown",
    };
    let in_flight = match node.role() {
        Role::Dns => "dns only".to_owned(),
        _ => format!("{}/{}", node.in_flight, node.max_in_flight),
    };
    let addresses = if node.public_addresses.is_empty() { "-".to_owned() } else { node.public_addresses.join(", ") };
    vec![
        node.node.clone(),
        node.region.clone(),
        state.to_owned(),
        age(node.last_pulse_age_ms),
        commit(node),
        in_flight,
        addresses,
        node_note(node),
    ]
}

/// What it serves, and where that is another one what it is to serve.
fn commit(node: &FleetNode) -> String {
    match node.intended_commit {
        0 => node.commit.to_string(),
        intended if intended == node.commit => node.commit.to_string(),
        intended => format!("{} -> {intended}", node.commit),
    }
}

fn node_note(node: &FleetNode) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(node.divergences.iter().map(|divergence| format!("DIFFERS: {divergence}")));
    if let Some(fault) = node.faults.first() {
        let more = node.faults.len() - 1;
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        parts.push(format!("refused {}/{}: {}: {}{more}", fault.kind, fault.name, fault.field_path, fault.text));
    }
    parts.extend(node.notes.iter().cloned());
    parts.extend((!node.evidence.is_empty()).then(|| node.evidence.clone()));
    let away: Vec<_> = node.targets.iter().filter(|target| !target.available).collect();
    if let Some(target) = away.first() {
        let more = if away.len() == 1 { String::new() } else { format!(" (and {} more)", away.len() - 1) };
        parts.push(format!("target {}:{} is out: {}{more}", target.provider, target.model, target.reason));
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join("; ") }
}

fn coloured(text: &str) -> String {
    LOUD.iter().fold(text.to_owned(), |text, (word, colour)| text.replace(word, &format!("{colour}{word}{PLAIN}")))
}

#[cfg(test)]
mod tests {
    use meridian_proto::fleet::v1::{Switch, SwitchScope, UpstreamOutage};

    use super::*;

    fn region(name: &str, state: RegionState) -> FleetRegion {
        FleetRegion { region: name.into(), state: state.into(), weight: 500, ..FleetRegion::default() }
    }

    fn terms(author: &str, reason: &str) -> OverrideTerms {
        OverrideTerms { author: author.into(), reason: reason.into(), ..OverrideTerms::default() }
    }

    #[test]
    fn a_dead_region_is_called_down_and_says_why() {
        let fleet = Fleet {
            replica: "cp-1".into(),
            at_unix_ms: 100_000,
            regions: vec![
                FleetRegion {
                    since_unix_ms: 98_500,
                    evidence: "no pulse for 1.5s, 2 of 2 regions see nothing".into(),
                    weight: 0,
                    ..region("eu-west", RegionState::Down)
                },
                FleetRegion {
                    drained: true,
                    drain_terms: Some(terms("alice", "kernel")),
                    ..region("us-west", RegionState::Drained)
                },
            ],
            nodes: vec![FleetNode {
                node: "eu-west-1".into(),
                region: "eu-west".into(),
                verdict: NodeVerdict::Down.into(),
                last_pulse_age_ms: 1_512,
                commit: 3,
                divergences: vec!["it serves commit 3 and not the head 4".into()],
                notes: vec!["its disk refuses".into()],
                ..FleetNode::default()
            }],
            ..Fleet::default()
        };
        let text = tables(&fleet);
        assert_eq!(
            text,
            "replica cp-1   leader NONE: no new plans are made   commit 0\n\
             no plan yet\n\
             \n\
             REGION   STATE    WEIGHT  IN FLIGHT  DEMAND  FIRST TOKEN  SINCE  REASON\n\
             eu-west  DOWN     0       0/0        0.0     -            1.5s   no pulse for 1.5s, 2 of 2 regions see nothing\n\
             us-west  DRAINED  500     0/0        0.0     -            -      drained by alice: kernel\n\
             \n\
             NODE       REGION   STATE  LAST PULSE  COMMIT  IN FLIGHT  ADDRESSES  NOTE\n\
             eu-west-1  eu-west  DOWN   1.5s        3       0/0        -          DIFFERS: it serves commit 3 and not the head 4; its disk refuses\n"
        );
        assert!(coloured(&text).contains("\x1b[31mDOWN\x1b[0m"));
    }

    #[test]
    fn what_an_operator_did_is_told_once_and_a_drain_under_way_is_called_so() {
        let check = |reason: &str, expected: &str| {
            let region = FleetRegion {
                reason: reason.into(),
                evidence: "drained by alice: kernel".into(),
                drained: true,
                weight_override: Some(7),
                drain_terms: Some(terms("alice", "kernel")),
                weight_terms: Some(terms("bob", "")),
                ..region("us-west", RegionState::Serving)
            };
            let row = region_row(&region, 0);
            assert_eq!((row[1].as_str(), row[7].as_str()), ("DRAINING", expected));
        };
        let told = "drained by alice: kernel; weight 7 set by bob: no reason given";
        check(told, told);
        // The plan comes later than the override.
        check("declared weight 100", &format!("declared weight 100; {told}"));
    }

    #[test]
    fn an_upstream_that_is_down_stands_above_all() {
        let outage = UpstreamOutage {
            provider: "openai".into(),
            model: "gpt-4o".into(),
            since_unix_ms: 97_000,
            text: "down only from eu-west, up from us-west: failed repeatedly".into(),
            ..UpstreamOutage::default()
        };
        let text = headline(&Fleet { at_unix_ms: 100_000, outages: vec![outage], ..Fleet::default() });
        let line = "TARGET openai:gpt-4o for 3.0s: down only from eu-west, up from us-west: failed repeatedly\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn what_is_switched_off_is_in_the_headline() {
        let scope = SwitchScope { provider: "openai".into(), model: String::new(), region: "eu".into() };
        let (author, reason) = ("alice".into(), "key leaked".into());
        let switch = Switch { scope: Some(scope), author, reason, ..Switch::default() };
        let text = headline(&Fleet { switches: vec![switch], ..Fleet::default() });
        let line = "SWITCHED OFF: openai in eu, until it is switched on, by alice: key leaked\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn json_names_fields_as_the_schema_does() {
        let fleet =
            Fleet { regions: vec![region("eu-west", RegionState::Serving)], head_commit: 7, ..Fleet::default() };
        let text = render(&fleet, OutputFormat::Json).unwrap();
        assert!(text.contains(r#""head_commit":"7""#) && text.contains(r#""state":"REGION_STATE_SERVING""#), "{text}");
    }
}
