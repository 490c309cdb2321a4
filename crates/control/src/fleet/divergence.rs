//! What a node serves, compared with what the store says that it should serve, at every beat.

use std::collections::BTreeMap;
use std::time::Duration;

use meridian_proto::node::v1::{Beat, ServingState};
use meridian_types::{CommitId, Digest, PlanId};
use tokio::time::Instant;

use crate::rollout::CellId;
use crate::view::View;

/// What changes in the store needs a moment to arrive: a difference counts once it has stood for so long. With the
/// beat (250 ms) this keeps what is shown under a second old.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// In what a node may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Aspect {
    /// What it serves is nothing that this replica knows by that commit's number. In a rollout that may be on its way here: an
    /// old commit with the regions and zones of a head that this replica has not read yet.
    Content,
    /// Its tables are not what its commit says, of a content that is known here: never on its way, always wrong.
    Tables,
    /// It serves another commit than its cell is to run.
    Commit,
    Accounts,
    Plan,
}

/// The differences of one node, with since when and a text for people.
#[derive(Debug, Clone, Default)]
pub(crate) struct Divergences {
    found: BTreeMap<Aspect, (Instant, String)>,
}

impl Divergences {
    /// Compares a beat.
    pub(crate) fn compare(&mut self, beat: &Beat, cell: Option<&CellId>, view: &View) {
        let now = Instant::now();
        let mut found = BTreeMap::new();
        // A node that is starting has nothing yet, and a replica that has read nothing has nothing to compare with.
        if view.is_loaded() && beat.state() != ServingState::Starting {
            for (aspect, text) in differences(beat, cell, view) {
                let since = self.found.get(&aspect).map_or(now, |(since, _)| *since);
                found.insert(aspect, (since, text));
            }
        }
        self.found = found;
    }

    /// Those that count.
    pub(crate) fn standing(&self) -> Vec<String> {
        let counts = |aspect: &Aspect, since: Instant| *aspect == Aspect::Tables || since.elapsed() >= ON_ITS_WAY;
        let standing = self.found.iter().filter(|(aspect, (since, _))| counts(aspect, *since));
        standing.map(|(_, (_, text))| text.clone()).collect()
    }
}

fn differences(beat: &Beat, cell: Option<&CellId>, view: &View) -> Vec<(Aspect, String)> {
    let mut found = Vec::new();
    let (commit, head) = (CommitId(beat.commit), view.head_id());
    let digest = Digest::from_slice(&beat.digest);
    let target = view.target(cell);
    let meant = target.map_or(head, |target| target.id);
    let is_known = digest.is_some_and(|digest| view.content_of(commit, digest).is_some());
    match view.commits.get(&commit) {
        Some(stored) if !is_known => {
            let serves = digest.map_or("nothing".to_owned(), |digest| format!("content {}", short(digest)));
            let is = target.filter(|target| target.id == commit).map_or(stored.digest, |target| target.digest);
            found.push((Aspect::Content, format!("it serves {serves} as commit {commit}, which is {}", short(is))));
        }
        // A number above the head's is said below: it may be of a moment ago, and this replica has not read it yet.
        None if commit != CommitId::NONE && commit < head => {
            found.push((Aspect::Content, format!("it serves commit {commit}, which the store does not have")));
        }
        _ => {}
    }
    if commit != meant {
        let what = if meant == head { "the head" } else { "what its cell is to run," };
        found.push((Aspect::Commit, format!("it serves commit {commit} and not {what} {meant}")));
    } else if is_known && target.is_some_and(|target| digest != Some(target.digest)) {
        found.push((Aspect::Commit, format!("it serves commit {commit} with regions and zones of an older head")));
    }
    let tables = Digest::from_slice(&beat.tables_digest).filter(|_| beat.tables_form == meridian_types::served::FORM);
    let meant_tables =
        target.filter(|target| commit == target.id && digest == Some(target.digest)).and_then(|t| t.tables);
    if let Some((tables, meant)) = tables.zip(meant_tables).filter(|(tables, meant)| tables != meant) {
        let (tables, meant) = (short(tables), short(meant));
        let text = format!("it serves requests from tables {tables}; commit {commit} makes {meant}");
        found.push((Aspect::Tables, text));
    }
    let accounts = Digest::from_slice(&beat.accounts_digest);
    if accounts.is_some_and(|accounts| accounts != view.accounts_digest) {
        found.push((Aspect::Accounts, "its tenants and keys are not those of the store".to_owned()));
    }
    let plan = PlanId { epoch: beat.plan_epoch, number: beat.plan_number };
    if let Some(published) = view.plan.as_ref().filter(|published| published.plan.id != plan) {
        found.push((Aspect::Plan, format!("it obeys plan {plan} and not {}", published.plan.id)));
    }
    found
}

/// Enough of a digest to tell two apart.
fn short(digest: Digest) -> String {
    digest.to_string().chars().take(12).collect()
}
