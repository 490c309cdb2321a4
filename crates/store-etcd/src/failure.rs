//! What a failed call to etcd means: which errors say that nothing happened, and which say nothing.
//!
//! etcd tells its errors apart by text alone: <https://github.com/etcd-io/etcd/blob/main/api/v3rpc/rpctypes/error.go>.
//! The texts are matched whole. What is not known here counts as "the outcome is unknown" for a write.

use std::fmt;
use std::time::Duration;

use meridian_store::{Error, MAX_TXN_BYTES, Revision};
use tonic::{Code, Status};

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE_REVISION: &str = "etcdserver: mvcc: required revision is a future revision";
const LEASE_NOT_FOUND: &str = "etcdserver: requested lease not found";
const TOO_LARGE: &str = "etcdserver: request is too large";
const NO_LEADER: &str = "etcdserver: no leader";
/// Of etcd-client itself, for the first answer to a keep-alive.
const KEEP_ALIVE_NOT_FOUND: &str = "lease not found";

/// A call that one member did not carry out, as far as is known.
pub(crate) struct Failure {
    kind: Kind,
    reason: String,
    source: Option<etcd_client::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The request never left, or the member said that it cannot act now: another member may.
    NotSent,
    /// The request left, and what came of it is not known.
    Lost,
    /// The cluster refused; every member would.
    Refused,
    Compacted,
    FutureRevision,
    LeaseGone,
    TooLarge,
    /// The answer is larger than we decode.
    AnswerTooLarge,
}

impl Failure {
    /// No answer within the bound.
    pub(crate) fn silent(endpoint: &str, bound: Duration) -> Self {
        Self { kind: Kind::Lost, reason: format!("{endpoint} did not answer within {bound:?}"), source: None }
    }

    /// Whether another member might do better.
    pub(crate) fn is_of_member(&self) -> bool {
        matches!(self.kind, Kind::NotSent | Kind::Lost)
    }

    /// Whether repeating the call elsewhere cannot do it twice.
    pub(crate) fn was_not_sent(&self) -> bool {
        self.kind == Kind::NotSent
    }

    pub(crate) fn into_read_error(self) -> Error {
        self.into_error(false)
    }

    pub(crate) fn into_write_error(self) -> Error {
        self.into_error(true)
    }

    fn into_error(self, is_write: bool) -> Error {
        let source = self.source.map(|e| Box::new(e) as meridian_store::Cause);
        let reason = self.reason;
        match self.kind {
            Kind::Lost if is_write => Error::OutcomeUnknown { reason, source },
            Kind::NotSent | Kind::Lost | Kind::Refused => Error::Unavailable { reason, source },
            // The text does not say where history begins now.
            Kind::Compacted => Error::Compacted { at: Revision::ZERO },
            Kind::FutureRevision => Error::Invalid { reason },
            Kind::LeaseGone => Error::LeaseGone,
            Kind::TooLarge => Error::TooLarge { what: "transaction (bytes)", limit: MAX_TXN_BYTES },
            Kind::AnswerTooLarge => {
                Error::TooLarge { what: "answer (bytes)", limit: crate::endpoints::MAX_MESSAGE_BYTES }
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

pub(crate) fn classify(endpoint: &str, error: etcd_client::Error) -> Failure {
    let kind = match &error {
        etcd_client::Error::GRpcStatus(status) => of_status(status),
        etcd_client::Error::LeaseKeepAliveError(text) if text == KEEP_ALIVE_NOT_FOUND => Kind::LeaseGone,
        etcd_client::Error::TransportError(_) | etcd_client::Error::IoError(_) => Kind::Lost,
        _ => Kind::Lost,
    };
    let reason = format!("{endpoint}: {}", words(&error));
    // All that a status says is in the reason; as a source it would be shown with the debug form of its causes.
    let source = (!matches!(error, etcd_client::Error::GRpcStatus(_))).then_some(error);
    Failure { kind, reason, source }
}

/// The error for an operator: what the member said, or `tcp connect error: Connection refused (os error 111)`.
fn words(error: &etcd_client::Error) -> String {
    let etcd_client::Error::GRpcStatus(status) = error else { return error.to_string() };
    let text = if status.message().is_empty() { status.code().description() } else { status.message() };
    match causes(status).last().map(ToString::to_string) {
        Some(cause) if !text.contains(&cause) => format!("{text}: {cause}"),
        _ => text.to_owned(),
    }
}

fn of_status(status: &Status) -> Kind {
    match (status.code(), status.message()) {
        (_, COMPACTED) => Kind::Compacted,
        (_, FUTURE_REVISION) => Kind::FutureRevision,
        (_, LEASE_NOT_FOUND) => Kind::LeaseGone,
        (_, TOO_LARGE) => Kind::TooLarge,
        (_, NO_LEADER) => Kind::NotSent,
        // tonic's own, for a message over the limit; etcd's two errors of this code are above.
        (Code::OutOfRange, _) => Kind::AnswerTooLarge,
        // No room (an alarm), no permission, no such method: refused before anything was proposed.
        (
            Code::ResourceExhausted
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::Unimplemented,
            _,
        ) => Kind::Refused,
        _ if never_connected(status) => Kind::NotSent,
        _ => Kind::Lost,
    }
}

/// Whether the cause is that no connection could be made: then the request is still here.
fn never_connected(status: &Status) -> bool {
    causes(status).any(|error| error.is::<tonic::ConnectError>())
}

/// What is behind a status that no member sent, the deepest last.
fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    // A chain of causes is short; the bound is against a loop.
    std::iter::successors(std::error::Error::source(status), |error| error.source()).take(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: Code, text: &str, expected: Kind) {
        assert_eq!(of_status(&Status::new(code, text)), expected, "{code:?} {text}");
    }

    #[test]
    fn only_what_certainly_did_nothing_may_be_sent_again() {
        check(Code::Unavailable, "etcdserver: no leader", Kind::NotSent);
        check(Code::Unavailable, "etcdserver: request timed out", Kind::Lost);
        check(Code::Unavailable, "etcdserver: leader changed", Kind::Lost);
        check(Code::Unavailable, "etcdserver: request timed out, possibly due to connection lost", Kind::Lost);
        check(Code::Unavailable, "error reading a body from connection", Kind::Lost);
        check(Code::Unknown, "anything", Kind::Lost);
        check(Code::DeadlineExceeded, "", Kind::Lost);
        check(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Kind::Refused);
        check(Code::OutOfRange, COMPACTED, Kind::Compacted);
        check(Code::OutOfRange, FUTURE_REVISION, Kind::FutureRevision);
        check(Code::NotFound, LEASE_NOT_FOUND, Kind::LeaseGone);
        check(Code::InvalidArgument, TOO_LARGE, Kind::TooLarge);
        check(Code::InvalidArgument, "etcdserver: duplicate key given in txn request", Kind::Refused);
    }

    #[tokio::test]
    async fn an_unreachable_member_is_told_in_words() {
        // Nothing can listen on port 0.
        let mut client = etcd_client::Client::connect(["http://127.0.0.1:0"], None).await.unwrap();
        let failure = classify("http://e", client.get("k", None).await.unwrap_err());
        assert!(failure.was_not_sent());
        let text = failure.into_write_error().to_string();
        assert!(
            text.starts_with("store unavailable: http://e: tcp connect error: ") && text.contains("os error"),
            "{text}"
        );
        assert!(!text.contains("source") && !text.contains('{'), "{text}");
    }

    #[test]
    fn a_lost_reply_is_unknown_for_a_write_and_unavailable_for_a_read() {
        let silent = || Failure::silent("http://e", Duration::from_secs(1));
        assert!(matches!(silent().into_write_error(), Error::OutcomeUnknown { .. }));
        assert!(matches!(silent().into_read_error(), Error::Unavailable { .. }));
    }
}
