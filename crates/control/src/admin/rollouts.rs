//! Rollouts, for operators: where one is, and pause, resume, abort.

use meridian_proto::admin::v1 as admin;
use meridian_proto::admin::v1::change_rollout_request::Action;
use meridian_proto::fleet::v1::RolloutState;
use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Txn};
use meridian_types::CommitId;
use tonic::Status;

use super::begin::held;
use super::write::Decision;
use crate::rollout::{Cells, is_under_way, is_unfinished, name};
use crate::shared::Shared;
use crate::store::document;
use crate::view::View;

/// The rollout of a commit, 0 for the head's, as this replica sees it.
pub(super) fn rollout(shared: &Shared, commit: u64) -> Result<admin::Rollout, Status> {
    let view = shared.mirror.view();
    let id = if commit == 0 { view.head_id() } else { CommitId(commit) };
    match view.rollouts.get(&id) {
        Some(rollout) => Ok(describe(shared, &view, &rollout.document)),
        None if id == CommitId::NONE => Err(Status::not_found("there is no commit yet, and so no rollout")),
        None => Err(Status::not_found(format!("nothing is known of a rollout of commit {id}"))),
    }
}

/// The head's one, if cells may run something else than the head.
pub(super) fn unfinished(shared: &Shared, view: &View) -> Option<admin::Rollout> {
    let rollout = view.rollout().filter(|rollout| is_unfinished(rollout.document.state()))?;
    Some(describe(shared, view, &rollout.document))
}

fn describe(shared: &Shared, view: &View, rollout: &stored::Rollout) -> admin::Rollout {
    let cells = Cells::of(view, &shared.fleet.nodes());
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let cell = |id: &crate::rollout::CellId| {
        let nodes = cells.members.get(id);
        let with = |is: fn(&crate::rollout::Member) -> bool| {
            count(nodes.into_iter().flatten().filter(|(_, node)| is(node)).count())
        };
        let pin = view.pins.get(id).map(|pin| &pin.document).filter(|pin| pin.rollout == rollout.commit);
        admin::RolloutCell {
            region: id.region.to_string(),
            cell: id.cell.to_string(),
            commit: view.target(Some(id)).map_or(0, |target| target.id.0),
            nodes: with(|_| true),
            connected: with(|node| node.connected),
            applied: with(|node| node.connected && node.applied),
            reason: pin.map_or_else(String::new, |pin| pin.reason.clone()),
            pinned_at_unix_ms: pin.map_or(0, |pin| pin.made_at_unix_ms),
        }
    };
    // What cells run says nothing about a rollout of before.
    let is_heads = rollout.commit == view.head_id().0;
    admin::Rollout {
        commit: rollout.commit,
        from: rollout.from,
        state: rollout.state,
        reason: rollout.reason.clone(),
        author: rollout.author.clone(),
        started_at_unix_ms: rollout.started_at_unix_ms,
        changed_at_unix_ms: rollout.changed_at_unix_ms,
        bake_ms: rollout.bake_ms,
        cells: if is_heads { cells.in_order().into_iter().map(cell).collect() } else { Vec::new() },
    }
}

/// Decides one pause, resume or abort.
pub(super) async fn decide(
    shared: &Shared,
    author: &str,
    request: &admin::ChangeRolloutRequest,
) -> Result<Decision<admin::Rollout>, Status> {
    let head = shared.mirror.view().head_id();
    if request.commit != head.0 || head == CommitId::NONE {
        return Err(Status::aborted(format!("the head is commit {head} and not {}: look again", request.commit)));
    }
    let Some((rollout, revision)) = held(shared, head).await? else {
        return Err(Status::not_found(format!("nothing is known of a rollout of commit {head}")));
    };
    let state = rollout.state();
    let (next, what) = match (request.action(), state) {
        (Action::Pause, RolloutState::Running) => (RolloutState::Paused, "paused"),
        (Action::Resume, RolloutState::Paused) => (RolloutState::Running, "resumed"),
        (Action::Abort, state) if is_under_way(state) => (RolloutState::Aborted, "aborted"),
        (Action::Unspecified, _) => return Err(Status::invalid_argument("action must be PAUSE, RESUME or ABORT")),
        (_, state) => {
            let text = format!("the rollout of commit {head} is {}: {}", name(state), rollout.reason);
            return Err(Status::failed_precondition(text));
        }
    };
    let reason = if request.reason.is_empty() { "no reason given" } else { &request.reason };
    let changed = stored::Rollout {
        state: next.into(),
        reason: format!("{what} by {author}: {reason}"),
        changed_at_unix_ms: shared.now_unix_ms(),
        ..rollout
    };
    let key = shared.layout.rollout(head);
    let txn = Txn::new().when(Compare::mod_revision(&key, revision)).put(key, document::write(&changed));
    let answer = admin::Rollout { cells: Vec::new(), ..describe(shared, &shared.mirror.view(), &changed) };
    let outcome = match next {
        RolloutState::Aborted => format!("every cell goes back to commit {}", answer.from),
        RolloutState::Paused => "no further cell gets the commit".to_owned(),
        _ => "the next cell may get the commit".to_owned(),
    };
    Ok(Decision::Write { txn, answer, summary: format!("rollout of commit {head} {what}"), outcome })
}
