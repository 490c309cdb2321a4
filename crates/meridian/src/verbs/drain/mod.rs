//! `drain`: moves a region's traffic away, and proves that it is gone.

mod evidence;
mod verify;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use meridian_proto::admin::v1::set_override_request::Change;
use meridian_proto::admin::v1::{Fleet, FleetRegion, GetFleetRequest};
use meridian_proto::fleet::v1::RegionState;

use super::overrides::{Terms, region, set};
use crate::cli::{AdminArgs, OutputFormat};
use crate::connection::Connection;
use crate::failure::Usage;
use crate::output;

/// A plan drains a region within two seconds. Longer than this, nobody plans, or not with this region: a script should
/// hear of it.
const PLAN_WAIT: Duration = Duration::from_secs(15);
/// Between two looks at the fleet.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// As `fleet` names it.
    region: String,
    /// Drain although others have no room for what it carries.
    #[arg(long)]
    force: bool,
    /// Return when nothing comes any more: no DNS answer of any node names the region, caches have let go of those that
    /// did, and the region's requests have ended. Prints the evidence as it is gained. Exit code 3: the timeout came
    /// first. Without --wait it returns when the plan has moved the traffic.
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// With --wait: how long at most. The drain itself stays.
    #[arg(long, value_name = "DURATION", default_value = "20m", requires = "wait", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// With --wait: how much longer than the TTL caches are given. Resolvers stretch TTLs: one in eleven does, and many
    /// hold every answer for a minute at least.
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "wait", value_parser = humantime::parse_duration)]
    stretch: Duration,
    /// With --wait: `table` (lines for people) or `json` (one object a line).
    #[arg(short = 'o', long, value_enum, default_value = "table", requires = "wait")]
    output: OutputFormat,
    /// Return as soon as the drain is written down, not when the plan has moved the traffic.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    terms: Terms,
}

pub(crate) async fn drain(admin: &AdminArgs, args: DrainArgs) -> anyhow::Result<ExitCode> {
    if args.output == OutputFormat::Yaml {
        return Err(Usage("the evidence is shown as table or json".to_owned()).into());
    }
    let connection = Connection::open(admin).await?;
    let before = region(&connection, &args.region).await?;
    // Who waits again for a drain that is set does not mean to change why it was.
    let is_set = args.wait && before.drained && args.terms == Terms::default();
    let until = match is_set {
        true => String::new(),
        false => set(&connection, &before, Change::Drained(true), args.terms, args.force).await?,
    };
    let name = &before.region;
    if args.wait {
        let json = args.output == OutputFormat::Json;
        let wait = verify::Wait { region: before.region, stretch: args.stretch, timeout: args.timeout, json };
        return verify::run(admin, connection, wait, &until).await;
    }
    if args.no_wait {
        output::print(&format!("{name} will be drained{until} by the next plans; `fleet` shows when it is\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let drained = tokio::time::timeout(PLAN_WAIT, drained(&connection, name)).await;
    let fleet = drained.map_err(|_| {
        let wait = PLAN_WAIT.as_secs();
        anyhow::anyhow!("the drain of {name} is set{until}, but no plan of {wait} s drained it; `fleet` says more")
    })??;
    output::print(&told(&before, &fleet, &until))?;
    Ok(ExitCode::SUCCESS)
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
