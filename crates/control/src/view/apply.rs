//! A change of the store, applied to a view.

use std::sync::Arc;

use meridian_proto::accounts::Accounts;
use meridian_proto::resources::v1 as resources;
use meridian_proto::{convert, fleet::v1 as fleet, store::v1 as stored};
use meridian_store::follow::Change;
use meridian_store::{Entry, Revision};
use meridian_types::{CommitId, NodeName, RegionName, TenantName, served};
use prost::Message;

use super::{Head, Leader, Override, Pin, Published, Registered, Rollout, Target, View};
use crate::rollout::CellId;
use crate::store::document::{self, DocumentError};
use crate::store::{Commit, Key, Layout};

/// The view after `change`, and what could not be read in it. What cannot be read changes nothing: the last good
/// value stays.
pub(super) fn apply(layout: &Layout, view: &View, change: Change) -> (View, Vec<(String, DocumentError)>) {
    let mut next = view.clone();
    next.revision = change.revision;
    let mut accounts = None;
    let mut unreadable = Vec::new();
    let (mut head_touched, mut summaries_touched) = (false, false);
    for entry in &change.upserts {
        let Some(key) = layout.parse(&entry.key) else { continue };
        head_touched |= matches!(key, Key::Head | Key::Commit(_) | Key::Rollout(_));
        summaries_touched |= matches!(key, Key::Summary(_));
        if let Err(error) = put(&mut next, &mut accounts, key, entry) {
            unreadable.push((entry.key.clone(), error));
        }
    }
    for key in &change.deletes {
        if let Some(key) = layout.parse(key) {
            summaries_touched |= matches!(key, Key::Summary(_));
            delete(&mut next, &mut accounts, key);
        }
    }
    if !view.is_loaded() {
        // A store without any has accounts with a digest too, which nodes compare theirs with.
        accounts.get_or_insert_with(|| Accounts::clone(&view.accounts));
    }
    if let Some(accounts) = accounts {
        // Slow, and compared with every beat.
        next.accounts_digest = accounts.digest();
        next.accounts = Arc::new(accounts);
    }
    if head_touched {
        if let Err(error) = follow_head(&mut next) {
            unreadable.push((layout.head(), error));
        }
        next.hold_back();
    }
    if summaries_touched && let Some(outages) = view.outages.next(&next.summaries, next.revision) {
        next.outages = Arc::new(outages);
    }
    (next, unreadable)
}

fn put(view: &mut View, accounts: &mut Option<Accounts>, key: Key<'_>, entry: &Entry) -> Result<(), DocumentError> {
    let value = &entry.value;
    let revision = entry.mod_revision;
    match key {
        Key::Epoch => {
            let epoch: stored::Epoch = document::read(value)?;
            (view.epoch, view.restored_id) = (epoch.restores, epoch.cluster_id);
        }
        Key::Head => view.head_named = Some(CommitId(document::read::<stored::Head>(value)?.commit)),
        Key::Commit(id) => {
            view.commits.insert(id, Arc::new(Commit::read(value)?));
        }
        Key::Rollout(id) => {
            view.rollouts.insert(id, Rollout { document: document::read(value)?, revision });
        }
        Key::Pin { region: place, cell } => {
            let pin = Pin { document: document::read(value)?, revision };
            view.pins.insert(cell_id(place, cell)?, pin);
        }
        Key::Tenant(_) => {
            let tenant = convert::tenant(&resources::Tenant::decode(value.clone())?).map_err(mistakes)?;
            accounts_of(view, accounts).tenants.insert(tenant.name.clone(), tenant);
        }
        Key::Account(_) => {
            let key = convert::key(&resources::Key::decode(value.clone())?).map_err(DocumentError::Content)?;
            accounts_of(view, accounts).keys.insert(key.hash, key);
        }
        Key::Override(name) => {
            view.overrides.insert(region(name)?, Override { document: document::read(value)?, revision });
        }
        Key::Faults => {
            view.faults = Arc::new(document::read(value)?);
            view.faults_revision = revision;
        }
        Key::Switches => {
            view.switches = Arc::new(document::read(value)?);
            view.switches_revision = revision;
        }
        Key::Node { region: place, node } => {
            let registered = Registered { region: region(place)?, document: document::read(value)?, revision };
            view.nodes.insert(node_name(node)?, registered);
        }
        Key::Replica(id) => {
            view.replicas.insert(id.to_owned(), document::read(value)?);
        }
        Key::Leader => {
            view.leader = Some(Leader { replica: document::read(value)?, created: entry.create_revision });
        }
        Key::Summary(name) => {
            view.summaries.insert(region(name)?, fleet::RegionSummary::decode(value.clone())?);
        }
        Key::Plan => {
            let message = fleet::Plan::decode(value.clone())?;
            let plan = Arc::new(convert::plan(&message).map_err(DocumentError::Content)?);
            view.plan = Some(Published { plan, message: Arc::new(message), revision });
        }
        Key::Audit(ulid) => {
            view.audits.insert(ulid.to_owned());
        }
        Key::Beacon(id) => {
            view.beacons.insert(id.to_owned(), document::read::<stored::Beacon>(value)?.count);
        }
    }
    Ok(())
}

fn delete(view: &mut View, accounts: &mut Option<Accounts>, key: Key<'_>) {
    match key {
        Key::Epoch => (view.epoch, view.restored_id) = (0, 0),
        // A head is never deleted; if somebody did, the fleet goes on with the last one.
        Key::Head | Key::Plan => {}
        Key::Commit(id) => {
            view.commits.remove(&id);
        }
        Key::Rollout(id) => {
            view.rollouts.remove(&id);
        }
        Key::Pin { region, cell } => {
            view.pins.retain(|id, _| id.region.as_str() != region || id.cell.as_str() != cell);
        }
        Key::Tenant(name) => {
            if let Ok(name) = TenantName::new(name) {
                accounts_of(view, accounts).tenants.remove(&name);
            }
        }
        Key::Account(hash) => {
            accounts_of(view, accounts).keys.remove(&hash);
        }
        Key::Override(name) => {
            view.overrides.retain(|region, _| region.as_str() != name);
        }
        // These are never deleted, but for a restore: then the epoch says so.
        Key::Faults => (view.faults, view.faults_revision) = (Arc::default(), Revision::ZERO),
        Key::Switches => (view.switches, view.switches_revision) = (Arc::default(), Revision::ZERO),
        // A node that moved has a new key; deleting its old one must not remove it.
        Key::Node { region, node } => {
            view.nodes.retain(|name, registered| name.as_str() != node || registered.region.as_str() != region);
        }
        Key::Replica(id) => {
            view.replicas.remove(id);
        }
        Key::Leader => view.leader = None,
        Key::Summary(name) => {
            view.summaries.retain(|region, _| region.as_str() != name);
        }
        Key::Audit(ulid) => {
            view.audits.remove(ulid);
        }
        Key::Beacon(id) => {
            view.beacons.remove(id);
        }
    }
}

/// Decodes the head once it and its commit are there.
fn follow_head(view: &mut View) -> Result<(), DocumentError> {
    let Some(named) = view.head_named else { return Ok(()) };
    if view.head_id() == named {
        return Ok(());
    }
    let Some(commit) = view.commits.get(&named).cloned() else {
        return Err(DocumentError::Content(format!("names commit {named}, which is not there")));
    };
    let content = commit.content();
    let configuration = content.configuration().map_err(mistakes)?;
    let tables = Some(served::expected(&configuration));
    let target = Target { id: commit.id(), digest: commit.digest, content: content.clone(), tables };
    view.head = Some(Arc::new(Head { commit, content, configuration, target: Arc::new(target) }));
    Ok(())
}

/// Copied once for all changes of a revision.
fn accounts_of<'a>(view: &View, accounts: &'a mut Option<Accounts>) -> &'a mut Accounts {
    accounts.get_or_insert_with(|| (*view.accounts).clone())
}

fn region(name: &str) -> Result<RegionName, DocumentError> {
    RegionName::new(name).map_err(|error| DocumentError::Content(error.to_string()))
}

fn cell_id(place: &str, cell: &str) -> Result<CellId, DocumentError> {
    let id = CellId::new(&region(place)?, cell);
    id.ok_or_else(|| DocumentError::Content(format!("{cell:?} cannot be a cell's name")))
}

fn node_name(name: &str) -> Result<NodeName, DocumentError> {
    NodeName::new(name).map_err(|error| DocumentError::Content(error.to_string()))
}

fn mistakes(mistakes: Vec<meridian_types::Mistake>) -> DocumentError {
    let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    DocumentError::Content(texts.join("; "))
}
