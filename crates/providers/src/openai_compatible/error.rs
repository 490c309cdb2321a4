//! What an OpenAI-compatible upstream's errors mean.
//!
//! Source: OpenAI, "Error codes", <https://platform.openai.com/docs/guides/error-codes>; Azure OpenAI, "Content
//! filtering". Typed fields (`error.code`, `error.type`) decide first, then the status; message texts never.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use meridian_llm::failure::identifier;
use meridian_llm::{Dialect, ErrorReply, Failure, FailureClass};

use super::wire::{ErrorBody, ErrorInner};
use crate::retry_after::retry_after;
use crate::status;

pub(super) fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let parsed = serde_json::from_slice::<ErrorBody<'_>>(body).ok();
    let error = parsed.as_ref().map(|body| &body.error);
    let (class, message) = error.and_then(by_code).unwrap_or_else(|| status::judge(status));
    Failure {
        status: Some(status.as_u16()),
        retry_after: retry_after(headers),
        code: error.and_then(code_of),
        reply: reply(class, Some(status), parsed.is_some().then(|| Bytes::copy_from_slice(body))),
        ..Failure::new(class, message)
    }
}

/// An error inside HTTP 200: in a stream event or a whole answer. `data` is a JSON object with an `error`.
pub(super) fn in_band(data: &[u8]) -> Failure {
    let parsed = serde_json::from_slice::<ErrorBody<'_>>(data).ok();
    let inner = parsed.map(|body| body.error).unwrap_or_default();
    let status = inner.numeric_code().and_then(|code| StatusCode::from_u16(code).ok());
    let by_number = status.filter(|s| s.is_client_error() || s.is_server_error()).map(status::judge);
    let (class, message) =
        by_code(&inner).or(by_number).unwrap_or((FailureClass::Provider, "the upstream sent an error inside a 200"));
    let reply = reply(class, status, Some(Bytes::copy_from_slice(data)));
    Failure { code: code_of(&inner), reply, ..Failure::new(class, message) }
}

/// Only what concerns the client's own request goes back; a credential error must not (it may show part of our key).
fn reply(class: FailureClass, status: Option<StatusCode>, body: Option<Bytes>) -> Option<ErrorReply> {
    use FailureClass::{Client, ContextLength, Refusal};
    let body = body.filter(|_| matches!(class, Client | ContextLength | Refusal))?;
    Some(ErrorReply { status: status::for_client(status), dialect: Dialect::OpenAi, body })
}

fn code_of(error: &ErrorInner<'_>) -> Option<String> {
    error.code().or_else(|| error.kind()).and_then(|code| identifier(&code))
}

fn by_code(error: &ErrorInner<'_>) -> Option<(FailureClass, &'static str)> {
    let known = [error.code(), error.inner_code(), error.kind()];
    known.iter().flatten().find_map(|code| match &**code {
        "context_length_exceeded" | "string_above_max_length" => {
            Some((FailureClass::ContextLength, "the request exceeds the model's context"))
        }
        "content_filter" | "content_policy_violation" | "ResponsibleAIPolicyViolation" => {
            Some((FailureClass::Refusal, "the upstream's content filter refused the request"))
        }
        "invalid_api_key"
        | "account_deactivated"
        | "insufficient_quota"
        | "billing_hard_limit_reached"
        | "billing_not_active" => Some((FailureClass::Credential, "the upstream refused the gateway's credential")),
        "rate_limit_exceeded" | "overloaded_error" | "engine_overloaded" => {
            Some((FailureClass::Saturation, "the upstream is under pressure"))
        }
        // The gateway chose this name, so it is not the client's mistake.
        "model_not_found" | "DeploymentNotFound" => Some((FailureClass::Provider, "the upstream has no such model")),
        "server_error" => Some((FailureClass::Provider, "the upstream failed")),
        _ => None,
    })
}
