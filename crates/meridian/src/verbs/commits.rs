//! `history` and `rollback`.

use clap::Args;
use meridian_proto::admin::v1::{HistoryRequest, RollbackRequest};

use crate::connection::Connection;
use crate::format::{date, table};
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Commits at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The commit whose content becomes the new head's.
    commit: u64,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    reason: String,
}

pub(crate) async fn history(connection: &Connection, args: &HistoryArgs) -> anyhow::Result<()> {
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

pub(crate) async fn rollback(connection: &Connection, args: RollbackArgs) -> anyhow::Result<()> {
    let request = RollbackRequest {
        request_id: connection.request_id(),
        expected_commit: connection.head().await?,
        to_commit: args.commit,
        reason: args.reason,
    };
    let response = connection.write(async |mut client| client.rollback(request.clone()).await).await?;
    if let Some(mistake) = response.mistakes.first() {
        return Err(anyhow::anyhow!("commit {} does not fit any more: {}", args.commit, mistake.text));
    }
    output::print(&format!("head is commit {}, with the content of {}\n", response.commit, args.commit))?;
    Ok(())
}
