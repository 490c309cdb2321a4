//! `rollout`: where a commit is on its way to the cells, and who stops it there.

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use meridian_proto::admin::v1::change_rollout_request::Action;
use meridian_proto::admin::v1::rollout_policy::Mode;
use meridian_proto::admin::v1::{ChangeRolloutRequest, GetRolloutRequest, Rollout, RolloutPolicy};
use meridian_proto::fleet::v1::RolloutState;

use crate::cli::OutputFormat;
use crate::connection::Connection;
use crate::failure::Usage;
use crate::format::{age, date, table};
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutVerb {
    /// Show which cells run the head, and why the others do not.
    Status(StatusArgs),
    /// Let no further cell have the head.
    Pause(ChangeArgs),
    /// Let a paused rollout go on.
    Resume(ChangeArgs),
    /// Take the head back from every cell; it stays the head, for the next commit to build on.
    Abort(ChangeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Of this commit; default: the head.
    #[arg(value_name = "COMMIT", default_value_t = 0, hide_default_value = true)]
    commit: u64,
    /// `table` or `json`.
    #[arg(short = 'o', long, value_enum, default_value = "table")]
    output: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Why, for those who see it.
    #[arg(long, default_value = "")]
    reason: String,
}

/// How a commit is to come to the cells. With none of these: cell by cell if some region has more than one cell, else
/// everywhere at once.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// Every cell at once.
    #[arg(long, conflicts_with_all = ["staged", "bake"])]
    immediate: bool,
    /// One cell first, then the others one by one.
    #[arg(long)]
    staged: bool,
    /// How long a cell has to run the commit well before the next one gets it; default: 30s.
    #[arg(long, value_name = "DURATION", value_parser = bake)]
    bake: Option<u32>,
}

/// Milliseconds, which the control plane bounds.
fn bake(text: &str) -> Result<u32, String> {
    let bake: Duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match u32::try_from(bake.as_millis()) {
        Ok(0) => Err("at least 1ms; --immediate waits for nothing".to_owned()),
        Ok(ms) => Ok(ms),
        Err(_) => Err("at most a day".to_owned()),
    }
}

impl PolicyArgs {
    pub(crate) fn policy(&self) -> Option<RolloutPolicy> {
        let mode = match (self.immediate, self.staged) {
            (true, _) => Mode::Immediate,
            (_, true) => Mode::Staged,
            _ => Mode::Unspecified,
        };
        let policy = RolloutPolicy { mode: mode.into(), bake_ms: self.bake.unwrap_or(0) };
        (policy != RolloutPolicy::default()).then_some(policy)
    }
}

/// The line after an apply or a rollback; nothing if every cell has the commit already.
pub(crate) fn begun(state: RolloutState, reason: &str) -> String {
    match state {
        RolloutState::Running => format!("it comes to the cells {reason}: see `meridian rollout status`\n"),
        _ => String::new(),
    }
}

pub(crate) async fn run(connection: &Connection, verb: RolloutVerb) -> anyhow::Result<()> {
    match verb {
        RolloutVerb::Status(args) => {
            if args.output == OutputFormat::Yaml {
                return Err(Usage("a rollout is shown as table or json".to_owned()).into());
            }
            let request = GetRolloutRequest { commit: args.commit };
            let rollout = connection.read(async |mut client| client.get_rollout(request).await).await?;
            let text = match args.output {
                OutputFormat::Json => format!("{}\n", serde_json::to_string(&rollout).context("write JSON")?),
                _ => render(&rollout),
            };
            output::print(&text)
        }
        RolloutVerb::Pause(args) => change(connection, Action::Pause, args).await,
        RolloutVerb::Resume(args) => change(connection, Action::Resume, args).await,
        RolloutVerb::Abort(args) => change(connection, Action::Abort, args).await,
    }
}

async fn change(connection: &Connection, action: Action, args: ChangeArgs) -> anyhow::Result<()> {
    let request = ChangeRolloutRequest {
        request_id: connection.request_id(),
        commit: connection.head().await?,
        action: action.into(),
        reason: args.reason,
    };
    let rollout = connection.write(async |mut client| client.change_rollout(request.clone()).await).await?;
    output::print(&headline(&rollout))
}

fn headline(rollout: &Rollout) -> String {
    let state = match rollout.state() {
        RolloutState::Running => "running",
        RolloutState::Paused => "PAUSED",
        RolloutState::Done => "done",
        RolloutState::RolledBack => "ROLLED BACK",
        RolloutState::Aborted => "ABORTED",
        RolloutState::Superseded => "superseded",
        RolloutState::Unspecified => "unknown",
    };
    format!("rollout of commit {} {state}: {}\n", rollout.commit, rollout.reason)
}

fn render(rollout: &Rollout) -> String {
    let mut text = headline(rollout);
    let bake = age(i64::from(rollout.bake_ms));
    text.push_str(&format!(
        "from commit {}   begun {} by {}   each cell runs it for {bake}\n",
        rollout.from,
        date(rollout.started_at_unix_ms),
        rollout.author
    ));
    let rows = rollout.cells.iter().map(|cell| {
        let reason = if cell.reason.is_empty() { "-" } else { &cell.reason };
        vec![
            cell.region.clone(),
            cell.cell.clone(),
            cell.commit.to_string(),
            format!("{}/{}", cell.applied, cell.connected),
            (cell.nodes - cell.connected.min(cell.nodes)).to_string(),
            date(cell.pinned_at_unix_ms),
            reason.to_owned(),
        ]
    });
    if !rollout.cells.is_empty() {
        text.push('\n');
        text.push_str(&table(&["REGION", "CELL", "COMMIT", "APPLIED", "ABSENT", "PINNED", "REASON"], rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use meridian_proto::admin::v1::RolloutCell;

    use super::*;

    #[test]
    fn a_rollout_that_was_taken_back_is_loud_and_says_why() {
        let cell = |cell: &str, reason: &str| RolloutCell {
            region: "eu-west".into(),
            cell: cell.into(),
            commit: 4,
            nodes: 3,
            connected: 2,
            applied: 2,
            reason: reason.into(),
            pinned_at_unix_ms: 0,
        };
        let rollout = Rollout {
            commit: 5,
            from: 4,
            state: RolloutState::RolledBack.into(),
            reason: "n1 in eu-west/a refused it: no such file".into(),
            author: "alice".into(),
            bake_ms: 30_000,
            cells: vec![cell("a", "n1 in eu-west/a refused it: no such file"), cell("b", "")],
            ..Rollout::default()
        };
        assert_eq!(
            render(&rollout),
            "rollout of commit 5 ROLLED BACK: n1 in eu-west/a refused it: no such file\n\
             from commit 4   begun - by alice   each cell runs it for 30s\n\n\
             REGION   CELL  COMMIT  APPLIED  ABSENT  PINNED  REASON\n\
             eu-west  a     4       2/2      1       -       n1 in eu-west/a refused it: no such file\n\
             eu-west  b     4       2/2      1       -       -\n"
        );
    }

    #[test]
    fn a_bake_time_is_a_duration_that_can_be() {
        assert_eq!(bake("2m"), Ok(120_000));
        for wrong in ["0s", "soon", "99d"] {
            assert!(bake(wrong).is_err(), "{wrong}");
        }
    }
}
