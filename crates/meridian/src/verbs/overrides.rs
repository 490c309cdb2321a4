//! `drain`, `undrain`, `weight`: take effect with the next plans, which a drain waits for.

use std::time::Duration;

use clap::Args;
use meridian_proto::admin::v1::set_override_request::Change;
use meridian_proto::admin::v1::{Fleet, FleetRegion, GetFleetRequest, SetOverrideRequest};
use meridian_proto::fleet::v1::RegionState;

use crate::connection::Connection;
use crate::format::{date, parse_date};
use crate::output;

/// A plan drains a region within two seconds. Longer than this, nobody plans, or not with this region: a script should
/// hear of it.
const DRAIN_WAIT: Duration = Duration::from_secs(15);
/// Between two looks at the fleet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why and until when.
#[derive(Debug, Args)]
struct Terms {
    /// Why; shown in `fleet` next to the effect.
    #[arg(long, default_value = "")]
    reason: String,
    /// Date in UTC on which it ends by itself, such as 2026-11-21T12:00:00Z; default: until removed.
    #[arg(long, value_name = "DATE", value_parser = parse_date, conflicts_with = "for")]
    until: Option<i64>,
    /// How long it holds, such as 30m or 2h.
    #[arg(long = "for", id = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// As `fleet` names it.
    region: String,
    /// Drain although others have no room for what it carries.
    #[arg(long)]
    force: bool,
    /// Return as soon as the drain is written down, not when the plan has moved the traffic.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    terms: Terms,
}

#[derive(Debug, Args)]
pub(crate) struct UndrainArgs {
    /// As `fleet` names it.
    region: String,
    /// Why, for the audit.
    #[arg(long, default_value = "")]
    reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct WeightArgs {
    /// As `fleet` names it.
    region: String,
    /// 0 to 1000, relative to the other regions.
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1000), required_unless_present = "clear")]
    weight: Option<u32>,
    /// Back to the declared weight.
    #[arg(long, conflicts_with_all = ["weight", "until", "for"])]
    clear: bool,
    #[command(flatten)]
    terms: Terms,
}

pub(crate) async fn drain(connection: &Connection, args: DrainArgs) -> anyhow::Result<()> {
    let before = region(connection, &args.region).await?;
    let until = set(connection, &before, Change::Drained(true), args.terms, args.force).await?;
    let name = &before.region;
    if args.no_wait {
        output::print(&format!("{name} will be drained{until} by the next plans; `fleet` shows when it is\n"))?;
        return Ok(());
    }
    let drained = tokio::time::timeout(DRAIN_WAIT, drained(connection, name)).await;
    let fleet = drained.map_err(|_| {
        let wait = DRAIN_WAIT.as_secs();
        anyhow::anyhow!("the drain of {name} is set{until}, but no plan of {wait} s drained it; `fleet` says more")
    })??;
    output::print(&told(&before, &fleet, &until))?;
    Ok(())
}

/// The fleet as soon as its plan has drained the region, or finds nothing there that could be drained.
async fn drained(connection: &Connection, name: &str) -> anyhow::Result<Fleet> {
    loop {
        let fleet = connection.read(async |mut client| client.get_fleet(GetFleetRequest {}).await).await?;
        let state = fleet.regions.iter().find(|region| region.region == name).map(FleetRegion::state);
        match state {
            Some(RegionState::Serving | RegionState::Unspecified) => tokio::time::sleep(LOOK_AGAIN).await,
            Some(RegionState::Drained | RegionState::Down | RegionState::Empty) => return Ok(fleet),
            None => return Err(anyhow::anyhow!("region {name} was removed meanwhile")),
        }
    }
}

/// What the plan made of the drain: where the region's weight went, and who still comes.
fn told(before: &FleetRegion, fleet: &Fleet, until: &str) -> String {
    let name = &before.region;
    let now = fleet.regions.iter().find(|region| region.region == *name);
    let others = fleet.regions.iter().filter(|region| region.region != *name && region.weight > 0);
    let others: Vec<_> = others.map(|region| format!("{} {}", region.region, region.weight)).collect();
    match now.map(|region| (region.state(), region.weight)) {
        Some((RegionState::Drained, 0)) => format!(
            "{name} is drained{until}: its weight went from {} to 0 of 1000 (now: {}); clients that hold its address come \
             until the TTL of their DNS answer has passed, and it goes on serving them\n",
            before.weight,
            others.join(", ")
        ),
        Some((RegionState::Drained, weight)) => format!(
            "{name} is drained{until}, but keeps weight {weight} of 1000: no other region takes traffic, so it goes on \
             serving\n"
        ),
        _ => format!("{name} serves nothing now; it is drained{until} when its nodes are back\n"),
    }
}

pub(crate) async fn undrain(connection: &Connection, args: UndrainArgs) -> anyhow::Result<()> {
    let region = region(connection, &args.region).await?;
    let terms = Terms { reason: args.reason, until: None, duration: None };
    set(connection, &region, Change::Drained(false), terms, false).await?;
    let name = &region.region;
    let text = match (region.drained, region.weight_override) {
        (false, _) => format!("{name} was not drained\n"),
        (true, weight) => {
            let which = weight.map_or_else(|| "its declared weight".to_owned(), |weight| format!("weight {weight}"));
            format!(
                "the drain of {name} is over: the next plans raise its share step by step, to what {which} gives it; \
                 `fleet` shows how far it is\n"
            )
        }
    };
    output::print(&text)?;
    Ok(())
}

pub(crate) async fn weight(connection: &Connection, args: WeightArgs) -> anyhow::Result<()> {
    let region = region(connection, &args.region).await?;
    let (change, what) = match args.weight {
        Some(weight) => (Change::Weight(weight), format!("gets weight {weight}")),
        None => (Change::ClearWeight(true), "gets its declared weight".to_owned()),
    };
    let until = set(connection, &region, change, args.terms, false).await?;
    output::print(&format!("{} {what} with the next plan{until}\n", region.region))?;
    Ok(())
}

/// The region as the fleet shows it: what the change is decided on.
async fn region(connection: &Connection, name: &str) -> anyhow::Result<FleetRegion> {
    let fleet = connection.read(async |mut client| client.get_fleet(GetFleetRequest {}).await).await?;
    let names: Vec<_> = fleet.regions.iter().map(|region| region.region.clone()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let found = fleet.regions.into_iter().find(|region| region.region == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no region {name}; there are: {names}"))
}

/// Sets it and says until when.
async fn set(
    connection: &Connection,
    region: &FleetRegion,
    change: Change,
    terms: Terms,
    force: bool,
) -> anyhow::Result<String> {
    let now = connection.host.clock.now_unix_ms();
    let ends =
        terms.duration.map(|duration| now.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)));
    let until_unix_ms = terms.until.or(ends).unwrap_or(0);
    let request = SetOverrideRequest {
        request_id: connection.request_id(),
        region: region.region.clone(),
        expected_revision: region.override_revision,
        change: Some(change),
        reason: terms.reason,
        until_unix_ms,
        force,
    };
    connection.write(async |mut client| client.set_override(request.clone()).await).await?;
    Ok(if until_unix_ms == 0 { String::new() } else { format!(" until {}", date(until_unix_ms)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_told_as_the_plan_has_it() {
        let region = |name: &str, state: RegionState, weight| FleetRegion {
            region: name.into(),
            state: state.into(),
            weight,
            ..FleetRegion::default()
        };
        let check = |state, weight, other, expected: &str| {
            let regions = vec![region("eu", state, weight), region("us", RegionState::Serving, other)];
            let text = told(&region("eu", RegionState::Serving, 333), &Fleet { regions, ..Fleet::default() }, "");
            assert!(text.starts_with(expected), "{text}");
        };
        check(RegionState::Drained, 0, 1000, "eu is drained: its weight went from 333 to 0 of 1000 (now: us 1000); ");
        check(RegionState::Drained, 1000, 0, "eu is drained, but keeps weight 1000 of 1000: no other");
        check(RegionState::Down, 0, 1000, "eu serves nothing now; it is drained when its nodes are back");
    }
}
