//! Commits: apply, roll back, and what they change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use meridian_proto::accounts::Accounts;
use meridian_proto::admin::v1 as admin;
use meridian_proto::content::Content;
use meridian_proto::convert::{self, Reading};
use meridian_proto::resources::v1::{self as resources, Resource, ResourceRef};
use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Revision, Txn};
use meridian_types::{CommitId, ErrorCode, Kind, TenantName};
use prost::Message;
use tonic::Status;

use super::write::{Decision, refused};
use super::{begin, check};
use crate::rollout::Policy;
use crate::shared::Shared;
use crate::store::Commit;
use crate::store::commit::{self, KEPT, Origin};
use crate::store::document::{self, FORM};

/// Tenants in one request: each is a key of its own in the transaction, and etcd takes 128 operations.
const MAX_TENANTS: usize = 100;

/// What an operator wants changed, whatever the call.
pub(super) struct Wanted<'a> {
    pub(super) author: &'a str,
    pub(super) reason: &'a str,
    pub(super) expected: CommitId,
    pub(super) dry_run: bool,
    pub(super) rollout: Policy,
    pub(super) change: Change<'a>,
}

/// What to do to the resources.
pub(super) enum Change<'a> {
    /// Add, replace, remove.
    Edit { upserts: &'a [Resource], removals: &'a [ResourceRef] },
    /// The content of an old commit.
    Restore(CommitId),
}

/// What the decision is made on, read from the store and not from the mirror.
struct Base {
    head: Option<Arc<Commit>>,
    head_revision: Revision,
    content: Content,
    accounts: Accounts,
    tenants: BTreeMap<TenantName, Revision>,
}

/// The changed state, and what is wrong with the request itself.
#[derive(Default)]
struct Edited {
    content: Content,
    accounts: Accounts,
    removed: BTreeSet<(Kind, String)>,
    tenants_written: BTreeSet<TenantName>,
    changes: Vec<admin::Change>,
    mistakes: Vec<admin::Mistake>,
}

/// Decides one apply or rollback.
pub(super) async fn decide(shared: &Shared, wanted: &Wanted<'_>) -> Result<Decision<admin::ApplyResponse>, Status> {
    let base = read(shared).await?;
    let head = base.head.as_ref().map_or(CommitId::NONE, |head| head.id());
    if wanted.expected != head {
        let by = base
            .head
            .as_ref()
            .map_or_else(String::new, |head| format!(" (by {}: {})", head.info.author, head.info.reason));
        return Err(Status::aborted(format!(
            "the head is commit {head}{by}, and the change was decided on commit {}; look at what changed and try again",
            wanted.expected
        )));
    }
    let mut edited = match &wanted.change {
        Change::Edit { upserts, removals } => edit(&base, upserts, removals),
        Change::Restore(id) => restore(shared, &base, *id).await?,
    };
    let found = check::configuration(&edited.content, &edited.accounts, &edited.removed, &shared.codecs);
    // What a check says about a stand-in for a tenant's wrong field was told as that field's mistake.
    let at = |mistake: &admin::Mistake| (mistake.kind.clone(), mistake.name.clone(), mistake.field_path.clone());
    let told: BTreeSet<_> = edited.mistakes.iter().map(at).collect();
    edited.mistakes.extend(found.into_iter().map(check::message).filter(|mistake| !told.contains(&at(mistake))));
    let unchanged = edited.changes.iter().all(|change| change.action() == admin::change::Action::Unchanged);
    let mut answer = admin::ApplyResponse {
        commit: head.0,
        changes: edited.changes,
        mistakes: edited.mistakes,
        ..admin::ApplyResponse::default()
    };
    if wanted.dry_run || unchanged || !answer.mistakes.is_empty() {
        return Ok(Decision::Answer(answer));
    }
    let mut txn = Txn::new().when(Compare::mod_revision(shared.layout.head(), base.head_revision));
    if edited.content != base.content {
        let origin = Origin {
            author: wanted.author.to_owned(),
            reason: wanted.reason.to_owned(),
            made_at_unix_ms: shared.now_unix_ms(),
        };
        let (id, value) = commit::make(base.head.as_deref(), &edited.content, origin)
            .map_err(|error| Status::resource_exhausted(error.to_string()))?;
        let head = stored::Head { form: FORM, commit: id.0 };
        txn = txn.put(shared.layout.commit(id), value).put(shared.layout.head(), document::write(&head));
        let begun = begin::rollout(shared, txn, wanted, base.head.as_deref(), id, &edited.content).await?;
        (answer.rollout_state, answer.rollout_reason) = (begun.rollout.state, begun.rollout.reason);
        txn = begun.txn;
        answer.commit = id.0;
    }
    for name in &edited.tenants_written {
        let key = shared.layout.tenant(name);
        let seen = base.tenants.get(name).copied().unwrap_or(Revision::ZERO);
        txn = txn.when(Compare::mod_revision(&key, seen));
        txn = match edited.accounts.tenants.get(name) {
            Some(tenant) => txn.put(key, document::write(&resources::Tenant::from(tenant))),
            None => txn.delete(key),
        };
    }
    let summary = summary(&answer);
    let still = if answer.commit == head.0 { "still " } else { "" };
    let outcome = format!("head is {still}commit {}", answer.commit);
    Ok(Decision::Write { txn, answer, summary, outcome })
}

async fn read(shared: &Shared) -> Result<Base, Status> {
    let layout = &shared.layout;
    let entry = shared.store.get(&layout.head()).await.map_err(|error| refused(&error))?;
    let head_revision = entry.as_ref().map_or(Revision::ZERO, |entry| entry.mod_revision);
    let head = match entry {
        None => None,
        Some(entry) => {
            let head: stored::Head = document::read(&entry.value).map_err(unreadable)?;
            Some(find(shared, CommitId(head.commit)).await?)
        }
    };
    let content = head.as_ref().map(|head| (*head.content()).clone()).unwrap_or_default();
    let mut accounts = Accounts::default();
    let mut tenants = BTreeMap::new();
    for entry in shared.store.list(&layout.tenants()).await.map_err(|error| refused(&error))?.entries {
        let message = resources::Tenant::decode(entry.value).map_err(|error| unreadable(error.into()))?;
        // A tenant that cannot be used is not in the way of replacing it.
        if let Ok(tenant) = convert::tenant(&message) {
            tenants.insert(tenant.name.clone(), entry.mod_revision);
            accounts.tenants.insert(tenant.name.clone(), tenant);
        }
    }
    for entry in shared.store.list(&layout.account_keys()).await.map_err(|error| refused(&error))?.entries {
        let message = resources::Key::decode(entry.value).map_err(|error| unreadable(error.into()))?;
        if let Ok(key) = convert::key(&message) {
            accounts.keys.insert(key.hash, key);
        }
    }
    Ok(Base { head, head_revision, content, accounts, tenants })
}

/// A commit from the view, or else from the store.
pub(super) async fn find(shared: &Shared, id: CommitId) -> Result<Arc<Commit>, Status> {
    if let Some(commit) = shared.mirror.view().commits.get(&id) {
        return Ok(commit.clone());
    }
    match shared.store.get(&shared.layout.commit(id)).await.map_err(|error| refused(&error))? {
        Some(entry) => Commit::read(&entry.value).map(Arc::new).map_err(unreadable),
        None => Err(Status::not_found(format!("there is no commit {id}; the last {KEPT} are kept"))),
    }
}

pub(super) fn unreadable(error: document::DocumentError) -> Status {
    Status::internal(format!("a stored document {error}"))
}

fn edit(base: &Base, upserts: &[Resource], removals: &[ResourceRef]) -> Edited {
    let mut edited = Edited { content: base.content.clone(), accounts: base.accounts.clone(), ..Edited::default() };
    let mut named = BTreeSet::new();
    for removal in removals {
        match admit(&mut named, &removal.kind, &removal.name) {
            Ok(kind) => edited.remove(base, kind, &removal.name),
            Err(mistake) => edited.mistakes.push(mistake),
        }
    }
    for upsert in upserts {
        match admit(&mut named, &upsert.kind, &upsert.name) {
            Ok(kind) => edited.put(base, kind, upsert),
            Err(mistake) => edited.mistakes.push(mistake),
        }
    }
    if edited.tenants_written.len() > MAX_TENANTS {
        let text = format!("one request may change {MAX_TENANTS} tenants at most");
        edited.mistakes.push(mistake(Kind::Tenant.as_str(), "", ErrorCode::TooLarge, text));
    }
    edited
}

/// The kind of a named resource, which must not be named before.
fn admit(named: &mut BTreeSet<(Kind, String)>, kind: &str, name: &str) -> Result<Kind, admin::Mistake> {
    let Some(parsed) = Kind::parse(kind) else {
        let known = Kind::ALL.map(Kind::as_str).join(", ");
        let text = format!("there is no kind {kind:?}; there are: {known}");
        return Err(mistake(kind, name, ErrorCode::UnknownReference, text));
    };
    if !named.insert((parsed, name.to_owned())) {
        let text = "the request names it twice".to_owned();
        return Err(mistake(parsed.as_str(), name, ErrorCode::Duplicate, text));
    }
    Ok(parsed)
}

impl Edited {
    fn remove(&mut self, base: &Base, kind: Kind, name: &str) {
        let before = match kind {
            Kind::Tenant => {
                let tenant = base.accounts.tenants.get(name);
                if let Some(tenant) = tenant {
                    self.accounts.tenants.remove(name);
                    self.tenants_written.insert(tenant.name.clone());
                }
                tenant.map(|tenant| document::write(&resources::Tenant::from(tenant)))
            }
            _ => {
                let removal = ResourceRef { kind: kind.to_string(), name: name.to_owned() };
                self.content.apply(Vec::new(), vec![removal]);
                base.content.get(kind, name).cloned()
            }
        };
        match before {
            Some(before) => {
                self.removed.insert((kind, name.to_owned()));
                self.changes.push(change(kind, name, Some(before), None));
            }
            None => {
                let text = format!("there is no {kind} {name}");
                self.mistakes.push(mistake(kind.as_str(), name, ErrorCode::NotFound, text));
            }
        }
    }

    fn put(&mut self, base: &Base, kind: Kind, upsert: &Resource) {
        let name = match own_name(kind, upsert) {
            Ok(name) => name,
            Err(mistake) => return self.mistakes.push(mistake),
        };
        let before = match kind {
            Kind::Tenant => {
                let decoded = convert::decode::<resources::Tenant>(kind, &name, &upsert.body);
                let Reading { value, mistakes } = match decoded {
                    Ok(message) => convert::read_tenant(&message),
                    Err(mistakes) => Reading { value: None, mistakes },
                };
                // A mistake in one field does not keep the others from being checked; nothing is written then.
                self.mistakes.extend(mistakes.into_iter().map(check::message));
                match value {
                    // One whose name is wrong has that of a stand-in.
                    Some(tenant) if tenant.name.as_str() == name => {
                        let before = base.accounts.tenants.get(&tenant.name);
                        if before != Some(&tenant) {
                            self.tenants_written.insert(tenant.name.clone());
                        }
                        let before = before.map(|tenant| document::write(&resources::Tenant::from(tenant)));
                        self.accounts.tenants.insert(tenant.name.clone(), tenant);
                        before
                    }
                    _ => return,
                }
            }
            _ => {
                let resource = Resource { kind: kind.to_string(), name: name.clone(), body: upsert.body.clone() };
                self.content.apply(vec![resource], Vec::new());
                base.content.get(kind, &name).cloned()
            }
        };
        self.changes.push(change(kind, &name, before, Some(upsert.body.clone())));
    }
}

/// The name inside the resource, which is what it is stored under; the name beside it must be the same.
fn own_name(kind: Kind, upsert: &Resource) -> Result<String, admin::Mistake> {
    /// Every kind has its name in field 1; the rest is read by its own conversion.
    #[derive(Clone, PartialEq, Message)]
    struct Named {
        #[prost(string, tag = "1")]
        name: String,
    }
    let named = convert::decode::<Named>(kind, &upsert.name, &upsert.body)
        .map_err(|found| found.into_iter().next().map(check::message).unwrap_or_default())?;
    if named.name != upsert.name {
        let text = format!("the resource calls itself {:?}", named.name);
        return Err(mistake(kind.as_str(), &upsert.name, ErrorCode::InvalidField, text));
    }
    // A zone's name is compared as DNS compares names.
    match (kind, meridian_types::DomainName::new(&named.name)) {
        (Kind::Zone, Ok(zone)) => Ok(zone.to_string()),
        _ => Ok(named.name),
    }
}

async fn restore(shared: &Shared, base: &Base, id: CommitId) -> Result<Edited, Status> {
    let content = (*find(shared, id).await?.content()).clone();
    let (upserts, removals) = content.diff(&base.content);
    let mut edited = Edited { accounts: base.accounts.clone(), ..Edited::default() };
    for removal in removals {
        let Some(kind) = Kind::parse(&removal.kind) else { continue };
        let before = base.content.get(kind, &removal.name).cloned();
        edited.changes.push(change(kind, &removal.name, before, None));
        edited.removed.insert((kind, removal.name));
    }
    for upsert in upserts {
        let Some(kind) = Kind::parse(&upsert.kind) else { continue };
        let before = base.content.get(kind, &upsert.name).cloned();
        edited.changes.push(change(kind, &upsert.name, before, Some(upsert.body)));
    }
    edited.content = content;
    Ok(edited)
}

fn change(kind: Kind, name: &str, before: Option<bytes::Bytes>, after: Option<bytes::Bytes>) -> admin::Change {
    use admin::change::Action;
    let action = match (&before, &after) {
        (None, _) => Action::Created,
        (Some(_), None) => Action::Removed,
        (Some(before), Some(after)) if before == after => Action::Unchanged,
        (Some(_), Some(_)) => Action::Changed,
    };
    admin::Change {
        action: action.into(),
        kind: kind.to_string(),
        name: name.to_owned(),
        before: before.unwrap_or_default(),
        after: after.unwrap_or_default(),
    }
}

fn mistake(kind: &str, name: &str, code: ErrorCode, text: String) -> admin::Mistake {
    admin::Mistake {
        kind: kind.to_owned(),
        name: name.to_owned(),
        field_path: String::new(),
        code: code.to_string(),
        text,
    }
}

/// For the audit log: counts and names, never content.
fn summary(answer: &admin::ApplyResponse) -> String {
    /// A log line is read by people.
    const NAMES: usize = 10;
    let changed = answer.changes.iter().filter(|change| change.action() != admin::change::Action::Unchanged);
    let names: Vec<String> = changed.map(|change| format!("{}/{}", change.kind, change.name)).collect();
    let more = if names.len() > NAMES { ", ..." } else { "" };
    let shown = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    format!("{} changes: {shown}{more}", names.len())
}
