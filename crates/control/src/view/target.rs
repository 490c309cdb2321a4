//! What each cell is to run.

use std::sync::Arc;

use meridian_proto::content::Content;
use meridian_types::{CommitId, Digest, Kind, served};

use super::{Rollout, View};
use crate::rollout::{CellId, is_under_way, is_unfinished};

/// Earlier targets that are remembered: nodes leave them within seconds, and each is a few references to bodies that
/// commits hold anyway.
const FORMER: usize = 8;

/// A content that cells are to run, under the number of the commit that it is of.
#[derive(Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) id: CommitId,
    pub(crate) digest: Digest,
    pub(crate) content: Arc<Content>,
    /// What nodes that run it serve requests from ([`served`]); `None`: this build cannot tell.
    pub(crate) tables: Option<Digest>,
}

impl View {
    /// The head's rollout.
    pub(crate) fn rollout(&self) -> Option<&Rollout> {
        self.rollouts.get(&self.head_id())
    }

    /// What a cell is to run; `None`: there is no commit yet. A cell that is not known (`None`) runs what was before
    /// until the rollout is done.
    pub(crate) fn target(&self, cell: Option<&CellId>) -> Option<&Arc<Target>> {
        match &self.held_back {
            Some(held_back) if !cell.is_some_and(|cell| self.has_head(cell)) => Some(held_back),
            _ => self.head.as_ref().map(|head| &head.target),
        }
    }

    /// The newest commit.
    pub(crate) fn head_target(&self) -> Option<&Target> {
        self.head.as_ref().map(|head| &*head.target)
    }

    /// Whether the head's rollout has come to the cell. Once it is taken back it has come to none, whatever pins say
    /// until the leader has written them.
    pub(crate) fn has_head(&self, cell: &CellId) -> bool {
        self.rollout().is_some_and(|rollout| is_under_way(rollout.document.state()))
            && self.pins.get(cell).is_some_and(|pin| pin.document.commit == self.head_id().0)
    }

    /// What a node holds that says so much of it; `None`: nothing that this replica knows.
    pub(crate) fn content_of(&self, id: CommitId, digest: Digest) -> Option<Arc<Content>> {
        let targets = self.former.iter().chain(&self.held_back);
        let mut known = targets.filter(|target| target.id == id && target.digest == digest);
        known.next().map(|target| target.content.clone()).or_else(|| {
            let commit = self.commits.get(&id).filter(|commit| commit.digest == digest);
            commit.map(|commit| commit.content())
        })
    }

    /// Works out what is held back, after a change of the head or of its rollout.
    pub(super) fn hold_back(&mut self) {
        let held_back = self.before_rollout();
        if held_back == self.held_back {
            return;
        }
        self.former.extend(std::mem::replace(&mut self.held_back, held_back));
        let surplus = self.former.len().saturating_sub(FORMER);
        self.former.drain(..surplus);
    }

    fn before_rollout(&self) -> Option<Arc<Target>> {
        let head = self.head.as_ref()?;
        let rollout = &self.rollout()?.document;
        let from = self.commits.get(&CommitId(rollout.from))?;
        if !is_unfinished(rollout.state()) {
            return None;
        }
        let content = compose(&from.content(), &head.content);
        let tables = content.configuration().ok().map(|configuration| served::expected(&configuration));
        Some(Arc::new(Target { id: from.id(), digest: content.digest(), content: Arc::new(content), tables }))
    }
}

/// `from` with the regions and zones of `head`: the fleet must agree on these, so that they wait for no rollout. They
/// refer to nothing else, and nothing else to them.
fn compose(from: &Content, head: &Content) -> Content {
    let own = from.resources().filter(|resource| rolls_out(&resource.kind));
    let shared = head.resources().filter(|resource| !rolls_out(&resource.kind));
    Content::from_resources(own.chain(shared))
}

/// Whether resources of the kind come cell by cell.
fn rolls_out(kind: &str) -> bool {
    kind != Kind::Region.as_str() && kind != Kind::Zone.as_str()
}

/// Whether two contents differ in what comes cell by cell.
pub(crate) fn differ_by_cell(a: &Content, b: &Content) -> bool {
    let own = |content: &Content| content.resources().filter(|r| rolls_out(&r.kind)).collect::<Vec<_>>();
    own(a) != own(b)
}
