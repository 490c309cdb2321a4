//! `undrain`, `weight`, and how overrides are set: they take effect with the next plans.

use std::time::Duration;

use clap::Args;
use meridian_proto::admin::v1::set_override_request::Change;
use meridian_proto::admin::v1::{FleetRegion, GetFleetRequest, SetOverrideRequest};

use crate::connection::Connection;
use crate::format::{date, parse_date};
use crate::output;

/// Why and until when.
#[derive(Debug, Default, PartialEq, Args)]
pub(super) struct Terms {
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
pub(super) async fn region(connection: &Connection, name: &str) -> anyhow::Result<FleetRegion> {
    let fleet = connection.read(async |mut client| client.get_fleet(GetFleetRequest {}).await).await?;
    let names: Vec<_> = fleet.regions.iter().map(|region| region.region.clone()).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let found = fleet.regions.into_iter().find(|region| region.region == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no region {name}; there are: {names}"))
}

/// Sets it and says until when.
pub(super) async fn set(
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
