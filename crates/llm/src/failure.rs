//! What an upstream failure means for policy: the class decides on retry, breaker, cool-down or straight back.
//!
//! Policy reads these fields and never text.

use std::time::Duration;

use bytes::Bytes;
use meridian_types::ErrorCode;
use serde::Deserialize;

use crate::{ClientError, Dialect};

/// The class of an upstream failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureClass {
    /// The request itself is wrong: no retry, no breaker, back to the client.
    Client,
    /// The gateway's own upstream credential was refused or is out of funds: the credential is marked, another target
    /// may serve, and the client is never told that *its* key is bad.
    Credential,
    /// Pressure (429, 503, 529): back off until Retry-After; not death.
    Saturation,
    /// The provider answered wrongly: 5xx, a malformed or truncated body, an error inside a stream.
    Provider,
    /// No answer: connect, reset, timeout.
    Transport,
    /// A content filter refused: not routed around by default.
    Refusal,
    /// The request is longer than the model's context: a larger model may serve it.
    ContextLength,
    /// The client or the gateway gave the request up.
    Cancelled,
}

impl FailureClass {
    /// Every class, in declaration order: for metrics with closed label sets.
    pub const ALL: [Self; 8] = [
        Self::Client,
        Self::Credential,
        Self::Saturation,
        Self::Provider,
        Self::Transport,
        Self::Refusal,
        Self::ContextLength,
        Self::Cancelled,
    ];

    /// The stable name, as used in metric labels and `explain`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Credential => "credential",
            Self::Saturation => "saturation",
            Self::Provider => "provider",
            Self::Transport => "transport",
            Self::Refusal => "refusal",
            Self::ContextLength => "context_length",
            Self::Cancelled => "cancelled",
        }
    }

    /// What a client is told when a failure of this class is all there is.
    #[must_use]
    pub const fn client_code(self) -> ErrorCode {
        match self {
            Self::Client => ErrorCode::InvalidRequest,
            Self::Credential => ErrorCode::UpstreamCredentials,
            Self::Saturation => ErrorCode::RateLimited,
            Self::Provider => ErrorCode::UpstreamError,
            Self::Transport => ErrorCode::UpstreamUnavailable,
            Self::Refusal => ErrorCode::ContentRefused,
            Self::ContextLength => ErrorCode::ContextLengthExceeded,
            Self::Cancelled => ErrorCode::ClientTimeout,
        }
    }

    /// True when the failure speaks about the target and not about this request: another target may well serve it.
    #[must_use]
    pub const fn elsewhere_may_serve(self) -> bool {
        matches!(self, Self::Credential | Self::Saturation | Self::Provider | Self::Transport)
    }
}

/// One upstream failure, classified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What it means for policy.
    pub class: FailureClass,
    /// The upstream's HTTP status, or the one that an error inside a 200 names; `None` when there is neither.
    pub status: Option<u16>,
    /// How long the upstream asks to be left alone.
    pub retry_after: Option<Duration>,
    /// The upstream's own error code or type, if it is a plain identifier (see [`identifier`]).
    pub code: Option<String>,
    /// Says what happened, from closed texts: safe to log, holds nothing the client or the model wrote.
    pub message: &'static str,
    /// What the client is told if this failure ends its request and there is no `reply`.
    pub client_code: ErrorCode,
    /// What the upstream said, if this failure goes back to the client: only for [`FailureClass::Client`],
    /// [`FailureClass::Refusal`] and [`FailureClass::ContextLength`]. It may quote the request, so it is not for logs.
    pub reply: Option<ErrorReply>,
}

impl Failure {
    /// A failure with nothing known but its class and text.
    #[must_use]
    pub const fn new(class: FailureClass, message: &'static str) -> Self {
        Self {
            class,
            status: None,
            retry_after: None,
            code: None,
            message,
            client_code: class.client_code(),
            reply: None,
        }
    }

    /// The upstream sent what its protocol does not allow.
    #[must_use]
    pub const fn malformed(message: &'static str) -> Self {
        let mut failure = Self::new(FailureClass::Provider, message);
        failure.client_code = ErrorCode::UpstreamInvalid;
        failure
    }

    /// The upstream's answer ended before it was complete.
    #[must_use]
    pub const fn truncated(message: &'static str) -> Self {
        let mut failure = Self::new(FailureClass::Provider, message);
        failure.client_code = ErrorCode::UpstreamInterrupted;
        failure
    }

    /// The failure as the client's own error: for the end of a stream, and where there is no `reply`.
    #[must_use]
    pub fn client_error(&self) -> ClientError {
        ClientError::new(self.client_code, self.message)
    }
}

/// An upstream's error that is about the client's own request.
#[derive(Clone, PartialEq, Eq)]
pub struct ErrorReply {
    /// HTTP status, 400 to 499.
    pub status: u16,
    /// The upstream's dialect.
    pub dialect: Dialect,
    /// JSON body in that dialect, as the upstream wrote it: agents match on the wording.
    pub body: Bytes,
}

impl ErrorReply {
    /// The body of the answer in the client's dialect: as the upstream wrote it if that is its dialect too, else its words
    /// under `error`'s code. `request_id` is ours; an upstream's own body keeps the upstream's.
    #[must_use]
    pub fn body_in(&self, dialect: Dialect, error: &ClientError, request_id: &str) -> Bytes {
        #[derive(Deserialize)]
        struct Body {
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            message: String,
            #[serde(default)]
            param: Option<String>,
        }
        if dialect == self.dialect {
            return self.body.clone();
        }
        let told = match serde_json::from_slice::<Body>(&self.body) {
            Ok(Body { error: Inner { message, param } }) => {
                ClientError { code: error.code, message: message.into(), param }
            }
            Err(_) => error.clone(),
        };
        told.body(dialect, request_id)
    }
}

/// The body may quote the request.
impl std::fmt::Debug for ErrorReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ErrorReply").field("status", &self.status).field("bytes", &self.body.len()).finish()
    }
}

/// Longest upstream code that is kept: real ones have at most about 40 characters.
const MAX_IDENTIFIER_BYTES: usize = 64;

/// Returns `text` if it is a plain identifier (letters, digits, `_`, `-`, `.`), so that an upstream cannot put prompts,
/// keys or line ends into logs through its error code.
#[must_use]
pub fn identifier(text: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    (!text.is_empty() && text.len() <= MAX_IDENTIFIER_BYTES && text.bytes().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_identifiers_are_kept_of_an_upstream_code() {
        assert_eq!(identifier("rate_limit_exceeded").as_deref(), Some("rate_limit_exceeded"));
        for bad in ["", "sk-secret key", "a\nb", &"x".repeat(65)] {
            assert_eq!(identifier(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn class_names_are_distinct() {
        let names: std::collections::BTreeSet<_> = FailureClass::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), FailureClass::ALL.len());
    }

    #[test]
    fn what_failed_what_is_malformed_and_what_broke_off_have_codes_of_their_own() {
        let failed = Failure::new(FailureClass::Provider, "m");
        let codes = [failed, Failure::malformed("m"), Failure::truncated("m")].map(|failure| failure.client_code);
        assert_eq!(codes, [ErrorCode::UpstreamError, ErrorCode::UpstreamInvalid, ErrorCode::UpstreamInterrupted]);
    }

    fn reply(dialect: Dialect, body: &'static str) -> ErrorReply {
        ErrorReply { status: 400, dialect, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn an_upstreams_words_reach_clients_of_both_dialects() {
        let error = ClientError::new(ErrorCode::ContextLengthExceeded, "ours");
        let anthropic = r#"{"type":"error", "error":{"type":"invalid_request_error","message":"too long"},"x":1}"#;
        let theirs = reply(Dialect::Anthropic, anthropic);
        assert_eq!(theirs.body_in(Dialect::Anthropic, &error, "r"), anthropic);
        assert_eq!(
            theirs.body_in(Dialect::OpenAi, &error, "r"),
            r#"{"error":{"message":"too long","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}"#
        );
        let openai = r#"{"error":{"message":"bad","type":"invalid_request_error","param":"temperature","code":null}}"#;
        assert_eq!(
            reply(Dialect::OpenAi, openai).body_in(Dialect::Anthropic, &error, "r"),
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"temperature: bad"},"request_id":"r"}"#
        );
        let odd = reply(Dialect::OpenAi, r#"{"error":"text"}"#).body_in(Dialect::Anthropic, &error, "r");
        assert_eq!(odd, error.body(Dialect::Anthropic, "r"));
    }

    #[test]
    fn debug_output_never_shows_a_reply() {
        assert!(!format!("{:?}", reply(Dialect::OpenAi, "secret")).contains("secret"));
    }
}
