//! `fault`: rehearse what a provider's failure would do. Every fault ends by itself.

use std::time::Duration;

use clap::{Args, Subcommand};
use meridian_proto::admin::v1::{EndFaultRequest, InjectFaultRequest, ListFaultsRequest, ListFaultsResponse};
use meridian_proto::fleet::v1::{FaultSpec, InjectedFault, fault_spec::Kind};

use super::target::{self, Target};
use crate::cli::OutputFormat;
use crate::connection::Connection;
use crate::failure::Usage;
use crate::format::{date, table};
use crate::output;

/// The control plane's own limit, told before anything is sent.
const MAX_LIFE: Duration = Duration::from_secs(3600);

#[derive(Debug, Subcommand)]
pub(crate) enum FaultVerb {
    /// Let calls of a target, a provider or a region fail or wait, as if the upstream did it.
    Inject(InjectArgs),
    /// List the faults that hold.
    List {
        /// `table` or `json`.
        #[arg(short = 'o', long, value_enum, default_value = "table")]
        output: OutputFormat,
    },
    /// End a fault before its time.
    End {
        /// As `fault list` shows it.
        id: String,
        /// Why, for the audit.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InjectArgs {
    /// Calls of one target: provider/model or provider:model, by the upstream's name of the model.
    #[arg(long, value_name = "PROVIDER/MODEL", conflicts_with = "provider", value_parser = Target::one)]
    target: Option<Target>,
    /// Calls of every target of a provider; its probes fail too, if the fault would kill it.
    #[arg(long, value_name = "PROVIDER", required_unless_present_any = ["target", "region"])]
    provider: Option<String>,
    /// Only calls of this region's nodes; alone: all of them, whatever they call.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Share of these calls that is struck, such as 10% or 0.5%.
    #[arg(long, value_name = "PERCENT", default_value = "100%", value_parser = share)]
    share: u32,
    /// `latency=500ms` (the answer's head comes later), `error=503` (any status 400 to 599), `hang` (no answer), or
    /// `cut=after-20-events` (the connection breaks in mid-stream).
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Kind,
    /// How long it holds, such as 90s or 10m; at most 1h.
    #[arg(long = "for", value_name = "DURATION", value_parser = life)]
    duration: Duration,
    /// Why; others will see the fault and ask.
    #[arg(long)]
    reason: String,
}

/// Parts per 1,000.
fn share(text: &str) -> Result<u32, String> {
    let wrong = || "write a share from 0.1% to 100%".to_owned();
    let percent: f64 = text.strip_suffix('%').ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
    let permille = (percent * 10.0).round();
    // Whole and small, so that nothing is lost.
    if (1.0..=1000.0).contains(&permille) { Ok(permille as u32) } else { Err(wrong()) }
}

fn kind(text: &str) -> Result<Kind, String> {
    let wrong = || "write latency=500ms, error=503, hang or cut=after-20-events".to_owned();
    if text == "hang" {
        return Ok(Kind::Hang(true));
    }
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    match name {
        "latency" => {
            let wait = humantime::parse_duration(value).map_err(|_| wrong())?;
            u32::try_from(wait.as_millis()).map(Kind::LatencyMs).map_err(|_| wrong())
        }
        "error" => value.parse().map(Kind::ErrorStatus).map_err(|_| wrong()),
        "cut" => {
            let events = value.strip_prefix("after-").and_then(|rest| rest.strip_suffix("-events"));
            events.and_then(|events| events.parse().ok()).map(Kind::CutAfterEvents).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}

fn life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).map_err(|_| "write a duration such as 90s or 10m".to_owned())?;
    if (Duration::from_secs(1)..=MAX_LIFE).contains(&life) { Ok(life) } else { Err("1s to 1h are allowed".to_owned()) }
}

pub(crate) async fn run(connection: &Connection, verb: FaultVerb) -> anyhow::Result<()> {
    match verb {
        FaultVerb::Inject(args) => inject(connection, args).await,
        FaultVerb::List { output } => list(connection, output).await,
        FaultVerb::End { id, reason } => end(connection, id, reason).await,
    }
}

async fn inject(connection: &Connection, args: InjectArgs) -> anyhow::Result<()> {
    let (provider, model) = match args.target {
        Some(Target { provider, model }) => (provider, model),
        None => (args.provider.unwrap_or_default(), String::new()),
    };
    let region = args.region.unwrap_or_default();
    let spec = FaultSpec { provider, model, region, share_permille: args.share, kind: Some(args.kind) };
    let request = InjectFaultRequest {
        request_id: connection.request_id(),
        spec: Some(spec),
        for_ms: u32::try_from(args.duration.as_millis())?,
        reason: args.reason,
    };
    let response = connection.write(async |mut client| client.inject_fault(request.clone()).await).await?;
    let fault = response.fault.unwrap_or_default();
    let (id, until) = (&fault.id, date(fault.until_unix_ms));
    output::print(&format!("fault {id} holds until {until}; `meridian fault end {id}` ends it now\n"))
}

async fn list(connection: &Connection, output: OutputFormat) -> anyhow::Result<()> {
    if output == OutputFormat::Yaml {
        return Err(Usage("faults are shown as table or json".to_owned()).into());
    }
    let listed = connection.read(async |mut client| client.list_faults(ListFaultsRequest {}).await).await?;
    match output {
        OutputFormat::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&listed)?)),
        _ => output::print(&rows(&listed)),
    }
}

fn rows(listed: &ListFaultsResponse) -> String {
    if listed.faults.is_empty() {
        return "no fault is injected\n".to_owned();
    }
    let header = ["ID", "CALLS OF", "REGION", "SHARE", "KIND", "UNTIL", "AUTHOR", "REASON"];
    table(&header, listed.faults.iter().map(row))
}

fn row(fault: &InjectedFault) -> Vec<String> {
    let spec = fault.spec.clone().unwrap_or_default();
    let whom = target::name(&spec.provider, &spec.model);
    let kind = match spec.kind {
        Some(Kind::LatencyMs(ms)) => format!("latency={ms}ms"),
        Some(Kind::ErrorStatus(status)) => format!("error={status}"),
        Some(Kind::Hang(_)) => "hang".to_owned(),
        Some(Kind::CutAfterEvents(events)) => format!("cut=after-{events}-events"),
        None => "-".to_owned(),
    };
    let region = if spec.region.is_empty() { "all".to_owned() } else { spec.region.clone() };
    let share = format!("{}%", f64::from(spec.share_permille) / 10.0);
    let until = date(fault.until_unix_ms);
    vec![fault.id.clone(), whom, region, share, kind, until, fault.author.clone(), fault.reason.clone()]
}

async fn end(connection: &Connection, id: String, reason: String) -> anyhow::Result<()> {
    let request = EndFaultRequest { request_id: connection.request_id(), id, reason };
    let response = connection.write(async |mut client| client.end_fault(request.clone()).await).await?;
    let fault = response.fault.unwrap_or_default();
    output::print(&format!("fault {} is over\n", fault.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_shares_are_read_as_they_are_written() {
        let check = |text: &str, expected: Option<Kind>| assert_eq!(kind(text).ok(), expected, "{text}");
        check("latency=500ms", Some(Kind::LatencyMs(500)));
        check("latency=2s", Some(Kind::LatencyMs(2000)));
        check("error=503", Some(Kind::ErrorStatus(503)));
        check("hang", Some(Kind::Hang(true)));
        check("cut=after-20-events", Some(Kind::CutAfterEvents(20)));
        for wrong in ["", "latency", "latency=5", "error=x", "hang=1", "cut=20", "cut=after--events", "drop"] {
            check(wrong, None);
        }
        for (text, expected) in [("10%", Some(100)), ("0.1%", Some(1)), ("100%", Some(1000)), ("12.5%", Some(125))] {
            assert_eq!(share(text).ok(), expected, "{text}");
        }
        for wrong in ["0%", "101%", "10", "-1%", "NaN%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
        assert!(life("1h").is_ok() && life("61m").is_err() && life("0s").is_err() && life("x").is_err());
    }

    #[test]
    fn a_list_is_a_table() {
        let spec = FaultSpec {
            provider: "a".to_owned(),
            share_permille: 125,
            kind: Some(Kind::Hang(true)),
            ..FaultSpec::default()
        };
        let fault = InjectedFault {
            id: "0a1b2c3d".to_owned(),
            spec: Some(spec),
            author: "alice".to_owned(),
            reason: "game day".to_owned(),
            made_at_unix_ms: 1,
            until_unix_ms: 1_795_262_400_000,
        };
        assert_eq!(
            rows(&ListFaultsResponse { faults: vec![fault] }),
            "ID        CALLS OF  REGION  SHARE  KIND  UNTIL                 AUTHOR  REASON\n\
             0a1b2c3d  a         all     12.5%  hang  2026-11-21T12:00:00Z  alice   game day\n"
        );
        assert_eq!(rows(&ListFaultsResponse::default()), "no fault is injected\n");
    }
}
