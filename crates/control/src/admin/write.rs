//! A write by an operator: decided on what the store holds, done once, remembered under its request id.

use std::future::Future;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use meridian_proto::NOT_ATTEMPTED;
use meridian_proto::store::v1 as stored;
use meridian_store::{Compare, Error, LeaseId, Revision, Txn};
use meridian_types::Digest;
use prost::Message;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::audit;
use crate::shared::Shared;
use crate::store::document::{self, FORM};

/// Times that a write is decided anew because something else was written meanwhile.
const ATTEMPTS: usize = 5;
/// How often, and how far apart, the outcome of a write is looked for when its answer was lost.
const LOOKS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Outcomes are kept for an hour at least: a lease of this length is used for new ones during its first part.
const OUTCOME_LEASE: Duration = Duration::from_secs(4200);
const LEASE_USED_FOR: Duration = Duration::from_secs(600);
/// After a write the caller must see it in this replica's view; a view that is later than this is reported by
/// readiness, not by failing the call.
const OWN_WRITE_WAIT: Duration = Duration::from_secs(2);

/// What to do.
pub(crate) enum Decision<M> {
    /// Nothing is written.
    Answer(M),
    /// One transaction. It must compare everything that it was decided on.
    Write {
        txn: Txn,
        answer: M,
        /// What is changed, for the audit.
        summary: String,
        /// What comes of it, for the audit.
        outcome: String,
    },
}

/// One call.
pub(crate) struct Call<'a> {
    pub(crate) name: &'static str,
    pub(crate) author: &'a str,
    /// Why, as the operator said.
    pub(crate) reason: &'a str,
    pub(crate) request_id: &'a str,
    /// SHA-256 of the request: the same id with another request is a mistake.
    pub(crate) request: Digest,
}

/// Does writes.
#[derive(Default)]
pub(crate) struct Writer {
    lease: Mutex<Option<(LeaseId, Instant)>>,
    /// Time in the id of the last audit entry.
    audited_unix_ms: AtomicI64,
}

impl Writer {
    /// Decides and writes, at most once for each request id. Returns the answer and the revision that wrote it (0 if
    /// nothing was written).
    pub(crate) async fn write<M, D, F>(
        &self,
        shared: &Shared,
        call: Call<'_>,
        decide: D,
    ) -> Result<(M, Revision), Status>
    where
        M: Message + Default,
        D: Fn() -> F,
        F: Future<Output = Result<Decision<M>, Status>>,
    {
        let (name, author, id) = (call.name, call.author, call.request_id);
        let done = self.write_once(shared, call, decide).await;
        if let Err(status) = &done {
            let (code, why) = (status.code(), status.message());
            tracing::info!(call = name, author, request_id = id, ?code, why, "operator's write refused");
        }
        done
    }

    async fn write_once<M, D, F>(&self, shared: &Shared, call: Call<'_>, decide: D) -> Result<(M, Revision), Status>
    where
        M: Message + Default,
        D: Fn() -> F,
        F: Future<Output = Result<Decision<M>, Status>>,
    {
        check_request_id(call.request_id)?;
        let key = shared.layout.request(call.request_id);
        for _ in 0..ATTEMPTS {
            if let Some(done) = recorded(shared, &key, &call).await? {
                return Ok(done);
            }
            let (txn, answer, done) = match decide().await? {
                Decision::Answer(answer) => return Ok((answer, Revision::ZERO)),
                Decision::Write { txn, answer, summary, outcome } => (txn, answer, (summary, outcome)),
            };
            let outcome = stored::Outcome {
                form: FORM,
                call: call.name.to_owned(),
                request_digest: call.request.as_bytes().to_vec().into(),
                response: document::write(&answer),
            };
            let lease = self.lease(shared).await?;
            let (audit_key, audit) = audit::entry(shared, &call, done, self.audit_time(shared.now_unix_ms()));
            let txn = txn
                .when(Compare::absent(&key))
                .put_with_lease(&key, document::write(&outcome), lease)
                .put(audit_key, document::write(&audit));
            match shared.store.txn(txn).await {
                Ok(outcome) if outcome.succeeded => {
                    let (summary, reason) = (&audit.summary, call.reason);
                    tracing::info!(call = call.name, author = call.author, summary, reason, "operator's write");
                    shared.mirror.wait_for(outcome.revision, OWN_WRITE_WAIT).await;
                    return Ok((answer, outcome.revision));
                }
                // Something it was decided on has changed: look and decide again.
                Ok(_) => {}
                Err(Error::LeaseGone) => *self.lease.lock().await = None,
                Err(Error::OutcomeUnknown { reason, .. }) => return look(shared, &key, &call, &reason).await,
                Err(error) => return Err(refused(&error)),
            }
        }
        Err(Status::aborted("others are writing the same things at the same time; look at what they did and try again"))
    }

    /// For the id of an audit entry: each is later than the one before, so that entries of one millisecond keep their order.
    fn audit_time(&self, now_unix_ms: i64) -> i64 {
        let last = self.audited_unix_ms.fetch_max(now_unix_ms, Ordering::Relaxed);
        if last < now_unix_ms { now_unix_ms } else { self.audited_unix_ms.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// One lease for the outcomes of some minutes, so that leases do not pile up.
    async fn lease(&self, shared: &Shared) -> Result<LeaseId, Status> {
        let mut held = self.lease.lock().await;
        if let Some((lease, since)) = *held
            && since.elapsed() < LEASE_USED_FOR
        {
            return Ok(lease);
        }
        let lease = shared.store.grant_lease(OUTCOME_LEASE).await.map_err(|error| refused(&error))?;
        *held = Some((lease, Instant::now()));
        Ok(lease)
    }
}

/// The answer that was recorded under the request id, if it was the same request.
async fn recorded<M: Message + Default>(
    shared: &Shared,
    key: &str,
    call: &Call<'_>,
) -> Result<Option<(M, Revision)>, Status> {
    let Some(entry) = shared.store.get(key).await.map_err(|error| refused(&error))? else { return Ok(None) };
    let unreadable = |error| Status::internal(format!("the outcome of request {} {error}", call.request_id));
    let outcome: stored::Outcome = document::read(&entry.value).map_err(unreadable)?;
    if outcome.call != call.name || outcome.request_digest != call.request.as_bytes() {
        return Err(Status::invalid_argument(format!(
            "request id {} was used for another request ({}); make a new one",
            call.request_id, outcome.call
        )));
    }
    let answer = M::decode(outcome.response).map_err(|error| unreadable(error.into()))?;
    Ok(Some((answer, entry.mod_revision)))
}

/// The answer to a write was lost: look whether it was done, never repeat it.
async fn look<M: Message + Default>(
    shared: &Shared,
    key: &str,
    call: &Call<'_>,
    reason: &str,
) -> Result<(M, Revision), Status> {
    for _ in 0..LOOKS {
        if let Ok(Some(done)) = recorded(shared, key, call).await {
            return Ok(done);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(Status::unavailable(format!(
        "the write was sent but its outcome is unknown ({reason}); repeating it with request id {} is harmless",
        call.request_id
    )))
}

/// A store's error from before anything was written, for operators.
pub(crate) fn refused(error: &Error) -> Status {
    match error {
        Error::TooLarge { .. } => Status::resource_exhausted(error.to_string()),
        Error::Invalid { .. } | Error::Corrupt { .. } => Status::internal(error.to_string()),
        _ => {
            let mut status = Status::unavailable(format!("read-only: {error}"));
            status.metadata_mut().insert(NOT_ATTEMPTED, MetadataValue::from_static("1"));
            status
        }
    }
}

/// 8-4-4-4-12 hexadecimal digits (RFC 9562 section 4).
fn check_request_id(id: &str) -> Result<(), Status> {
    let groups: Vec<&str> = id.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let hex = groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
    if lengths == [8, 4, 4, 4, 12] && hex {
        return Ok(());
    }
    Err(Status::invalid_argument("request_id must be a UUID in lower case, a new one for each new request"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_uuids() {
        for (id, expected) in [
            ("7c9e6679-7425-40de-944b-e07fc1f90ae7", true),
            ("", false),
            ("7C9E6679-7425-40DE-944B-E07FC1F90AE7", false),
            ("7c9e6679742540de944be07fc1f90ae7", false),
            ("../../head-7425-40de-944b-e07fc1f90ae7", false),
        ] {
            assert_eq!(check_request_id(id).is_ok(), expected, "{id}");
        }
    }
}
