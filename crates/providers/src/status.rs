//! What an HTTP status alone says, where no typed field says more. The same for every HTTP API known so far.

use http::StatusCode;
use meridian_llm::{ErrorCode, FailureClass};

/// True for the statuses by which SDKs would blame the client's key.
const fn blames_the_key(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401..=403)
}

/// The class of a status outside 2xx, and a text fit for logs.
pub(crate) const fn judge(status: StatusCode) -> (FailureClass, &'static str) {
    match status.as_u16() {
        401 | 402 => (FailureClass::Credential, "the upstream refused the gateway's credential"),
        // It may speak of the credential, of the request (a firewall that dislikes the prompt) or of this part of the world:
        // only a typed error says which.
        403 => (FailureClass::Provider, "the upstream refused access without saying to whom"),
        // Paths and model names are the gateway's own.
        404 | 405 => (FailureClass::Provider, "the upstream has no such path or model"),
        408 | 409 | 425 => (FailureClass::Provider, "the upstream could not take the request now"),
        // 498 is Groq's "flex capacity exceeded", 529 Anthropic's "overloaded".
        429 | 498 | 503 | 529 => (FailureClass::Saturation, "the upstream is under pressure"),
        // A proxy on the way speaks of itself (RFC 9110, section 15.5): another way may be open.
        407 | 421 | 424 => (FailureClass::Provider, "the way to the upstream is closed"),
        400..=499 => (FailureClass::Client, "the upstream refused the request"),
        500..=599 => (FailureClass::Provider, "the upstream failed"),
        _ => (FailureClass::Provider, "the upstream answered with an unexpected status"),
    }
}

/// What a client is told when a failure is all there is. Pressure is one class for policy and two things for a client: the
/// account sends too much (429), or the provider has too much to do (503, Anthropic's 529; SDKs tell them apart). `code` is
/// the upstream's own, and beats the status: Kimi says `engine_overloaded_error` under 429.
pub(crate) fn client_code(class: FailureClass, status: Option<StatusCode>, code: Option<&str>) -> ErrorCode {
    let overloaded = match code {
        Some(code) if code.contains("overloaded") => true,
        Some(code) if code.contains("limit") => false,
        _ => status.is_some_and(|status| matches!(status.as_u16(), 498 | 503 | 529)),
    };
    match class {
        FailureClass::Saturation if overloaded => ErrorCode::UpstreamOverloaded,
        class => class.client_code(),
    }
}

/// The status under which an upstream's words about the request go back to the client: its own if it is a 4xx, but
/// never one by which SDKs would blame the client's key.
pub(crate) fn for_client(status: Option<StatusCode>) -> u16 {
    let status = status.filter(|status| status.is_client_error() && !blames_the_key(*status));
    status.unwrap_or(StatusCode::BAD_REQUEST).as_u16()
}
