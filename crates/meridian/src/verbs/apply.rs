//! `apply`, `diff`, `delete`: what turns files into commits.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use meridian_config::{Draft, Loaded, source, to_yaml};
use meridian_proto::admin::v1::change::Action;
use meridian_proto::admin::v1::{ApplyRequest, ApplyResponse, Change, Mistake};
use meridian_proto::resources::v1::{Resource, ResourceRef};
use meridian_types::Kind;
use similar::TextDiff;

use super::rollout::{PolicyArgs, begun};
use crate::connection::Connection;
use crate::failure::{Mistakes, Usage};
use crate::output;

/// How a command ends that found mistakes.
const NOTHING_APPLIED: &str = "nothing was applied";
const REFERENCES_UNKNOWN: &str =
    "nothing was applied; references were not checked, for the control plane could not be asked";

/// Lines around a change, as `diff -u` has it.
const DIFF_CONTEXT: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// YAML file, directory (its *.yaml and *.yml) or `-` for standard input; may be repeated.
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Check and compare only.
    #[arg(long)]
    dry_run: bool,
    /// Why, for the history.
    #[arg(long, default_value = "", conflicts_with = "dry_run")]
    reason: String,
    /// Refuse if the head commit is another one, for pipelines that decided on it.
    #[arg(long, value_name = "COMMIT")]
    expect_commit: Option<u64>,
    #[command(flatten)]
    rollout: PolicyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// YAML file, directory (its *.yaml and *.yml) or `-` for standard input; may be repeated.
    #[arg(short = 'f', long = "file", value_name = "FILE|DIR|-", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// region, provider, model, zone or tenant.
    #[arg(value_parser = kind)]
    kind: Kind,
    /// As `get` shows it.
    name: String,
    /// Why, for the history.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    rollout: PolicyArgs,
}

/// A kind as an argument.
pub(crate) fn kind(text: &str) -> Result<Kind, String> {
    let allowed = Kind::ALL.map(|kind| kind.as_str().to_ascii_lowercase()).join(", ");
    Kind::parse(text).ok_or_else(|| format!("allowed: {allowed}"))
}

/// Reads files as far as they can be read.
pub(crate) fn load(paths: &[PathBuf]) -> anyhow::Result<Draft> {
    let mut sources = Vec::new();
    for path in paths {
        sources.extend(source::read(path)?);
    }
    let draft = meridian_config::read(&sources);
    if draft.mistakes.is_empty() && draft.loaded.resources.is_empty() {
        return Err(Usage("the files declare no resource".to_owned()).into());
    }
    Ok(draft)
}

/// The connection and the resources of files without mistakes; else fails with all mistakes. Those between resources
/// are the control plane's to find, for it knows what the files may refer to; without it, the others are told.
pub(crate) async fn checked(
    connection: anyhow::Result<Connection>,
    draft: Draft,
) -> anyhow::Result<(Connection, Loaded)> {
    if draft.mistakes.is_empty() {
        return Ok((connection?, draft.loaded));
    }
    let found = match connection {
        Ok(connection) => trial(&connection, &draft.loaded).await,
        Err(error) => Err(error),
    };
    let (mistakes, what) = match found {
        Ok(found) => (draft.with(found), NOTHING_APPLIED),
        Err(_) => (draft.mistakes, REFERENCES_UNKNOWN),
    };
    Err(Mistakes { lines: mistakes.iter().map(ToString::to_string).collect(), what }.into())
}

/// What the control plane finds wrong with what is readable.
async fn trial(connection: &Connection, loaded: &Loaded) -> anyhow::Result<Vec<meridian_types::Mistake>> {
    let request = ApplyRequest {
        request_id: connection.request_id(),
        expected_commit: connection.head().await?,
        upserts: loaded.resources.clone(),
        removals: Vec::new(),
        reason: String::new(),
        dry_run: true,
        rollout: None,
    };
    let response = connection.read(async |mut client| client.apply(request.clone()).await).await?;
    Ok(response.mistakes.iter().filter_map(meridian_config::from_control_plane).collect())
}

pub(crate) async fn apply(connection: &Connection, args: &ApplyArgs, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let expected_commit = match args.expect_commit {
        Some(commit) => commit,
        None => connection.head().await?,
    };
    let request = ApplyRequest {
        request_id: connection.request_id(),
        expected_commit,
        upserts: loaded.resources.clone(),
        removals: Vec::new(),
        reason: args.reason.clone(),
        dry_run: args.dry_run,
        rollout: args.rollout.policy(),
    };
    let response = send(connection, request, Some(loaded)).await?;
    output::print(&summary(&response, &args.reason, args.dry_run))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn diff(connection: &Connection, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let request = ApplyRequest {
        request_id: connection.request_id(),
        expected_commit: connection.head().await?,
        upserts: loaded.resources.clone(),
        removals: Vec::new(),
        reason: String::new(),
        dry_run: true,
        rollout: None,
    };
    let response = send(connection, request, Some(loaded)).await?;
    let mut text = String::new();
    for change in &response.changes {
        text.push_str(&unified(change)?);
    }
    output::print(&text)?;
    Ok(if text.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn delete(connection: &Connection, args: DeleteArgs) -> anyhow::Result<()> {
    let request = ApplyRequest {
        request_id: connection.request_id(),
        expected_commit: connection.head().await?,
        upserts: Vec::new(),
        removals: vec![ResourceRef { kind: args.kind.as_str().to_owned(), name: args.name.clone() }],
        reason: args.reason.clone(),
        dry_run: false,
        rollout: args.rollout.policy(),
    };
    let response = send(connection, request, None).await?;
    if !response.changes.iter().any(|change| change.action() == Action::Removed) {
        return Err(anyhow::anyhow!("there is no {}/{}", args.kind, args.name));
    }
    output::print(&summary(&response, &args.reason, false))?;
    Ok(())
}

async fn send(
    connection: &Connection,
    request: ApplyRequest,
    loaded: Option<&Loaded>,
) -> anyhow::Result<ApplyResponse> {
    let response = connection.write(async |mut client| client.apply(request.clone()).await).await?;
    if response.mistakes.is_empty() {
        return Ok(response);
    }
    let lines = response.mistakes.iter().map(|mistake| line(mistake, loaded)).collect();
    Err(Mistakes { lines, what: NOTHING_APPLIED }.into())
}

/// With the place in the files, where it is from there.
fn line(mistake: &Mistake, loaded: Option<&Loaded>) -> String {
    let Mistake { kind, name, field_path, text, .. } = mistake;
    let place = loaded.and_then(|loaded| loaded.place(kind, name, field_path));
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    let path = if field_path.is_empty() { String::new() } else { format!("{field_path}: ") };
    format!("{place}{kind}/{name}: {path}{text}")
}

fn summary(response: &ApplyResponse, reason: &str, dry_run: bool) -> String {
    let mut text = String::new();
    let mut unchanged = 0;
    let (mut accounts, mut in_commit) = (Vec::new(), false);
    for change in &response.changes {
        let verb = match change.action() {
            Action::Created => "created",
            Action::Changed => "changed",
            Action::Removed => "removed",
            Action::Unchanged | Action::Unspecified => {
                unchanged += 1;
                continue;
            }
        };
        let would = if dry_run { "would be " } else { "" };
        let name = format!("{}/{}", change.kind, change.name);
        let _ = writeln!(text, "{name} {would}{verb}");
        if change.kind == Kind::Tenant.as_str() { accounts.push(name) } else { in_commit = true }
    }
    if unchanged > 0 {
        let _ = writeln!(text, "{unchanged} unchanged");
    }
    if !accounts.is_empty() && !dry_run {
        let why = if reason.is_empty() { String::new() } else { format!("; the audit has the reason: {reason}") };
        let names = accounts.join(", ");
        let _ = writeln!(
            text,
            "accounts are outside commits, without `history` and `rollback`: {names} changed at once{why}"
        );
    }
    let head = match (dry_run, !accounts.is_empty() && !in_commit) {
        (true, _) => "dry run: nothing was applied; head is",
        (false, true) => "head is still",
        (false, false) => "head is",
    };
    let _ = writeln!(text, "{head} commit {}", response.commit);
    text.push_str(&begun(response.rollout_state(), &response.rollout_reason));
    text
}

fn unified(change: &Change) -> anyhow::Result<String> {
    if matches!(change.action(), Action::Unchanged | Action::Unspecified) {
        return Ok(String::new());
    }
    let side = |there: bool, body: &[u8]| -> anyhow::Result<String> {
        let (kind, name) = (change.kind.clone(), change.name.clone());
        let resource = Resource { kind, name, body: body.to_vec().into() };
        Ok(if there { to_yaml([&resource])? } else { String::new() })
    };
    let before = side(change.action() != Action::Created, &change.before)?;
    let after = side(change.action() != Action::Removed, &change.after)?;
    let name = format!("{}/{}", change.kind, change.name);
    let header = |there: bool| if there { name.clone() } else { "/dev/null".to_owned() };
    let (old, new) = (header(!before.is_empty()), header(!after.is_empty()));
    let diff = TextDiff::from_lines(&before, &after);
    let mut unified = diff.unified_diff();
    Ok(unified.context_radius(DIFF_CONTEXT).header(&old, &new).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_says_which_changes_are_in_no_commit() {
        let check = |kinds: &[(&str, Action)], reason: &str, dry_run: bool, expected: &str| {
            let change = |(kind, action): &(&str, Action)| Change {
                action: (*action).into(),
                kind: (*kind).to_owned(),
                name: "acme".to_owned(),
                ..Change::default()
            };
            let response =
                ApplyResponse { commit: 1, changes: kinds.iter().map(change).collect(), ..ApplyResponse::default() };
            assert_eq!(summary(&response, reason, dry_run), expected);
        };
        let told = "accounts are outside commits, without `history` and `rollback`: Tenant/acme changed at once";
        let (tenant, region) = (("Tenant", Action::Changed), ("Region", Action::Created));
        check(
            &[tenant],
            "more models",
            false,
            &format!("Tenant/acme changed\n{told}; the audit has the reason: more models\nhead is still commit 1\n"),
        );
        check(
            &[tenant, region],
            "",
            false,
            &format!("Tenant/acme changed\nRegion/acme created\n{told}\nhead is commit 1\n"),
        );
        check(&[region], "begin", false, "Region/acme created\nhead is commit 1\n");
        check(&[("Tenant", Action::Unchanged)], "x", false, "1 unchanged\nhead is commit 1\n");
        let dry = "Tenant/acme would be changed\ndry run: nothing was applied; head is commit 1\n";
        check(&[tenant], "x", true, dry);
    }
}
