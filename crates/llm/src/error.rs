//! Errors as clients see them: a code of the closed list ([`ErrorCode`]), and the bodies in OpenAI's shape.
//!
//! Source: OpenAI API reference, "Error codes", and what openai-python matches on (`error.code`, status).

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use meridian_types::ErrorCode;
use serde::Serialize;

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

    /// OpenAI's error body: `{"error":{"message","type","param","code"}}`.
    #[must_use]
    pub fn openai_body(&self) -> Bytes {
        let row = self.code.row();
        openai_error_body(&self.message, row.openai_type, self.param.as_deref(), Some(row.text))
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
    fn bodies_have_all_four_fields_and_events_end_with_a_blank_line() {
        let error = ClientError::invalid("messages[0].content", "must be a \"string\"");
        let body = r#"{"error":{"message":"must be a \"string\"","type":"invalid_request_error","param":"messages[0].content","code":"invalid_field"}}"#;
        assert_eq!(error.openai_body(), body);
        assert_eq!(error.openai_event(), format!("data: {body}\n\n"));
        let plain = ClientError::new(ErrorCode::ModelNotFound, "no such model");
        assert_eq!(
            plain.openai_body(),
            r#"{"error":{"message":"no such model","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#
        );
    }
}
