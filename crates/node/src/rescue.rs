//! Turns "nobody served" into the one answer that helps the client most.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use meridian_ingress::{Refused, Retry};
use meridian_llm::{ClientError, Failure, FailureClass};
use meridian_types::ErrorCode;

use crate::attempts::{Lost, Tried};
use crate::ledger::End;

/// Longest wait that is asked of a client: SDKs and agents give up beyond a minute.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// When nothing is known of the time.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The answer, and how it counts. `free_in`: when the first of the targets that were tried is asked again by itself, if
/// all of them are left alone now.
pub(crate) fn rescue(lost: Lost, free_in: Option<Duration>) -> (Refused, End) {
    let Lost { tried, unsupported } = lost;
    let Some(telling) = tried.iter().min_by_key(|tried| rank(&tried.failure)) else {
        return match unsupported {
            Some(error) => {
                let end = End::Refused(error.code);
                (Refused::from(error).retry(Retry::Never), end)
            }
            None => busy(),
        };
    };
    let failure = telling.failure.clone();
    if matches!(failure.class, FailureClass::Client | FailureClass::Refusal | FailureClass::ContextLength) {
        let error = ClientError::new(failure.client_code, failure.message);
        return (Refused { error, retry: Retry::Never, reply: failure.reply }, End::Refused(failure.client_code));
    }
    // One cause is named by its own code; of several none is the whole truth.
    let same = tried.iter().all(|tried| tried.failure.client_code == failure.client_code);
    let code = if same { failure.client_code } else { ErrorCode::UpstreamUnavailable };
    let message = if tried.len() == 1 { failure.message.into() } else { Cow::Owned(listed(&tried)) };
    let retry = retry(&tried, free_in);
    (Refused { error: ClientError::new(code, message), retry, reply: None }, End::Failed(code, Some(failure.class)))
}

/// What was tried, in order: names of the configuration and closed words only.
fn listed(tried: &[Tried]) -> String {
    let mut text = "no target could serve the request".to_owned();
    for (i, Tried { target, failure, took }) in tried.iter().enumerate() {
        let status = failure.status.map(|status| format!(" {status}")).unwrap_or_default();
        let class = failure.class.as_str();
        let mark = if i == 0 { ": " } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{mark}{target} {class}{status} after {} ms ({})", took.as_millis(), failure.message);
    }
    text
}

/// Every target is at its limit of requests in flight, or comes back with one probe at a time.
fn busy() -> (Refused, End) {
    let code = ErrorCode::UpstreamUnavailable;
    let refused =
        Refused::new(code, "every target of the model is at its limit").retry(Retry::After(DEFAULT_RETRY_AFTER));
    (refused, End::Failed(code, None))
}

/// The most telling failure has the lowest rank: what the client can mend, then what passes by waiting, then the rest.
fn rank(failure: &Failure) -> u8 {
    match failure.class {
        FailureClass::Client | FailureClass::Refusal | FailureClass::ContextLength => 0,
        FailureClass::Saturation => 1,
        FailureClass::Transport if failure.client_code == ErrorCode::UpstreamTimeout => 2,
        FailureClass::Provider => 3,
        FailureClass::Transport => 4,
        FailureClass::Credential => 5,
        FailureClass::Cancelled => 6,
    }
}

/// The earliest time at which the same request may succeed. After a failover in vain, with every target still open, a
/// repetition would find nothing new; after one attempt the status says enough.
fn retry(tried: &[Tried], free_in: Option<Duration>) -> Retry {
    let of = |class: FailureClass| tried.iter().filter(move |tried| tried.failure.class == class);
    if of(FailureClass::Credential).count() == tried.len() {
        return Retry::Never;
    }
    let pressure = of(FailureClass::Saturation).map(|tried| tried.failure.retry_after.unwrap_or(DEFAULT_RETRY_AFTER));
    match pressure.chain(free_in).min() {
        Some(wait) => Retry::After(wait.min(MAX_RETRY_AFTER)),
        None if tried.len() == 1 => Retry::Unsaid,
        None => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use meridian_routing::TargetId;

    use super::*;

    fn lost(failures: impl IntoIterator<Item = Failure>) -> Lost {
        let target = TargetId { provider: "p".parse().unwrap(), model: "m".parse().unwrap() };
        let tried = |failure| Tried { target: target.clone(), failure, took: Duration::ZERO };
        Lost { tried: failures.into_iter().map(tried).collect(), unsupported: None }
    }

    #[track_caller]
    fn check(classes: &[FailureClass], free_in_s: Option<u64>, code: ErrorCode, retry: Retry) {
        let free_in = free_in_s.map(Duration::from_secs);
        let (refused, _) = rescue(lost(classes.iter().map(|class| Failure::new(*class, "test"))), free_in);
        assert_eq!((refused.error.code, refused.retry), (code, retry), "{classes:?}");
    }

    #[test]
    fn one_cause_is_named_and_several_are_a_503_with_the_earliest_time() {
        use FailureClass::{Client, Credential, Provider, Saturation, Transport};
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        check(&[], None, ErrorCode::UpstreamUnavailable, Retry::After(DEFAULT_RETRY_AFTER));
        check(&[Provider], None, ErrorCode::UpstreamError, Retry::Unsaid);
        check(&[Provider], Some(4), ErrorCode::UpstreamError, after(4));
        check(&[Provider, Provider], None, ErrorCode::UpstreamError, Retry::Never);
        check(&[Provider, Transport], None, ErrorCode::UpstreamUnavailable, Retry::Never);
        check(&[Provider, Transport], Some(7), ErrorCode::UpstreamUnavailable, after(7));
        check(&[Saturation, Saturation], Some(9), ErrorCode::RateLimited, after(1));
        check(&[Credential, Saturation, Provider], None, ErrorCode::UpstreamUnavailable, after(1));
        check(&[Transport, Client], Some(3), ErrorCode::InvalidRequest, Retry::Never);
        check(&[Credential, Credential], Some(30), ErrorCode::UpstreamCredentials, Retry::Never);
        check(&[Credential, Provider], None, ErrorCode::UpstreamUnavailable, Retry::Never);
    }

    #[test]
    fn the_message_lists_what_was_tried() {
        let failed = Failure { status: Some(500), ..Failure::new(FailureClass::Provider, "it failed") };
        let silent = Failure::new(FailureClass::Transport, "it was silent");
        let (refused, _) = rescue(lost([failed, silent]), None);
        assert_eq!(
            refused.error.message,
            "no target could serve the request: p/m provider 500 after 0 ms (it failed); \
             p/m transport after 0 ms (it was silent)"
        );
    }

    #[test]
    fn an_upstreams_wish_is_passed_on_up_to_a_minute() {
        let mut failure = Failure::new(FailureClass::Saturation, "test");
        failure.retry_after = Some(Duration::from_secs(3600));
        let (refused, end) = rescue(lost([failure]), None);
        assert_eq!(refused.retry, Retry::After(MAX_RETRY_AFTER));
        assert_eq!(end, End::Failed(ErrorCode::RateLimited, Some(FailureClass::Saturation)));
    }

    #[test]
    fn what_no_target_can_honour_is_the_requests_matter() {
        let unsupported = Some(ClientError::unsupported("n", "one answer only"));
        let (refused, end) = rescue(Lost { unsupported, ..Lost::default() }, None);
        assert_eq!((refused.error.status().as_u16(), refused.retry), (400, Retry::Never));
        assert_eq!(end, End::Refused(ErrorCode::UnsupportedParameter));
    }
}
