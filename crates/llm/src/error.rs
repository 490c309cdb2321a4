//! Errors as clients see them: one table from code to HTTP status and OpenAI error type, and the bodies.
//!
//! Source: OpenAI API reference, "Error codes", and what openai-python matches on (`error.code`, status).

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

/// Why a request was not served. Closed: clients and dashboards match on [`ErrorCode::as_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The body is not a JSON object, or a field has the wrong type or an impossible value.
    InvalidRequest,
    /// The parameter exists, but no target of the model can honour it.
    UnsupportedParameter,
    /// No key, or one that is unknown or revoked.
    InvalidApiKey,
    /// The caller may not do this: model, residency or class constraints leave nothing.
    PermissionDenied,
    /// No such model, or not for this caller.
    ModelNotFound,
    /// No such path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The body exceeds the size limit.
    RequestTooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The request does not fit into the context of any allowed model.
    ContextLengthExceeded,
    /// A content filter refused the request.
    ContentFilter,
    /// The caller's own rate limit.
    RateLimitExceeded,
    /// The caller's own budget is spent.
    InsufficientQuota,
    /// Every upstream asked is under pressure; worth another try later.
    UpstreamOverloaded,
    /// This node sheds load or drains.
    Overloaded,
    /// No target could serve the request.
    NoHealthyUpstream,
    /// The upstream refused the gateway's credentials: nothing the caller can do with its own key.
    UpstreamCredentialsExhausted,
    /// The upstream answered wrongly or broke off.
    UpstreamError,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// A fault of the gateway.
    Internal,
}

impl ErrorCode {
    /// Every code, for tables and tests.
    pub const ALL: [Self; 21] = [
        Self::InvalidRequest,
        Self::UnsupportedParameter,
        Self::InvalidApiKey,
        Self::PermissionDenied,
        Self::ModelNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::RequestTooLarge,
        Self::UnsupportedMediaType,
        Self::ContextLengthExceeded,
        Self::ContentFilter,
        Self::RateLimitExceeded,
        Self::InsufficientQuota,
        Self::UpstreamOverloaded,
        Self::Overloaded,
        Self::NoHealthyUpstream,
        Self::UpstreamCredentialsExhausted,
        Self::UpstreamError,
        Self::UpstreamTimeout,
        Self::Internal,
    ];

    /// The wire name (`error.code`).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> http::StatusCode {
        self.row().1
    }

    /// OpenAI's `error.type`.
    #[must_use]
    pub const fn openai_type(self) -> &'static str {
        self.row().2
    }

    /// The one table: code, status, OpenAI type.
    const fn row(self) -> (&'static str, http::StatusCode, &'static str) {
        use http::StatusCode as S;
        const INVALID: &str = "invalid_request_error";
        match self {
            Self::InvalidRequest => ("invalid_request_error", S::BAD_REQUEST, INVALID),
            Self::UnsupportedParameter => ("unsupported_parameter", S::BAD_REQUEST, INVALID),
            Self::InvalidApiKey => ("invalid_api_key", S::UNAUTHORIZED, INVALID),
            Self::PermissionDenied => ("permission_denied", S::FORBIDDEN, "permission_error"),
            Self::ModelNotFound => ("model_not_found", S::NOT_FOUND, INVALID),
            Self::NotFound => ("not_found", S::NOT_FOUND, INVALID),
            Self::MethodNotAllowed => ("method_not_allowed", S::METHOD_NOT_ALLOWED, INVALID),
            Self::RequestTimeout => ("request_timeout", S::REQUEST_TIMEOUT, INVALID),
            Self::RequestTooLarge => ("request_too_large", S::PAYLOAD_TOO_LARGE, INVALID),
            Self::UnsupportedMediaType => ("unsupported_media_type", S::UNSUPPORTED_MEDIA_TYPE, INVALID),
            Self::ContextLengthExceeded => ("context_length_exceeded", S::BAD_REQUEST, INVALID),
            Self::ContentFilter => ("content_filter", S::BAD_REQUEST, INVALID),
            Self::RateLimitExceeded => ("rate_limit_exceeded", S::TOO_MANY_REQUESTS, "rate_limit_error"),
            Self::InsufficientQuota => ("insufficient_quota", S::TOO_MANY_REQUESTS, "insufficient_quota"),
            Self::UpstreamOverloaded => ("upstream_overloaded", S::SERVICE_UNAVAILABLE, "server_error"),
            Self::Overloaded => ("overloaded", S::SERVICE_UNAVAILABLE, "server_error"),
            Self::NoHealthyUpstream => ("no_healthy_upstream", S::SERVICE_UNAVAILABLE, "server_error"),
            Self::UpstreamCredentialsExhausted => ("upstream_credentials_exhausted", S::BAD_GATEWAY, "server_error"),
            Self::UpstreamError => ("upstream_error", S::BAD_GATEWAY, "server_error"),
            Self::UpstreamTimeout => ("upstream_timeout", S::GATEWAY_TIMEOUT, "server_error"),
            Self::Internal => ("internal_error", S::INTERNAL_SERVER_ERROR, "server_error"),
        }
    }
}

/// An error answer of the gateway's own. `message` is for the client and must hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ClientError {
    /// What kind.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// The request field at fault, as a path such as `messages[0].content`.
    pub param: Option<String>,
}

impl ClientError {
    /// An error that names no field.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), param: None }
    }

    /// A 400 that names the field at fault.
    pub fn invalid(param: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: ErrorCode::InvalidRequest, message: message.into(), param: Some(param.into()) }
    }

    /// A 400 for a field that is right in itself, but that the target cannot honour.
    pub fn unsupported(param: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: ErrorCode::UnsupportedParameter, message: message.into(), param: Some(param.into()) }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> http::StatusCode {
        self.code.status()
    }

    /// OpenAI's error body: `{"error":{"message","type","param","code"}}`.
    #[must_use]
    pub fn openai_body(&self) -> Bytes {
        openai_error_body(&self.message, self.code.openai_type(), self.param.as_deref(), Some(self.code.as_str()))
    }

    /// The error as the last event of a stream: `data: {"error":{...}}\n\n`, with no `[DONE]` after it.
    ///
    /// A stream that just ends passes for success in openai-python, while any object with a truthy `error` raises.
    #[must_use]
    pub fn openai_event(&self) -> Bytes {
        meridian_sse::data(&self.openai_body())
    }
}

/// Writes an error body in OpenAI's shape from parts; `code` is a string or null, never a number.
#[must_use]
pub fn openai_error_body(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Inner<'a>,
    }
    #[derive(Serialize)]
    struct Inner<'a> {
        message: &'a str,
        #[serde(rename = "type")]
        kind: &'a str,
        param: Option<&'a str>,
        code: Option<&'a str>,
    }
    crate::json::to_bytes(&Body { error: Inner { message, kind, param, code } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_their_statuses_are_errors() {
        let names: std::collections::BTreeSet<_> = ErrorCode::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.iter().all(|c| c.status().as_u16() >= 400));
    }

    #[test]
    fn only_the_callers_own_key_gives_401() {
        let unauthorized: Vec<_> = ErrorCode::ALL.iter().filter(|c| c.status() == 401).collect();
        assert_eq!(unauthorized, [&ErrorCode::InvalidApiKey]);
    }

    #[test]
    fn bodies_have_all_four_fields_and_events_end_with_a_blank_line() {
        let error = ClientError::invalid("messages[0].content", "must be a \"string\"");
        let body = r#"{"error":{"message":"must be a \"string\"","type":"invalid_request_error","param":"messages[0].content","code":"invalid_request_error"}}"#;
        assert_eq!(error.openai_body(), body);
        assert_eq!(error.openai_event(), format!("data: {body}\n\n"));
        let plain = ClientError::new(ErrorCode::ModelNotFound, "no such model");
        assert_eq!(
            plain.openai_body(),
            r#"{"error":{"message":"no such model","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#
        );
    }
}
