//! What is noted of one request while it runs, for whoever asks later: who was asked, when, with what result. Never what
//! the client or the model wrote.
//!
//! Attempts may overlap, so that each has its own [`Note`]; the lock is held for a push and never contended but by these.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meridian_ingress::RequestId;
use meridian_llm::{Endpoint, Failure};
use meridian_proto::node::v1;
use meridian_routing::{Candidate, TargetId};
use meridian_types::{ModelName, TenantName};
use tokio::time::Instant;

use self::handed::Handed;

mod handed;

/// Attempts noted: four are made, and continuations begin anew.
const MAX_ATTEMPTS: usize = 16;
/// Targets noted of the plan: more are never asked.
const MAX_PLANNED: usize = 8;
/// Of those that were not asked at their turn.
const MAX_PASSED: usize = 16;
/// Of the model's name, which the client wrote.
const MAX_MODEL_BYTES: usize = 128;

/// The notes of one request.
#[derive(Debug)]
pub(crate) struct Journal {
    id: RequestId,
    endpoint: Endpoint,
    tenant: TenantName,
    began: Instant,
    began_unix_ms: i64,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    model: String,
    streamed: bool,
    first_content: Option<Duration>,
    planned: Vec<TargetId>,
    attempts: Vec<Attempt>,
    passed: Vec<(TargetId, Duration, &'static str)>,
    handed: Vec<Handed>,
}

#[derive(Debug)]
struct Attempt {
    target: TargetId,
    model: ModelName,
    began: Duration,
    took: Duration,
    /// Id of the injected fault that struck it.
    fault: Option<Arc<str>>,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    UnderWay,
    Dropped,
    Answered,
    Failed { class: &'static str, status: Option<u16>, why: &'static str, after_content: bool },
}

impl Journal {
    /// Of a request that began at `began` and is that of a known tenant.
    pub(crate) fn begin(
        id: RequestId,
        endpoint: Endpoint,
        tenant: TenantName,
        began: Instant,
        now_unix_ms: i64,
    ) -> Self {
        let since = i64::try_from(began.elapsed().as_millis()).unwrap_or_default();
        let began_unix_ms = now_unix_ms.saturating_sub(since);
        Self { id, endpoint, tenant, began, began_unix_ms, notes: Mutex::default() }
    }

    /// What the client asks for, once its body was read.
    pub(crate) fn asked(&self, model: &str, streamed: bool) {
        let mut notes = self.notes();
        model.get(..model.floor_char_boundary(MAX_MODEL_BYTES)).unwrap_or_default().clone_into(&mut notes.model);
        notes.streamed = streamed;
    }

    /// Who is to be asked, in order.
    pub(crate) fn planned(&self, candidates: &[Candidate]) {
        let planned = candidates.iter().take(MAX_PLANNED).map(|candidate| candidate.target.clone());
        self.notes().planned = planned.collect();
    }

    /// A target is not asked although its turn has come.
    pub(crate) fn passed_over(&self, target: &TargetId, why: &'static str) {
        let at = self.began.elapsed();
        let mut notes = self.notes();
        if notes.passed.len() < MAX_PASSED {
            notes.passed.push((target.clone(), at, why));
        }
    }

    /// A target is asked now.
    pub(crate) fn attempt(&self, target: &TargetId, model: &ModelName) -> Note<'_> {
        let began = self.began.elapsed();
        let mut notes = self.notes();
        let index = notes.attempts.len();
        if index < MAX_ATTEMPTS {
            let (target, model) = (target.clone(), model.clone());
            let outcome = Outcome::UnderWay;
            notes.attempts.push(Attempt { target, model, began, took: Duration::ZERO, fault: None, outcome });
        }
        Note { journal: self, index }
    }

    /// The first content goes to the client now.
    pub(crate) fn first_content(&self) {
        let at = self.began.elapsed();
        self.notes().first_content.get_or_insert(at);
    }

    /// The target whose answer was under way failed after its content had gone to the client.
    pub(crate) fn interrupted(&self, target: &TargetId, failure: &Failure) {
        let mut notes = self.notes();
        let answered =
            |attempt: &&mut Attempt| attempt.target == *target && matches!(attempt.outcome, Outcome::Answered);
        if let Some(attempt) = notes.attempts.iter_mut().rev().find(answered) {
            attempt.outcome = Outcome::failed(failure, true);
        }
    }

    /// What is remembered of it, once it has ended.
    pub(crate) fn close(&self, outcome: &'static str, code: &'static str) -> Closed {
        let duration = self.began.elapsed();
        let notes = std::mem::take(&mut *self.notes());
        let (id, tenant) = (self.id.clone(), self.tenant.clone());
        Closed {
            id,
            endpoint: self.endpoint,
            tenant,
            began_unix_ms: self.began_unix_ms,
            notes,
            outcome,
            code,
            duration,
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // Each step leaves the notes whole.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One attempt under way. Dropped without a result, it was given up.
#[derive(Debug)]
pub(crate) struct Note<'a> {
    journal: &'a Journal,
    index: usize,
}

impl Note<'_> {
    /// An injected fault strikes it.
    pub(crate) fn struck(&self, fault: &Arc<str>) {
        if let Some(attempt) = self.journal.notes().attempts.get_mut(self.index) {
            attempt.fault = Some(Arc::clone(fault));
        }
    }

    /// How it ended.
    pub(crate) fn end<T>(&self, result: Result<&T, &Failure>) {
        self.set(match result {
            Ok(_) => Outcome::Answered,
            Err(failure) => Outcome::failed(failure, false),
        });
    }

    fn set(&self, outcome: Outcome) {
        let now = self.journal.began.elapsed();
        let mut notes = self.journal.notes();
        if let Some(attempt) = notes.attempts.get_mut(self.index)
            && matches!(attempt.outcome, Outcome::UnderWay)
        {
            attempt.took = now.saturating_sub(attempt.began);
            attempt.outcome = outcome;
        }
    }
}

impl Drop for Note<'_> {
    fn drop(&mut self) {
        self.set(Outcome::Dropped);
    }
}

impl Outcome {
    fn failed(failure: &Failure, after_content: bool) -> Self {
        let (class, status, why) = (failure.class.as_str(), failure.status, failure.message);
        Self::Failed { class, status, why, after_content }
    }
}

/// A request that has ended. It becomes a message only when somebody asks.
#[derive(Debug)]
pub(crate) struct Closed {
    id: RequestId,
    endpoint: Endpoint,
    tenant: TenantName,
    pub(crate) began_unix_ms: i64,
    notes: Notes,
    outcome: &'static str,
    code: &'static str,
    duration: Duration,
}

impl Closed {
    /// Whether it is the one with this id.
    pub(crate) fn is(&self, id: &str) -> bool {
        self.id.as_str() == id
    }

    /// For people elsewhere.
    pub(crate) fn record(&self, node: &str, region: &str) -> v1::RequestRecord {
        let notes = &self.notes;
        v1::RequestRecord {
            request_id: self.id.to_string(),
            node: node.to_owned(),
            region: region.to_owned(),
            began_unix_ms: self.began_unix_ms,
            endpoint: self.endpoint.path().to_owned(),
            tenant: self.tenant.to_string(),
            model: notes.model.clone(),
            streamed: notes.streamed,
            outcome: self.outcome.to_owned(),
            code: self.code.to_owned(),
            duration_ms: ms(self.duration),
            first_content_ms: notes.first_content.map(ms),
            planned: notes.planned.iter().map(name).collect(),
            attempts: notes.attempts.iter().map(|attempt| attempt.record(&notes.model)).collect(),
            passed_over: notes
                .passed
                .iter()
                .map(|(target, at, why)| v1::PassedOver {
                    target: name(target),
                    at_ms: ms(*at),
                    why: (*why).to_owned(),
                })
                .collect(),
            handovers: notes.handed.iter().map(Handed::record).collect(),
        }
    }
}

impl Attempt {
    fn record(&self, asked: &str) -> v1::AttemptRecord {
        let (result, status, why, after_content) = match self.outcome {
            // Only of a request that was still running when it was closed: its client left.
            Outcome::UnderWay | Outcome::Dropped => ("dropped", None, "", false),
            Outcome::Answered => ("ok", None, "", false),
            Outcome::Failed { class, status, why, after_content } => (class, status, why, after_content),
        };
        let fallback = if self.model.as_str() == asked { "" } else { self.model.as_str() };
        v1::AttemptRecord {
            provider: self.target.provider.to_string(),
            model: self.target.model.to_string(),
            began_ms: ms(self.began),
            took_ms: ms(self.took),
            result: result.to_owned(),
            status: status.map(u32::from).unwrap_or_default(),
            fallback_model: fallback.to_owned(),
            after_content,
            why: why.to_owned(),
            fault: self.fault.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

/// As the fleet's reports write it.
fn name(target: &TargetId) -> String {
    format!("{}:{}", target.provider, target.model)
}

fn ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
