//! Turns "nobody served" into the one answer that helps the client most.

use std::borrow::Cow;
use std::time::Duration;

use meridian_ingress::{Refused, Retry};
use meridian_llm::{ClientError, Failure, FailureClass};
use meridian_resilience::may_repeat;
use meridian_routing::TargetId;
use meridian_types::ErrorCode;

use crate::attempts::{Lost, Tried};
use crate::ledger::End;
use crate::off::Off;
use crate::resting::Resting;
use crate::switches::WHY;

/// Longest wait that is asked of a client: SDKs and agents give up beyond a minute.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// When nothing is known of the time.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a client is told while all that may serve it have asked to be left alone, under whichever status: the gateway keeps
/// to the time, and so should the client.
const RESTING: ErrorCode = ErrorCode::RateLimited;

/// The answer, and how it counts. `free_in`: when the first of the targets that were tried is asked again by itself, if
/// all of them are left alone now. `off`: who was not asked because an operator says so; who, is no client's affair.
pub(crate) fn rescue(lost: Lost, free_in: Option<Duration>, off: &Off) -> (Refused, End) {
    let Some(telling) = lost.tried.iter().min_by_key(|tried| rank(&tried.failure)) else {
        return nobody_asked(&lost, off);
    };
    let failure = telling.failure.clone();
    if matches!(failure.class, FailureClass::Client | FailureClass::Refusal | FailureClass::ContextLength) {
        let error = ClientError::new(failure.client_code, failure.message);
        return (Refused { error, retry: Retry::Never, reply: failure.reply }, End::Refused(failure.client_code));
    }
    // One cause is named by its own code; of several none is the whole truth.
    let same = off.targets.is_empty()
        && lost.tried.iter().all(|tried| tried.failure.client_code == failure.client_code)
        && (failure.client_code == RESTING || lost.spared().next().is_none());
    let code = if same { failure.client_code } else { ErrorCode::UpstreamUnavailable };
    let alone = lost.tried.len() == 1 && off.targets.is_empty() && lost.spared().next().is_none();
    let message = if alone { failure.message.into() } else { Cow::Owned(listed(&lost, off)) };
    let retry = retry(&lost, free_in);
    (Refused { error: ClientError::new(code, message), retry, reply: None }, End::Failed(code, Some(failure.class)))
}

/// What was tried, in order, and who was not: names of the configuration and closed words only.
fn listed(lost: &Lost, off: &Off) -> String {
    let asked = lost.tried.iter().map(|Tried { target, failure, took }| {
        let status = failure.status.map(|status| format!(" {status}")).unwrap_or_default();
        let class = failure.class.as_str();
        format!("{target} {class}{status} after {} ms ({})", took.as_millis(), failure.message)
    });
    let spared = lost.spared().map(|Resting { target, left, .. }| {
        format!("{target} has asked to be left alone for {} ms more", left.as_millis())
    });
    let off = off.targets.iter().map(|target| format!("{target} {WHY}"));
    let parts: Vec<String> = asked.chain(spared).chain(off).collect();
    format!("no target could serve the request: {}", parts.join("; "))
}

/// Nobody was asked: who has asked for rest, or is off, might have served it; the others are full, or cannot honour it.
fn nobody_asked(lost: &Lost, off: &Off) -> (Refused, End) {
    let rest = lost.resting.iter().map(|resting| resting.left).min();
    match (rest, lost.unsupported.clone()) {
        // A place may be free at any moment.
        (Some(rest), _) if lost.full => some_left(lost, off, Retry::After(rest.min(DEFAULT_RETRY_AFTER))),
        (Some(rest), _) => {
            let refused = Refused::new(RESTING, listed(lost, off)).retry(Retry::After(rest.min(MAX_RETRY_AFTER)));
            (refused, End::Failed(RESTING, Some(FailureClass::Saturation)))
        }
        // With all of them off only an operator can help.
        (None, _) if off.all => {
            let code = ErrorCode::UpstreamUnavailable;
            (Refused::new(code, listed(lost, off)).retry(Retry::Never), End::Failed(code, None))
        }
        (None, _) if !off.targets.is_empty() => some_left(lost, off, Retry::After(DEFAULT_RETRY_AFTER)),
        (None, Some(error)) => {
            let end = End::Refused(error.code);
            (Refused::from(error).retry(Retry::Never), end)
        }
        (None, None) => busy(),
    }
}

/// Some were out, and none of the others took it.
fn some_left(lost: &Lost, off: &Off, retry: Retry) -> (Refused, End) {
    let code = ErrorCode::UpstreamUnavailable;
    let message = format!("{}; the others are at their limit, or cannot honour it", listed(lost, off));
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
/// repetition would find nothing new; after one attempt the status says enough, unless it is one that stays.
fn retry(lost: &Lost, free_in: Option<Duration>) -> Retry {
    let Lost { tried, resting, .. } = lost;
    let rests = |target: &TargetId| resting.iter().any(|resting| resting.target == *target);
    // Who rests for longer than it asked for at first, or was asked for by others since, says so itself.
    let pressure = tried
        .iter()
        .filter(|tried| tried.failure.class == FailureClass::Saturation && !rests(&tried.target))
        .map(|tried| tried.failure.retry_after.unwrap_or(DEFAULT_RETRY_AFTER));
    let wait = pressure.chain(resting.iter().map(|resting| resting.left)).min();
    if wait.is_none() && tried.iter().all(|tried| tried.failure.class == FailureClass::Credential) {
        return Retry::Never;
    }
    match (wait.into_iter().chain(free_in).min(), tried.as_slice()) {
        (Some(wait), _) => Retry::After(wait.min(MAX_RETRY_AFTER)),
        (None, [Tried { failure, .. }]) if failure.class != FailureClass::Provider || may_repeat(failure) => {
            Retry::Unsaid
        }
        (None, _) => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(provider: &str) -> TargetId {
        TargetId { provider: provider.parse().unwrap(), model: "m".parse().unwrap() }
    }

    fn lost(failures: impl IntoIterator<Item = Failure>) -> Lost {
        let tried = |failure| Tried { target: target("p"), failure, took: Duration::ZERO };
        Lost { tried: failures.into_iter().map(tried).collect(), ..Lost::default() }
    }

    fn resting(provider: &str, seconds: u64) -> Resting {
        Resting { target: target(provider), left: Duration::from_secs(seconds), status: Some(429) }
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
        let off = |names: &[&str], all| Off { targets: names.iter().map(|name| target(name)).collect(), all };
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
    fn while_targets_rest_the_client_is_told_the_time_of_the_first_and_the_truth_about_the_others() {
        use ErrorCode::{RateLimited, UpstreamError, UpstreamUnavailable};
        let check = |lost: Lost, off: &[&str], code: ErrorCode, seconds: u64, message: &str| {
            let off = Off { targets: off.iter().map(|name| target(name)).collect(), all: false };
            let (refused, end) = rescue(lost, None, &off);
            let retry = Retry::After(Duration::from_secs(seconds));
            assert_eq!((refused.error.message.as_ref(), refused.error.code), (message, code));
            assert_eq!(refused.retry, retry, "{message}");
            assert!(matches!(end, End::Failed(ended, _) if ended == code), "{message}");
        };
        let two = || vec![resting("a", 28), resting("b", 9)];
        let both = "no target could serve the request: a/m has asked to be left alone for 28000 ms more; \
                    b/m has asked to be left alone for 9000 ms more";
        check(Lost { resting: two(), ..Lost::default() }, &[], RateLimited, 9, both);
        // One that cannot honour the request does not make it wrong for the others.
        let unsupported = Some(ClientError::unsupported("n", "one answer only"));
        check(Lost { resting: two(), unsupported, ..Lost::default() }, &[], RateLimited, 9, both);
        let with_one_off = format!("{both}; c/m switched off by an operator");
        check(Lost { resting: two(), ..Lost::default() }, &["c"], RateLimited, 9, &with_one_off);
        let and_full = format!("{both}; the others are at their limit, or cannot honour it");
        check(Lost { resting: two(), full: true, ..Lost::default() }, &[], UpstreamUnavailable, 1, &and_full);
        let much = "no target could serve the request: a/m has asked to be left alone for 66000 ms more";
        check(Lost { resting: vec![resting("a", 66)], ..Lost::default() }, &[], RateLimited, 60, much);

        let pressed = || {
            let retry_after = Some(Duration::from_secs(7));
            Failure { retry_after, status: Some(429), ..Failure::new(FailureClass::Saturation, "limit") }
        };
        // What was tried rests as well, for a little longer than it asked for.
        check(Lost { resting: vec![resting("p", 8)], ..lost([pressed()]) }, &[], RateLimited, 8, "limit");
        let message = "no target could serve the request: p/m saturation 429 after 0 ms (limit); \
                       a/m has asked to be left alone for 5000 ms more";
        let rest = vec![resting("p", 8), resting("a", 5)];
        check(Lost { resting: rest, ..lost([pressed()]) }, &[], RateLimited, 5, message);
        let failed = || Failure { status: Some(500), ..Failure::new(FailureClass::Provider, "it failed") };
        let message = "no target could serve the request: p/m provider 500 after 0 ms (it failed); \
                       a/m has asked to be left alone for 5000 ms more";
        check(Lost { resting: vec![resting("a", 5)], ..lost([failed()]) }, &[], UpstreamUnavailable, 5, message);
        let (refused, _) = rescue(lost([failed()]), None, &Off::default());
        assert_eq!((refused.error.code, refused.retry), (UpstreamError, Retry::Unsaid));
        let refused_key = Failure { status: Some(401), ..Failure::new(FailureClass::Credential, "key") };
        let (refused, _) =
            rescue(Lost { resting: vec![resting("a", 5)], ..lost([refused_key]) }, None, &Off::default());
        assert_eq!(refused.retry, Retry::After(Duration::from_secs(5)), "another may serve it then");
    }

    #[test]
    fn what_stays_as_it_is_is_not_to_be_asked_again() {
        for (status, expected) in [(403, Retry::Never), (404, Retry::Never), (500, Retry::Unsaid)] {
            let failure = Failure { status: Some(status), ..Failure::new(FailureClass::Provider, "test") };
            let (refused, _) = rescue(lost([failure]), None, &Off::default());
            assert_eq!((refused.error.code, refused.retry), (ErrorCode::UpstreamError, expected), "{status}");
        }
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
