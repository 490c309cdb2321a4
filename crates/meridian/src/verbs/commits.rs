//! `history` and `rollback`.

use clap::Args;
use meridian_proto::admin::v1::{AuditRecord, AuditRequest, AuditResponse, HistoryRequest, RollbackRequest};

use super::rollout::{PolicyArgs, begun};
use crate::cli::OutputFormat;
use crate::connection::Connection;
use crate::failure::Usage;
use crate::format::{date, table};
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Commits or audit records at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Show every write of an operator, not only commits: who did what, when and why. The newest 10,000 are kept.
    #[arg(long)]
    audit: bool,
    /// Only audit records before the one with this id, for the next page.
    #[arg(long, value_name = "ID", requires = "audit", default_value = "", hide_default_value = true)]
    before: String,
    /// How audit records are shown: `table` or `json`.
    #[arg(short = 'o', long, value_enum, requires = "audit", default_value = "table")]
    output: OutputFormat,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The commit whose content becomes the new head's.
    commit: u64,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    rollout: PolicyArgs,
}

pub(crate) async fn history(connection: &Connection, args: &HistoryArgs) -> anyhow::Result<()> {
    if args.audit {
        return audit(connection, args).await;
    }
    let limit = args.limit;
    let history = connection.read(async |mut client| client.history(HistoryRequest { limit }).await).await?;
    let rows = history.commits.into_iter().map(|commit| {
        let reason = if commit.reason.is_empty() { "-".to_owned() } else { commit.reason };
        vec![
            commit.commit.to_string(),
            date(commit.made_at_unix_ms),
            commit.author,
            commit.resources.to_string(),
            reason,
        ]
    });
    output::print(&table(&["COMMIT", "MADE", "AUTHOR", "RESOURCES", "REASON"], rows))?;
    Ok(())
}

async fn audit(connection: &Connection, args: &HistoryArgs) -> anyhow::Result<()> {
    let request = AuditRequest { limit: args.limit, before: args.before.clone() };
    let audit = connection.read(async |mut client| client.audit(request.clone()).await).await?;
    match args.output {
        OutputFormat::Table => output::print(&records(audit)),
        OutputFormat::Json => output::print(&format!("{}\n", serde_json::to_string_pretty(&audit)?)),
        OutputFormat::Yaml => Err(Usage("the audit is shown as table or json".to_owned()).into()),
    }
}

fn records(audit: AuditResponse) -> String {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let row = |record: AuditRecord| {
        let AuditRecord { id, at_unix_ms, author, call, summary, reason, request_id, outcome } = record;
        let [reason, outcome, request_id] = [reason, outcome, request_id].map(or_dash);
        vec![date(at_unix_ms), author, call, summary, reason, outcome, request_id, id]
    };
    let header = ["MADE", "AUTHOR", "CALL", "WHAT", "REASON", "OUTCOME", "REQUEST", "ID"];
    table(&header, audit.records.into_iter().map(row))
}

pub(crate) async fn rollback(connection: &Connection, args: RollbackArgs) -> anyhow::Result<()> {
    let request = RollbackRequest {
        request_id: connection.request_id(),
        expected_commit: connection.head().await?,
        to_commit: args.commit,
        reason: args.reason,
        rollout: args.rollout.policy(),
    };
    let response = connection.write(async |mut client| client.rollback(request.clone()).await).await?;
    if let Some(mistake) = response.mistakes.first() {
        return Err(anyhow::anyhow!("commit {} does not fit any more: {}", args.commit, mistake.text));
    }
    let begun = begun(response.rollout_state(), &response.rollout_reason);
    output::print(&format!("head is commit {}, with the content of {}\n{begun}", response.commit, args.commit))?;
    Ok(())
}
