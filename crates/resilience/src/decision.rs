//! What a failure means: for the request, as long as nothing semantic has reached the client, and for the target.

use std::time::Duration;

use meridian_llm::{ErrorCode, Failure, FailureClass};

use crate::Outcome;

/// Targets that one request may ask. Each costs money and time, and the client has a patience: with the default
/// deadlines four silent targets are given up within two minutes.
pub const MAX_ATTEMPTS: usize = 4;

/// Times that one request may ask one target again.
pub const MAX_REPEATS: u32 = 2;

/// Longest wait before a target is asked again while its client waits. What asks for more is answered to the client with
/// that wait: SDKs and schedulers know better what to do with the time.
pub const MAX_WAIT: Duration = Duration::from_secs(5);

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next target is asked.
    Target,
    /// The next target that serves *another* model is asked: this model cannot do it anywhere.
    Model,
    /// The failure goes back to the client.
    Answer,
}

/// Decides by class alone.
#[must_use]
pub const fn after_failure(class: FailureClass) -> Next {
    match class {
        FailureClass::Credential | FailureClass::Saturation | FailureClass::Provider | FailureClass::Transport => {
            Next::Target
        }
        // A fallback may take a longer prompt; the same model elsewhere does not.
        FailureClass::ContextLength => Next::Model,
        // Asking elsewhere would answer a wrong request, or route around a refusal.
        FailureClass::Client | FailureClass::Refusal | FailureClass::Cancelled => Next::Answer,
    }
}

/// Whether the same target may do better a moment later, when there is no other to ask. Silence is not repeated: it has
/// cost the client a whole deadline already.
#[must_use]
pub fn may_repeat(failure: &Failure) -> bool {
    match failure.class {
        FailureClass::Saturation => true,
        FailureClass::Transport => failure.client_code != ErrorCode::UpstreamTimeout,
        // A missing model or path stays missing.
        FailureClass::Provider => failure.status.is_none_or(|status| status >= 500),
        _ => false,
    }
}

/// What a failure says of the target, and of the credential that it was asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blame {
    /// For the target's breaker.
    pub target: Outcome,
    /// For the breaker of the credential, which all targets of the provider share.
    pub credential: Outcome,
}

impl Blame {
    /// What an answer says.
    pub const ANSWERED: Self = Self { target: Outcome::Answered, credential: Outcome::Answered };

    /// What silence says that lasted for too long, whoever ended it.
    pub const SILENT: Self = Self { target: Outcome::Failed, credential: Outcome::Unknown };

    /// What a failure says.
    #[must_use]
    pub fn of(failure: &Failure) -> Self {
        let (target, credential) = match failure.class {
            // It answered, and said that the request is at fault.
            FailureClass::Client | FailureClass::Refusal | FailureClass::ContextLength => {
                (Outcome::Answered, Outcome::Answered)
            }
            // The key is good, but not for this model: a 403 whose typed error says so.
            FailureClass::Credential if failure.status == Some(403) => (Outcome::Barred, Outcome::Unknown),
            // The target itself may be well, and is so for the next credential.
            FailureClass::Credential => (Outcome::Unknown, Outcome::Barred),
            // Rate limits are counted by account, but for each model apart.
            FailureClass::Saturation => (Outcome::Pressed(failure.retry_after), Outcome::Answered),
            FailureClass::Provider | FailureClass::Transport => (Outcome::Failed, Outcome::Unknown),
            FailureClass::Cancelled => (Outcome::Unknown, Outcome::Unknown),
        };
        Self { target, credential }
    }

    /// The same of a target that has failed the same request before: one request counts once, so that one that nobody
    /// can serve does not open a breaker by itself. Pressure is pressure, whoever meets it.
    #[must_use]
    pub fn repeated(self) -> Self {
        match self.target {
            Outcome::Failed => Self { target: Outcome::Unknown, ..self },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_repeated_and_silence_is_not() {
        let check = |class, status, code: Option<ErrorCode>, expected| {
            let mut failure = Failure { status, ..Failure::new(class, "test") };
            failure.client_code = code.unwrap_or(failure.client_code);
            assert_eq!(may_repeat(&failure), expected, "{} {status:?}", class.as_str());
        };
        check(FailureClass::Saturation, Some(429), None, true);
        check(FailureClass::Provider, Some(500), None, true);
        check(FailureClass::Provider, None, Some(ErrorCode::UpstreamInterrupted), true);
        check(FailureClass::Provider, Some(404), None, false);
        check(FailureClass::Provider, Some(403), None, false);
        check(FailureClass::Transport, None, None, true);
        check(FailureClass::Transport, None, Some(ErrorCode::UpstreamTimeout), false);
        check(FailureClass::Client, Some(400), None, false);
        check(FailureClass::Credential, Some(401), None, false);
        check(FailureClass::Cancelled, None, None, false);
    }

    #[test]
    fn what_speaks_about_the_target_goes_elsewhere_and_what_speaks_about_the_request_does_not() {
        for class in FailureClass::ALL {
            assert_eq!(after_failure(class) == Next::Target, class.elsewhere_may_serve(), "{}", class.as_str());
        }
    }

    #[track_caller]
    fn check(class: FailureClass, status: Option<u16>, target: Outcome, credential: Outcome) {
        let wait = Some(Duration::from_secs(3));
        let failure = Failure { status, retry_after: wait, ..Failure::new(class, "test") };
        assert_eq!(Blame::of(&failure), Blame { target, credential }, "{} {status:?}", class.as_str());
    }

    #[test]
    fn each_class_blames_whom_it_speaks_of_and_nobody_else() {
        use FailureClass::{Cancelled, Client, ContextLength, Credential, Provider, Refusal, Saturation, Transport};
        use Outcome::{Answered, Barred, Failed, Pressed, Unknown};
        for class in [Client, Refusal, ContextLength] {
            check(class, Some(400), Answered, Answered);
        }
        check(Credential, Some(401), Unknown, Barred);
        check(Credential, Some(402), Unknown, Barred);
        check(Credential, Some(429), Unknown, Barred);
        check(Credential, None, Unknown, Barred);
        check(Credential, Some(403), Barred, Unknown);
        for status in [429, 503, 529] {
            check(Saturation, Some(status), Pressed(Some(Duration::from_secs(3))), Answered);
        }
        check(Provider, Some(500), Failed, Unknown);
        // A 403 that may be about the prompt: one of them bars nobody.
        check(Provider, Some(403), Failed, Unknown);
        check(Transport, None, Failed, Unknown);
        check(Cancelled, None, Unknown, Unknown);
    }
}
