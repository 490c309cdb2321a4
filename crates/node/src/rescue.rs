//! Turns "nobody served" into the one answer that helps the client most.

use std::time::Duration;

use meridian_ingress::{Refused, Retry};
use meridian_llm::{ClientError, Failure, FailureClass};
use meridian_types::ErrorCode;

use crate::attempt::Lost;
use crate::ledger::End;

/// Longest wait that is asked of a client: SDKs and agents give up beyond a minute.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// When nothing is known of the time.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The answer, and how it counts.
pub(crate) fn rescue(lost: Lost) -> (Refused, End) {
    let Lost { attempts, failures, unsupported } = lost;
    let Some(failure) = failures.into_iter().min_by_key(rank) else {
        return match unsupported {
            Some(error) => {
                let end = End::Refused(error.code);
                (Refused::from(error).retry(Retry::Never), end)
            }
            None => busy(),
        };
    };
    let end = match failure.class {
        FailureClass::Client | FailureClass::Refusal | FailureClass::ContextLength => End::Refused(failure.client_code),
        class => End::Failed(failure.client_code, Some(class)),
    };
    let retry = retry(&failure, attempts);
    let error = ClientError::new(failure.client_code, failure.message);
    (Refused { error, retry, reply: failure.reply }, end)
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

/// After a failover there is nothing left that a repetition could find; after one attempt the status says enough.
fn retry(failure: &Failure, attempts: usize) -> Retry {
    match failure.class {
        FailureClass::Saturation => {
            Retry::After(failure.retry_after.unwrap_or(DEFAULT_RETRY_AFTER).min(MAX_RETRY_AFTER))
        }
        FailureClass::Provider | FailureClass::Transport if attempts <= 1 => Retry::Unsaid,
        _ => Retry::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(classes: &[FailureClass], code: ErrorCode, retry: Retry) {
        let failures: Vec<_> = classes.iter().map(|class| Failure::new(*class, "test")).collect();
        let (refused, _) = rescue(Lost { attempts: failures.len(), failures, unsupported: None });
        assert_eq!((refused.error.code, refused.retry), (code, retry), "{classes:?}");
    }

    #[test]
    fn the_most_telling_failure_is_shown() {
        use FailureClass::{Client, Credential, Provider, Saturation, Transport};
        check(&[], ErrorCode::UpstreamUnavailable, Retry::After(DEFAULT_RETRY_AFTER));
        check(&[Provider], ErrorCode::UpstreamInvalid, Retry::Unsaid);
        check(&[Provider, Transport], ErrorCode::UpstreamInvalid, Retry::Never);
        check(&[Credential, Saturation, Provider], ErrorCode::RateLimited, Retry::After(DEFAULT_RETRY_AFTER));
        check(&[Transport, Client], ErrorCode::InvalidRequest, Retry::Never);
        check(&[Credential], ErrorCode::UpstreamCredentials, Retry::Never);
    }

    #[test]
    fn an_upstreams_wish_is_passed_on_up_to_a_minute() {
        let mut failure = Failure::new(FailureClass::Saturation, "test");
        failure.retry_after = Some(Duration::from_secs(3600));
        let (refused, end) = rescue(Lost { attempts: 1, failures: vec![failure], unsupported: None });
        assert_eq!(refused.retry, Retry::After(MAX_RETRY_AFTER));
        assert_eq!(end, End::Failed(ErrorCode::RateLimited, Some(FailureClass::Saturation)));
    }

    #[test]
    fn what_no_target_can_honour_is_the_requests_matter() {
        let unsupported = Some(ClientError::unsupported("n", "one answer only"));
        let (refused, end) = rescue(Lost { attempts: 0, failures: Vec::new(), unsupported });
        assert_eq!((refused.error.status().as_u16(), refused.retry), (400, Retry::Never));
        assert_eq!(end, End::Refused(ErrorCode::UnsupportedParameter));
    }
}
