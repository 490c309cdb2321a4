//! The rollout that begins with a commit, written by the same transaction.

use meridian_proto::content::Content;
use meridian_proto::fleet::v1::RolloutState;
use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Revision, Txn};
use meridian_types::CommitId;
use tonic::Status;

use super::apply::{Wanted, find, unreadable};
use super::write::refused;
use crate::rollout::{Cells, is_unfinished};
use crate::shared::Shared;
use crate::store::Commit;
use crate::store::commit::KEPT;
use crate::store::document::{self, FORM};
use crate::view::differ_by_cell;

/// A transaction and the rollout that it begins.
pub(super) struct Begun {
    pub(super) txn: Txn,
    pub(super) rollout: stored::Rollout,
}

/// Adds to the transaction that makes commit `id` with `content`: its rollout, the end of the one before, and the end of
/// what is too old to be kept.
pub(super) async fn rollout(
    shared: &Shared,
    txn: Txn,
    wanted: &Wanted<'_>,
    head: Option<&Commit>,
    id: CommitId,
    content: &Content,
) -> Result<Begun, Status> {
    let (layout, now) = (&shared.layout, shared.now_unix_ms());
    let before = match head {
        Some(head) => held(shared, head.id()).await?,
        None => None,
    };
    let unfinished = before.as_ref().map(|(before, _)| before).filter(|before| is_unfinished(before.state()));
    // What every cell ran last.
    let from = unfinished.map_or(head.map_or(CommitId::NONE, Commit::id), |before| CommitId(before.from));
    let (state, reason) = match from {
        CommitId::NONE => (RolloutState::Done, "the first commit: no cell has run anything before"),
        from => {
            let ran = find(shared, from).await?;
            let divided = || Cells::of(&shared.mirror.view(), &shared.fleet.nodes()).are_divided();
            match () {
                () if !differ_by_cell(&ran.content(), content) => {
                    (RolloutState::Done, "only regions and zones changed, which take effect everywhere at once")
                }
                () if wanted.rollout.is_staged(divided(), unfinished.is_some()) => {
                    (RolloutState::Running, "cell by cell")
                }
                () if wanted.rollout.staged.is_some() => (RolloutState::Done, "everywhere at once, as was asked for"),
                () => (RolloutState::Done, "everywhere at once: no region has more than one cell"),
            }
        }
    };
    let rollout = stored::Rollout {
        form: FORM,
        commit: id.0,
        from: from.0,
        state: state.into(),
        author: wanted.author.to_owned(),
        reason: reason.to_owned(),
        started_at_unix_ms: now,
        changed_at_unix_ms: now,
        bake_ms: u32::try_from(wanted.rollout.bake.as_millis()).unwrap_or(u32::MAX),
    };
    let mut txn = txn.put(layout.rollout(id), document::write(&rollout));
    if let Some((before, revision)) = &before {
        // The leader may be about to end it: then this is decided anew.
        txn = txn.when(Compare::mod_revision(layout.rollout(CommitId(before.commit)), *revision));
    }
    if let Some(before) = unfinished {
        let superseded = stored::Rollout {
            state: RolloutState::Superseded.into(),
            reason: format!("commit {id} took its place while it was {}", crate::rollout::name(before.state())),
            changed_at_unix_ms: now,
            ..before.clone()
        };
        txn = txn.put(layout.rollout(CommitId(before.commit)), document::write(&superseded));
    }
    let oldest = id.0.checked_sub(KEPT).map(CommitId).filter(|oldest| *oldest != CommitId::NONE);
    if let Some(oldest) = oldest {
        txn = txn.delete(layout.rollout(oldest));
        // Cells may run one that is older than all that are kept.
        if oldest != from || state == RolloutState::Done {
            txn = txn.delete(layout.commit(oldest));
        }
    }
    Ok(Begun { txn, rollout })
}

/// A rollout as the store has it.
pub(super) async fn held(shared: &Shared, commit: CommitId) -> Result<Option<(stored::Rollout, Revision)>, Status> {
    let entry = shared.store.get(&shared.layout.rollout(commit)).await.map_err(|error| refused(&error))?;
    let read =
        |entry: meridian_store::Entry| Ok((document::read(&entry.value).map_err(unreadable)?, entry.mod_revision));
    entry.map(read).transpose()
}
