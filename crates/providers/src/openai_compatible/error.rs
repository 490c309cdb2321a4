//! What an OpenAI-compatible upstream's errors mean.
//!
//! Source: OpenAI, "Error codes", <https://platform.openai.com/docs/guides/error-codes>; Azure OpenAI, "Content
//! filtering"; Alibaba Model Studio, <https://help.aliyun.com/en/model-studio/error-code>; Kimi,
//! <https://platform.kimi.ai/docs>; OpenRouter, <https://openrouter.ai/docs/api/reference/errors-and-debugging>; vLLM's
//! `ErrorResponse`. Typed fields (`error.code`, `error.type`) decide first, then the status; a message's text only where an
//! imitation has no code for a prompt that is too long, or that it does not like.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use meridian_llm::error::openai_error_body;
use meridian_llm::failure::identifier;
use meridian_llm::{Dialect, ErrorReply, Failure, FailureClass};

use super::wire::{ErrorBody, ErrorInner};
use crate::retry_after::retry_after;
use crate::status;

type Verdict = (FailureClass, &'static str);

const CONTEXT: Verdict = (FailureClass::ContextLength, "the request exceeds the model's context");
const REFUSED: Verdict = (FailureClass::Refusal, "the upstream's content filter refused the request");
const CREDENTIAL: Verdict = (FailureClass::Credential, "the upstream refused the gateway's credential");
/// With a 403 it concerns what was asked for and not the key as such.
const FORBIDDEN: Verdict = (FailureClass::Credential, "the upstream does not let the gateway's credential use this");
const UNPAID: Verdict = (FailureClass::Credential, "the gateway's upstream account may not spend");
const PRESSED: Verdict = (FailureClass::Saturation, "the upstream is under pressure");
/// The gateway chose this name, so it is not the client's mistake.
const NO_MODEL: Verdict = (FailureClass::Provider, "the upstream has no such model");

pub(super) fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let parsed = ErrorBody::read(body);
    let error = parsed.as_ref().map(|(error, _)| error);
    let judged = error.and_then(|error| {
        flagged(error, Some(status)).or_else(|| by_code(error)).or_else(|| by_wording(error, status))
    });
    let (class, message) = judged.unwrap_or_else(|| status::judge(status));
    let body = parsed.as_ref().and_then(|(error, as_it_is)| match as_it_is {
        true => Some(Bytes::copy_from_slice(body)),
        false => in_shape(error, class),
    });
    let code = error.and_then(code_of);
    Failure {
        status: Some(status.as_u16()),
        retry_after: retry_after(headers),
        client_code: status::client_code(class, Some(status), code.as_deref()),
        code,
        reply: reply(class, Some(status), body),
        ..Failure::new(class, message)
    }
}

/// An error inside HTTP 200: in a stream event or a whole answer. `data` is a JSON object with an `error`, whose number, if
/// it is that of a failure, counts as the status.
pub(super) fn in_band(data: &[u8]) -> Failure {
    let parsed = ErrorBody::read(data);
    let (inner, as_it_is) = parsed.unwrap_or_default();
    let status = inner.numeric_code().and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.filter(|status| status.is_client_error() || status.is_server_error());
    let judged = flagged(&inner, status).or_else(|| by_code(&inner)).or_else(|| status.map(status::judge));
    let (class, message) = judged.unwrap_or((FailureClass::Provider, "the upstream sent an error inside a 200"));
    let body = if as_it_is { Some(Bytes::copy_from_slice(data)) } else { in_shape(&inner, class) };
    let reply = reply(class, status, body);
    let code = code_of(&inner);
    let client_code = status::client_code(class, status, code.as_deref());
    let status = status.map(|status| status.as_u16());
    Failure { status, client_code, code, reply, ..Failure::new(class, message) }
}

/// Only what concerns the client's own request goes back; a credential error must not (it may show part of our key).
fn reply(class: FailureClass, status: Option<StatusCode>, body: Option<Bytes>) -> Option<ErrorReply> {
    use FailureClass::{Client, ContextLength, Refusal};
    let body = body.filter(|_| matches!(class, Client | ContextLength | Refusal))?;
    Some(ErrorReply { status: status::for_client(status), dialect: Dialect::OpenAi, body })
}

/// An imitation's message in OpenAI's shape.
fn in_shape(error: &ErrorInner<'_>, class: FailureClass) -> Option<Bytes> {
    let row = class.client_code().row();
    Some(openai_error_body(&error.message()?, row.openai_type, None, Some(row.text)))
}

fn code_of(error: &ErrorInner<'_>) -> Option<String> {
    error.code().or_else(|| error.error_type()).or_else(|| error.kind()).and_then(|code| identifier(&code))
}

/// OpenRouter says 403 for a prompt that a moderation or a guardrail has stopped, as for a key that may not.
fn flagged(error: &ErrorInner<'_>, status: Option<StatusCode>) -> Option<Verdict> {
    (status == Some(StatusCode::FORBIDDEN) && error.flags_the_request()).then_some(REFUSED)
}

fn by_code(error: &ErrorInner<'_>) -> Option<Verdict> {
    let known = [error.code(), error.inner_code(), error.error_type(), error.kind()];
    known.iter().flatten().find_map(|code| verdict(code))
}

/// The codes that say more than the status under which they come. Where they differ between providers, all are here: no
/// two providers use one code for two things.
fn verdict(code: &str) -> Option<Verdict> {
    Some(match code {
        "context_length_exceeded" | "string_above_max_length" => CONTEXT,
        // OpenAI, Azure, OpenRouter, Alibaba.
        "content_filter"
        | "content_policy_violation"
        | "refusal"
        | "ResponsibleAIPolicyViolation"
        | "data_inspection_failed"
        | "DataInspectionFailed" => REFUSED,
        // OpenAI; Kimi.
        "invalid_api_key" | "account_deactivated" | "invalid_authentication_error" | "incorrect_api_key_error" => {
            CREDENTIAL
        }
        // OpenAI; Azure; Alibaba. Not xAI's `permission-denied` and OpenRouter's `permission_denied`: they stand for prompts
        // that were stopped, too.
        "unsupported_country_region_territory" | "PermissionDenied" | "access_denied" | "AccessDenied" => FORBIDDEN,
        // OpenAI; Kimi; Alibaba. They come as 400 and 429 too.
        "insufficient_quota"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "exceeded_current_quota_error"
        | "Arrearage" => UNPAID,
        // OpenAI, vLLM; Kimi; Alibaba.
        "rate_limit_exceeded"
        | "overloaded_error"
        | "engine_overloaded"
        | "engine_overloaded_error"
        | "rate_limit_reached_error"
        | "limit_requests"
        | "limit_burst_rate" => PRESSED,
        "model_not_found" | "DeploymentNotFound" => NO_MODEL,
        // `server_error` says no more than the status: it comes with the 500 of a failure and the 503 of overload.
        _ => return None,
    })
}

/// vLLM, Kimi and Alibaba refuse a prompt that is too long as a plain 400, and xAI one that it does not like as a 403, told
/// from others by their text alone. If the wording changes, these become plain 400s and 403s, which is safe.
fn by_wording(error: &ErrorInner<'_>, status: StatusCode) -> Option<Verdict> {
    const TOO_LONG: [&str; 3] = ["maximum context length is", "exceeded model token limit", "Range of input length"];
    const DISLIKED: [&str; 1] = ["Content violates usage guidelines"];
    let (wordings, verdict) = match status.as_u16() {
        400 | 413 | 422 => (TOO_LONG.as_slice(), CONTEXT),
        403 => (DISLIKED.as_slice(), REFUSED),
        _ => return None,
    };
    let message = error.message()?;
    wordings.iter().any(|words| message.contains(words)).then_some(verdict)
}
