//! The kill switch: a provider or a target that an operator takes out of service at once, with a reason, until it is put
//! back or for a time. All that is off is one document, so that its number is bounded by one compare.

use std::time::Duration;

use meridian_proto::admin::v1 as admin;
use meridian_proto::fleet::v1::{Switch, SwitchScope};
use meridian_proto::store::v1 as stored;
use tonic::Status;

use super::held::Held;
use super::write::Decision;
use super::{known, listed};
use crate::scope::Scope;
use crate::shared::Shared;
use crate::store::document::FORM;
use crate::switches::{holding, scope, text};

/// Off at once. Whoever needs more means providers, regions, or another configuration.
const MAX_SWITCHES: usize = 64;
/// Shorter ones are over before every node has heard of them.
const MIN_LIFE: Duration = Duration::from_secs(1);

/// Decides what is switched off.
pub(super) async fn off(
    shared: &Shared,
    author: &str,
    request: &admin::SwitchOffRequest,
) -> Result<Decision<admin::SwitchOffResponse>, Status> {
    let wanted = wanted(request.scope.as_ref(), &request.reason)?;
    if request.for_ms != 0 && u128::from(request.for_ms) < MIN_LIFE.as_millis() {
        let text = format!("for_ms must be at least {}, or 0 for until it is released", MIN_LIFE.as_millis());
        return Err(Status::invalid_argument(text));
    }
    let view = shared.mirror.view();
    let head = view.head.as_ref().ok_or_else(|| Status::failed_precondition("there is no configuration yet"))?;
    known::check(&head.configuration, Scope::from(wanted))?;
    let held = read(shared).await?;
    let now = shared.now_unix_ms();
    let mut switches: Vec<Switch> = holding(&held.document.switches, now).cloned().collect();
    // One that is off already gets new terms.
    switches.retain(|switch| switch.scope.as_ref() != Some(wanted));
    if switches.len() >= MAX_SWITCHES {
        return Err(Status::resource_exhausted(format!(
            "{MAX_SWITCHES} switches are off already; put one back first, or switch off a whole provider"
        )));
    }
    let ends = now.saturating_add(i64::try_from(request.for_ms).unwrap_or(i64::MAX));
    let switch = Switch {
        scope: Some(wanted.clone()),
        author: author.to_owned(),
        reason: request.reason.clone(),
        made_at_unix_ms: now,
        until_unix_ms: if request.for_ms == 0 { 0 } else { ends },
    };
    let summary = format!("switched off {}", text(&switch));
    switches.push(switch.clone());
    let txn = held.replaced(&document(shared, switches, author, &request.reason));
    let outcome = "in force at once".to_owned();
    Ok(Decision::Write { txn, answer: admin::SwitchOffResponse { switch: Some(switch) }, summary, outcome })
}

/// Decides what is put back.
pub(super) async fn on(
    shared: &Shared,
    author: &str,
    request: &admin::SwitchOnRequest,
) -> Result<Decision<admin::SwitchOnResponse>, Status> {
    let wanted = wanted(request.scope.as_ref(), &request.reason)?;
    let held = read(shared).await?;
    let now = shared.now_unix_ms();
    // What the configuration does not know any more can be put back all the same.
    let (released, left): (Vec<Switch>, Vec<Switch>) =
        holding(&held.document.switches, now).cloned().partition(|switch| switch.scope.as_ref() == Some(wanted));
    let wanted = Scope::from(wanted);
    let Some(switch) = released.into_iter().next() else {
        let names: Vec<String> = left.iter().map(|switch| scope(switch).to_string()).collect();
        let off = listed(names.iter().map(String::as_str));
        let text = format!("{wanted} is not switched off under that name; switched off: {off}");
        return Err(Status::not_found(text));
    };
    let remaining = left.iter().filter(|switch| scope(switch).meets(wanted)).cloned().collect();
    let summary = format!("switched on; it was off: {}", text(&switch));
    let txn = held.replaced(&document(shared, left, author, &request.reason));
    let outcome = "in force at once".to_owned();
    Ok(Decision::Write { txn, answer: admin::SwitchOnResponse { switch: Some(switch), remaining }, summary, outcome })
}

/// What is off.
pub(super) fn list(shared: &Shared) -> admin::ListSwitchesResponse {
    admin::ListSwitchesResponse { switches: now(shared) }
}

/// What is off, oldest first.
pub(super) fn now(shared: &Shared) -> Vec<Switch> {
    holding(&shared.mirror.view().switches.switches, shared.now_unix_ms()).cloned().collect()
}

/// What a request is about, if it says so, and why.
fn wanted<'a>(scope: Option<&'a SwitchScope>, reason: &str) -> Result<&'a SwitchScope, Status> {
    if reason.trim().is_empty() {
        return Err(Status::invalid_argument("reason must say why: others will see the effect and ask"));
    }
    let named = scope.filter(|scope| !scope.provider.is_empty());
    named.ok_or_else(|| Status::invalid_argument("scope must name a provider"))
}

async fn read(shared: &Shared) -> Result<Held<stored::Switches>, Status> {
    Held::read(shared, shared.layout.switches(), "switches").await
}

/// As it is to be from now on.
fn document(shared: &Shared, switches: Vec<Switch>, author: &str, reason: &str) -> stored::Switches {
    stored::Switches {
        form: FORM,
        switches,
        author: author.to_owned(),
        reason: reason.to_owned(),
        made_at_unix_ms: shared.now_unix_ms(),
    }
}
