//! Turns "nobody served" into the one answer that helps the client most.

use std::borrow::Cow;
use std::time::Duration;

use meridian_ingress::{Refused, Retry};
use meridian_llm::{ClientError, Failure, FailureClass};
use meridian_types::ErrorCode;

use crate::attempts::{Lost, Tried};
use crate::ledger::End;
use crate::off::Off;
use crate::switches::WHY;

/// Longest wait that is asked of a client: SDKs and agents give up beyond a minute.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// When nothing is known of the time.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The answer, and how it counts. `free_in`: when the first of the targets that were tried is asked again by itself, if
/// all of them are left alone now. `off`: who was not asked because an operator says so; who, is no client's affair.
pub(crate) fn rescue(lost: Lost, free_in: Option<Duration>, off: &Off) -> (Refused, End) {
    let Lost { tried, unsupported } = lost;
    let Some(telling) = tried.iter().min_by_key(|tried| rank(&tried.failure)) else {
        return match unsupported {
            // Who is off might have honoured it.
            _ if !off.targets.is_empty() => switched_off(off),
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
    let same = off.targets.is_empty() && tried.iter().all(|tried| tried.failure.client_code == failure.client_code);
    let code = if same { failure.client_code } else { ErrorCode::UpstreamUnavailable };
    let alone = tried.len() == 1 && off.targets.is_empty();
    let message = if alone { failure.message.into() } else { Cow::Owned(listed(&tried, off)) };
    let retry = retry(&tried, free_in);
    (Refused { error: ClientError::new(code, message), retry, reply: None }, End::Failed(code, Some(failure.class)))
}

/// What was tried, in order: names of the configuration and closed words only.
fn listed(tried: &[Tried], off: &Off) -> String {
    let asked = tried.iter().map(|Tried { target, failure, took }| {
        let status = failure.status.map(|status| format!(" {status}")).unwrap_or_default();
        let class = failure.class.as_str();
        format!("{target} {class}{status} after {} ms ({})", took.as_millis(), failure.message)
    });
    let off = off.targets.iter().map(|target| format!("{target} {WHY}"));
    let parts: Vec<String> = asked.chain(off).collect();
    format!("no target could serve the request: {}", parts.join("; "))
}

/// Nobody was asked, and some could not be. With all of them off only an operator can help.
fn switched_off(off: &Off) -> (Refused, End) {
    let code = ErrorCode::UpstreamUnavailable;
    let retry = if off.all { Retry::Never } else { Retry::After(DEFAULT_RETRY_AFTER) };
    let mut message = listed(&[], off);
    if !off.all {
        message.push_str("; the others are at their limit, or cannot honour it");
    }
    (Refused::new(code, message).retry(retry), End::Failed(code, None))
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
        let (refused, _) =
            rescue(lost(classes.iter().map(|class| Failure::new(*class, "test"))), free_in, &Off::default());
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
        let (refused, _) = rescue(lost([failed, silent]), None, &Off::default());
        assert_eq!(
            refused.error.message,
            "no target could serve the request: p/m provider 500 after 0 ms (it failed); \
             p/m transport after 0 ms (it was silent)"
        );
    }

    #[test]
    fn who_is_switched_off_is_named_and_makes_it_a_503() {
        let off = |names: &[&str], all| {
            let target = |name: &&str| TargetId { provider: name.parse().unwrap(), model: "m".parse().unwrap() };
            Off { targets: names.iter().map(target).collect(), all }
        };
        let check = |lost: Lost, off: Off, message: &str, expected: Retry| {
            let (refused, end) = rescue(lost, None, &off);
            assert_eq!((refused.error.message.as_ref(), refused.retry), (message, expected));
            assert_eq!(refused.error.code, ErrorCode::UpstreamUnavailable);
            assert!(matches!(end, End::Failed(ErrorCode::UpstreamUnavailable, _)));
        };
        check(
            Lost::default(),
            off(&["a", "b"], true),
            "no target could serve the request: a/m switched off by an operator; b/m switched off by an operator",
            Retry::Never,
        );
        let others = "no target could serve the request: a/m switched off by an operator; \
                      the others are at their limit, or cannot honour it";
        check(Lost::default(), off(&["a"], false), others, Retry::After(DEFAULT_RETRY_AFTER));
        let unsupported = Some(ClientError::unsupported("n", "one answer only"));
        check(Lost { unsupported, ..Lost::default() }, off(&["a"], false), others, Retry::After(DEFAULT_RETRY_AFTER));
        let failed = Failure { status: Some(500), ..Failure::new(FailureClass::Provider, "it failed") };
        check(
            lost([failed]),
            off(&["a"], false),
            "no target could serve the request: p/m provider 500 after 0 ms (it failed); \
             a/m switched off by an operator",
            Retry::Unsaid,
        );
        // What the request is to blame for stays its own matter.
        let (refused, _) = rescue(lost([Failure::new(FailureClass::Client, "bad")]), None, &off(&["a"], false));
        assert_eq!(refused.error.code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn an_upstreams_wish_is_passed_on_up_to_a_minute() {
        let mut failure = Failure::new(FailureClass::Saturation, "test");
        failure.retry_after = Some(Duration::from_secs(3600));
        let (refused, end) = rescue(lost([failure]), None, &Off::default());
        assert_eq!(refused.retry, Retry::After(MAX_RETRY_AFTER));
        assert_eq!(end, End::Failed(ErrorCode::RateLimited, Some(FailureClass::Saturation)));
    }

    #[test]
    fn what_no_target_can_honour_is_the_requests_matter() {
        let unsupported = Some(ClientError::unsupported("n", "one answer only"));
        let (refused, end) = rescue(Lost { unsupported, ..Lost::default() }, None, &Off::default());
        assert_eq!((refused.error.status().as_u16(), refused.retry), (400, Retry::Never));
        assert_eq!(end, End::Refused(ErrorCode::UnsupportedParameter));
    }
}
