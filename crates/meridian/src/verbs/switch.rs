//! `switch`: the kill switch. What is off is not called by any node within a second, without a commit or a rollout.

use std::time::Duration;

use clap::{Args, Subcommand};
use meridian_proto::admin::v1::{ListSwitchesRequest, ListSwitchesResponse, SwitchOffRequest, SwitchOnRequest};
use meridian_proto::fleet::v1::{Switch, SwitchScope};

use super::target::{self, Target};
use crate::cli::OutputFormat;
use crate::connection::Connection;
use crate::failure::Usage;
use crate::format::{date, table};
use crate::output;

/// The control plane's own limit, told before anything is sent.
const MIN_LIFE: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(crate) enum SwitchVerb {
    /// Take a provider or one of its models out of service: no request and no probe calls it any more. Calls under way end.
    Off {
        #[command(flatten)]
        scope: ScopeArgs,
        /// Why; others will see the effect and ask.
        #[arg(long)]
        reason: String,
        /// When it ends by itself, such as 30m or 4h; default: when it is switched on.
        #[arg(long = "for", value_name = "DURATION", value_parser = life)]
        duration: Option<Duration>,
    },
    /// Put it back.
    On {
        #[command(flatten)]
        scope: ScopeArgs,
        /// Why, for the audit.
        #[arg(long)]
        reason: String,
    },
    /// List what is off.
    List {
        /// `table` or `json`.
        #[arg(short = 'o', long, value_enum, default_value = "table")]
        output: OutputFormat,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// A provider, or one of its models by the upstream's name.
    #[arg(value_name = "PROVIDER[:MODEL]")]
    target: Target,
    /// Only calls of this region's nodes; default: of every region's.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

impl From<ScopeArgs> for SwitchScope {
    fn from(args: ScopeArgs) -> Self {
        let Target { provider, model } = args.target;
        Self { provider, model, region: args.region.unwrap_or_default() }
    }
}

fn life(text: &str) -> Result<Duration, String> {
    let life = humantime::parse_duration(text).map_err(|_| "write a duration such as 30m or 4h".to_owned())?;
    if life >= MIN_LIFE { Ok(life) } else { Err("at least 1s is allowed".to_owned()) }
}

pub(crate) async fn run(connection: &Connection, verb: SwitchVerb) -> anyhow::Result<()> {
    match verb {
        SwitchVerb::Off { scope, reason, duration } => off(connection, scope.into(), reason, duration).await,
        SwitchVerb::On { scope, reason } => on(connection, scope.into(), reason).await,
        SwitchVerb::List { output } => list(connection, output).await,
    }
}

async fn off(
    connection: &Connection,
    scope: SwitchScope,
    reason: String,
    duration: Option<Duration>,
) -> anyhow::Result<()> {
    let for_ms = duration.map_or(Ok(0), |duration| u64::try_from(duration.as_millis()))?;
    let request = SwitchOffRequest { request_id: connection.request_id(), scope: Some(scope), for_ms, reason };
    let response = connection.write(async |mut client| client.switch_off(request.clone()).await).await?;
    let switch = response.switch.unwrap_or_default();
    let until = until(&switch);
    let (name, undo) = (place(&switch), command(&switch));
    output::print(&format!(
        "{name} is switched off {until}: calls under way end, no new ones are made; `{undo} --reason ...` puts it back\n"
    ))
}

async fn on(connection: &Connection, scope: SwitchScope, reason: String) -> anyhow::Result<()> {
    let request = SwitchOnRequest { request_id: connection.request_id(), scope: Some(scope), reason };
    let response = connection.write(async |mut client| client.switch_on(request.clone()).await).await?;
    let mut text = format!("{} is on again\n", place(&response.switch.unwrap_or_default()));
    for other in &response.remaining {
        text.push_str(&format!("still off {}: {}; `{}` puts it back\n", until(other), place(other), command(other)));
    }
    output::print(&text)
}

async fn list(connection: &Connection, output: OutputFormat) -> anyhow::Result<()> {
    if output == OutputFormat::Yaml {
        return Err(Usage("switches are shown as table or json".to_owned()).into());
    }
    let listed = connection.read(async |mut client| client.list_switches(ListSwitchesRequest {}).await).await?;
    match output {
        OutputFormat::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&listed)?)),
        _ => output::print(&rows(&listed)),
    }
}

fn rows(listed: &ListSwitchesResponse) -> String {
    if listed.switches.is_empty() {
        return "nothing is switched off\n".to_owned();
    }
    let header = ["OFF", "REGION", "SINCE", "UNTIL", "AUTHOR", "REASON"];
    table(&header, listed.switches.iter().map(row))
}

fn row(switch: &Switch) -> Vec<String> {
    let scope = switch.scope.clone().unwrap_or_default();
    let region = if scope.region.is_empty() { "all".to_owned() } else { scope.region };
    let until = if switch.until_unix_ms == 0 { "switched on".to_owned() } else { date(switch.until_unix_ms) };
    let since = date(switch.made_at_unix_ms);
    vec![
        target::name(&scope.provider, &scope.model),
        region,
        since,
        until,
        switch.author.clone(),
        switch.reason.clone(),
    ]
}

/// What is off, and where if not everywhere.
pub(super) fn place(switch: &Switch) -> String {
    let scope = switch.scope.clone().unwrap_or_default();
    let region = if scope.region.is_empty() { String::new() } else { format!(" in {}", scope.region) };
    format!("{}{region}", target::name(&scope.provider, &scope.model))
}

/// Until when, in words.
pub(super) fn until(switch: &Switch) -> String {
    match switch.until_unix_ms {
        0 => "until it is switched on".to_owned(),
        until => format!("until {}", date(until)),
    }
}

/// What puts it back.
fn command(switch: &Switch) -> String {
    let scope = switch.scope.clone().unwrap_or_default();
    let region = if scope.region.is_empty() { String::new() } else { format!(" --region {}", scope.region) };
    format!("meridian switch on {}{region}", target::name(&scope.provider, &scope.model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_table() {
        let switch = |region: &str, until_unix_ms| Switch {
            scope: Some(SwitchScope { provider: "a".to_owned(), model: "m".to_owned(), region: region.to_owned() }),
            author: "alice".to_owned(),
            reason: "key leaked".to_owned(),
            made_at_unix_ms: 1_795_262_400_000,
            until_unix_ms,
        };
        let switches = vec![switch("", 0), switch("eu", 1_795_266_000_000)];
        assert_eq!(
            rows(&ListSwitchesResponse { switches }),
            "OFF  REGION  SINCE                 UNTIL                 AUTHOR  REASON\n\
             a:m  all     2026-11-21T12:00:00Z  switched on           alice   key leaked\n\
             a:m  eu      2026-11-21T12:00:00Z  2026-11-21T13:00:00Z  alice   key leaked\n"
        );
        assert_eq!(rows(&ListSwitchesResponse::default()), "nothing is switched off\n");
        assert_eq!(command(&switch("eu", 0)), "meridian switch on a:m --region eu");
    }

    #[test]
    fn a_time_is_at_least_a_second() {
        assert!(life("4h").is_ok() && life("1s").is_ok() && life("0s").is_err() && life("x").is_err());
    }
}
