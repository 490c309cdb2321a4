//! What a failure means for the request, as long as nothing semantic has reached the client.

use meridian_llm::FailureClass;

/// Targets that one request may ask. Each costs money and time, and the client has a patience: with the default
/// deadlines four silent targets are given up within two minutes.
pub const MAX_ATTEMPTS: usize = 4;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_speaks_about_the_target_goes_elsewhere_and_what_speaks_about_the_request_does_not() {
        for class in FailureClass::ALL {
            assert_eq!(after_failure(class) == Next::Target, class.elsewhere_may_serve(), "{}", class.as_str());
        }
    }
}
