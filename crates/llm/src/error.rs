//! Errors as clients see them: a code of the closed list ([`ErrorCode`]), and the bodies in the shape of the dialect that
//! the client speaks, whatever the upstream spoke.
//!
//! Sources: OpenAI API reference, "Error codes", and what openai-python matches on (`error.code`, status); Anthropic API
//! reference, "Errors", and what anthropic-python matches on (status, `error.type`).

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use meridian_types::ErrorCode;
use serde::Serialize;

use crate::Dialect;

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
        Self { code: ErrorCode::InvalidField, message: message.into(), param: Some(param.into()) }
    }

    /// A 400 for a field that is right in itself, but that the target cannot honour.
    pub fn unsupported(param: impl Into<String>, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code: ErrorCode::UnsupportedParameter, message: message.into(), param: Some(param.into()) }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.row().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The HTTP status in a dialect: Anthropic has one of its own for overload, which its SDKs know.
    #[must_use]
    pub fn status_in(&self, dialect: Dialect) -> StatusCode {
        match (dialect, self.code.row().anthropic_type) {
            (Dialect::Anthropic, "overloaded_error") => StatusCode::from_u16(529).unwrap_or(self.status()),
            _ => self.status(),
        }
    }

    /// The body of an error answer. `request_id` is ours; Anthropic's shape names it.
    #[must_use]
    pub fn body(&self, dialect: Dialect, request_id: &str) -> Bytes {
        let row = self.code.row();
        match dialect {
            Dialect::OpenAi => openai_error_body(&self.message, row.openai_type, self.param.as_deref(), Some(row.text)),
            Dialect::Anthropic => {
                // There is no place for the field but the sentence.
                let message = match &self.param {
                    Some(param) => Cow::Owned(format!("{param}: {}", self.message)),
                    None => Cow::Borrowed(&*self.message),
                };
                anthropic_body(&message, row.anthropic_type, request_id)
            }
        }
    }

    /// The error as the last event of a stream, with no end mark after it.
    ///
    /// A stream that just ends passes for success in openai-python, while any object with a truthy `error` raises;
    /// anthropic-python raises on the event's name.
    #[must_use]
    pub fn event(&self, dialect: Dialect, request_id: &str) -> Bytes {
        let body = self.body(dialect, request_id);
        match dialect {
            Dialect::OpenAi => meridian_sse::data(&body),
            Dialect::Anthropic => meridian_sse::named("error", &body),
        }
    }
}

/// Writes an error body in OpenAI's shape from parts, `{"error":{"message","type","param","code"}}`; `code` is a string or
/// null, never a number.
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

/// `{"type":"error","error":{"type","message"},"request_id"}`.
fn anthropic_body(message: &str, kind: &str, request_id: &str) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        error: Inner<'a>,
        request_id: &'a str,
    }
    #[derive(Serialize)]
    struct Inner<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        message: &'a str,
    }
    crate::json::to_bytes(&Body { kind: "error", error: Inner { kind, message }, request_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &ClientError, openai: &str, status: u16, anthropic: &str) {
        assert_eq!(error.body(Dialect::OpenAi, "r1"), openai);
        assert_eq!(error.event(Dialect::OpenAi, "r1"), format!("data: {openai}\n\n"));
        assert_eq!(error.status_in(Dialect::OpenAi), error.status());
        assert_eq!(error.body(Dialect::Anthropic, "r1"), anthropic);
        assert_eq!(error.event(Dialect::Anthropic, "r1"), format!("event: error\ndata: {anthropic}\n\n"));
        assert_eq!(error.status_in(Dialect::Anthropic), status);
    }

    #[test]
    fn bodies_have_all_fields_of_their_dialect_and_events_end_with_a_blank_line() {
        check(
            &ClientError::invalid("messages[0].content", "must be a \"string\""),
            r#"{"error":{"message":"must be a \"string\"","type":"invalid_request_error","param":"messages[0].content","code":"invalid_field"}}"#,
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages[0].content: must be a \"string\""},"request_id":"r1"}"#,
        );
        check(
            &ClientError::new(ErrorCode::ModelNotFound, "no such model"),
            r#"{"error":{"message":"no such model","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"no such model"},"request_id":"r1"}"#,
        );
        check(
            &ClientError::new(ErrorCode::Overloaded, "full"),
            r#"{"error":{"message":"full","type":"overloaded_error","param":null,"code":"overloaded"}}"#,
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"full"},"request_id":"r1"}"#,
        );
    }

    #[test]
    fn anthropics_statuses_are_those_of_its_types() {
        // <https://platform.claude.com/docs/en/api/errors>
        for (code, status, kind) in [
            (ErrorCode::InvalidApiKey, 401, "authentication_error"),
            (ErrorCode::ResidencyRefused, 403, "permission_error"),
            (ErrorCode::TooLarge, 413, "request_too_large"),
            (ErrorCode::RateLimited, 429, "rate_limit_error"),
            (ErrorCode::Internal, 500, "api_error"),
            (ErrorCode::UpstreamTimeout, 504, "timeout_error"),
            (ErrorCode::Draining, 529, "overloaded_error"),
        ] {
            let error = ClientError::new(code, "m");
            assert_eq!((error.status_in(Dialect::Anthropic).as_u16(), code.row().anthropic_type), (status, kind));
        }
    }
}
