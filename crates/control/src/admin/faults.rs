//! Faults for rehearsals: injected by an operator, for a limited time, with a reason. All of them are one document, so
//! that their number is bounded by one compare.

use std::time::Duration;

use meridian_proto::admin::v1 as admin;
use meridian_proto::fleet::v1::{FaultSpec, InjectedFault, fault_spec::Kind};
use meridian_proto::store::v1 as stored;
use tonic::Status;

use super::held::Held;
use super::write::Decision;
use super::{known, listed};
use crate::faults::{holding, text};
use crate::scope::Scope;
use crate::shared::Shared;
use crate::store::document::FORM;

/// Faults at once. More are no rehearsal any more, and nodes obey no more.
const MAX_FAULTS: usize = 16;
/// A fault that outlives the people who rehearse is an outage.
const MAX_LIFE: Duration = Duration::from_secs(3600);
/// Shorter ones strike nothing.
const MIN_LIFE: Duration = Duration::from_secs(1);
/// Above the longest deadline that a provider may have.
const MAX_LATENCY_MS: u32 = 600_000;
/// Above the events of the longest answer.
const MAX_EVENTS: u32 = 100_000;

/// Decides an injection.
pub(super) async fn inject(
    shared: &Shared,
    author: &str,
    request: &admin::InjectFaultRequest,
) -> Result<Decision<admin::InjectFaultResponse>, Status> {
    let spec = request.spec.clone().unwrap_or_default();
    check(&spec).map_err(Status::invalid_argument)?;
    if request.reason.trim().is_empty() {
        return Err(Status::invalid_argument("reason must say why: others will see the fault and ask"));
    }
    let life = Duration::from_millis(request.for_ms.into());
    if !(MIN_LIFE..=MAX_LIFE).contains(&life) {
        return Err(Status::invalid_argument(format!(
            "for_ms must be {} to {}: a fault ends by itself",
            MIN_LIFE.as_millis(),
            MAX_LIFE.as_millis()
        )));
    }
    let view = shared.mirror.view();
    let head = view.head.as_ref().ok_or_else(|| Status::failed_precondition("there is no configuration yet"))?;
    known::check(&head.configuration, Scope::from(&spec))?;
    let held = read(shared).await?;
    let now = shared.now_unix_ms();
    let mut faults: Vec<InjectedFault> = holding(&held.document.faults, now).cloned().collect();
    if faults.len() >= MAX_FAULTS {
        return Err(Status::resource_exhausted(format!("{MAX_FAULTS} faults are injected already; end one first")));
    }
    let fault = InjectedFault {
        id: format!("{:08x}", shared.host.entropy.next_u64() >> 32),
        spec: Some(spec),
        author: author.to_owned(),
        reason: request.reason.clone(),
        made_at_unix_ms: now,
        until_unix_ms: now.saturating_add(i64::from(request.for_ms)),
    };
    let summary = format!("fault {}: {}", fault.id, text(&fault));
    faults.push(fault.clone());
    let txn = held.replaced(&document(shared, faults, author, &request.reason));
    let outcome = "in force at once".to_owned();
    Ok(Decision::Write { txn, answer: admin::InjectFaultResponse { fault: Some(fault) }, summary, outcome })
}

/// Decides the end of a fault before its time.
pub(super) async fn end(
    shared: &Shared,
    author: &str,
    request: &admin::EndFaultRequest,
) -> Result<Decision<admin::EndFaultResponse>, Status> {
    let held = read(shared).await?;
    let now = shared.now_unix_ms();
    let (ended, left): (Vec<InjectedFault>, Vec<InjectedFault>) =
        holding(&held.document.faults, now).cloned().partition(|fault| fault.id == request.id);
    let Some(fault) = ended.into_iter().next() else {
        let known = listed(left.iter().map(|fault| fault.id.as_str()));
        return Err(Status::not_found(format!("no fault {} is injected; there are: {known}", request.id)));
    };
    let summary = format!("fault {}: {}", fault.id, text(&fault));
    let txn = held.replaced(&document(shared, left, author, &request.reason));
    let outcome = "ended before its time".to_owned();
    Ok(Decision::Write { txn, answer: admin::EndFaultResponse { fault: Some(fault) }, summary, outcome })
}

/// Those that hold.
pub(super) fn list(shared: &Shared) -> admin::ListFaultsResponse {
    let view = shared.mirror.view();
    admin::ListFaultsResponse { faults: holding(&view.faults.faults, shared.now_unix_ms()).cloned().collect() }
}

async fn read(shared: &Shared) -> Result<Held<stored::Faults>, Status> {
    Held::read(shared, shared.layout.faults(), "faults").await
}

/// As it is to be from now on.
fn document(shared: &Shared, faults: Vec<InjectedFault>, author: &str, reason: &str) -> stored::Faults {
    stored::Faults {
        form: FORM,
        faults,
        author: author.to_owned(),
        reason: reason.to_owned(),
        made_at_unix_ms: shared.now_unix_ms(),
    }
}

fn check(spec: &FaultSpec) -> Result<(), String> {
    if spec.provider.is_empty() && spec.region.is_empty() {
        return Err("spec must name a provider or a region: which calls are to be struck".to_owned());
    }
    if spec.provider.is_empty() && !spec.model.is_empty() {
        return Err("spec.model goes with spec.provider".to_owned());
    }
    if !(1..=1000).contains(&spec.share_permille) {
        return Err("spec.share_permille must be 1 to 1000".to_owned());
    }
    let allowed = |is: bool, what: &str| if is { Ok(()) } else { Err(what.to_owned()) };
    match spec.kind {
        Some(Kind::LatencyMs(ms)) => allowed((1..=MAX_LATENCY_MS).contains(&ms), "spec.latency_ms must be 1 to 600000"),
        Some(Kind::ErrorStatus(status)) => {
            allowed((400..=599).contains(&status), "spec.error_status must be 400 to 599")
        }
        Some(Kind::Hang(hang)) => allowed(hang, "spec.hang must be true or left out"),
        Some(Kind::CutAfterEvents(events)) => {
            allowed(events <= MAX_EVENTS, "spec.cut_after_events must be 0 to 100000")
        }
        None => Err("spec must say what happens: latency_ms, error_status, hang or cut_after_events".to_owned()),
    }
}
