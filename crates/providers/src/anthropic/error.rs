//! What Anthropic's errors mean.
//!
//! Source: "Errors", <https://platform.claude.com/docs/en/api/errors>. `error.details.error_code` and `error.type`
//! decide, then the status.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use meridian_llm::failure::identifier;
use meridian_llm::{Dialect, ErrorReply, Failure, FailureClass};

use super::wire::{ErrorBody, ErrorInner};
use crate::retry_after::retry_after;
use crate::status;

pub(super) fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let parsed = serde_json::from_slice::<ErrorBody<'_>>(body).ok();
    let mut failure = match &parsed {
        Some(parsed) => of_error(&parsed.error, Some(status), body),
        None => {
            let mut failure = plain(status::judge(status));
            failure.client_code = status::client_code(failure.class, Some(status), None);
            failure
        }
    };
    failure.status = Some(status.as_u16());
    failure.retry_after = retry_after(headers);
    failure
}

/// An `error` inside a 200: a stream event or a whole body. `None` when `data` is no error.
pub(super) fn in_band(data: &[u8]) -> Option<Failure> {
    let parsed = serde_json::from_slice::<ErrorBody<'_>>(data).ok()?;
    Some(Failure { status: status_of(&parsed.error.kind.0), ..of_error(&parsed.error, None, data) })
}

/// The status that the reference gives a type, for errors that come without one.
fn status_of(kind: &str) -> Option<u16> {
    Some(match kind {
        "invalid_request_error" => 400,
        "authentication_error" => 401,
        "billing_error" => 402,
        "permission_error" => 403,
        "not_found_error" => 404,
        "request_too_large" => 413,
        "rate_limit_error" => 429,
        "api_error" => 500,
        "timeout_error" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}

fn of_error(error: &ErrorInner<'_>, status: Option<StatusCode>, body: &[u8]) -> Failure {
    let detail = error.details.as_ref().and_then(|details| details.error_code.as_ref()).map(|code| &*code.0);
    // What the status says of the upstream is not the client's mistake, whatever the body says.
    let may_be_clients = status.is_none_or(|status| status::judge(status).0 == FailureClass::Client);
    let judged = detail
        .and_then(by_detail)
        .or_else(|| status.map(status::judge).filter(|(class, _)| *class == FailureClass::Credential))
        .or_else(|| by_wording(error))
        .or_else(|| by_type(&error.kind.0).filter(|(class, _)| *class != FailureClass::Client || may_be_clients))
        .or_else(|| status.map(status::judge));
    let mut failure = plain(judged.unwrap_or((FailureClass::Provider, "the upstream sent an unknown error")));
    failure.code = detail.or(Some(&error.kind.0)).and_then(identifier);
    failure.client_code = status::client_code(failure.class, status, failure.code.as_deref());
    failure.reply = reply(failure.class, status, body);
    failure
}

const fn plain((class, message): (FailureClass, &'static str)) -> Failure {
    Failure::new(class, message)
}

/// Only what concerns the client's own request goes back.
fn reply(class: FailureClass, status: Option<StatusCode>, body: &[u8]) -> Option<ErrorReply> {
    use FailureClass::{Client, ContextLength, Refusal};
    let concerns = matches!(class, Client | ContextLength | Refusal);
    let body = concerns.then(|| Bytes::copy_from_slice(body))?;
    Some(ErrorReply { status: status::for_client(status), dialect: Dialect::Anthropic, body })
}

fn by_detail(code: &str) -> Option<(FailureClass, &'static str)> {
    match code {
        "contract_spend_limit_reached"
        | "enforced_spend_limit_reached"
        | "linked_organization_spend_limit_reached"
        | "linked_organization_billing_unavailable"
        | "organization_on_hold" => Some((FailureClass::Credential, "the gateway's upstream account may not spend")),
        "ramp_limit_exceeded" => Some((FailureClass::Saturation, "the upstream is under pressure")),
        _ => None,
    }
}

/// The errors that only their wording tells from other invalid requests: none has a type or `error_code` of its own. The
/// reference warns that wording changes; if it does, these become plain `client` errors, which is safe.
fn by_wording(error: &ErrorInner<'_>) -> Option<(FailureClass, &'static str)> {
    if error.kind.0 != "invalid_request_error" {
        return None;
    }
    let message = &*error.message.0;
    if message.starts_with("prompt is too long") || message.contains("exceed context limit") {
        return Some((FailureClass::ContextLength, "the request exceeds the model's context"));
    }
    if message.contains("blocked by content filtering policy") {
        return Some((FailureClass::Refusal, "the upstream's content filter refused the request"));
    }
    if message.starts_with("Your credit balance is too low") {
        return Some((FailureClass::Credential, "the gateway's upstream account may not spend"));
    }
    None
}

fn by_type(kind: &str) -> Option<(FailureClass, &'static str)> {
    Some(match kind {
        "invalid_request_error" | "request_too_large" => (FailureClass::Client, "the upstream refused the request"),
        "authentication_error" | "permission_error" | "billing_error" => {
            (FailureClass::Credential, "the upstream refused the gateway's credential")
        }
        // Paths and model names are the gateway's own.
        "not_found_error" => (FailureClass::Provider, "the upstream has no such path or model"),
        "rate_limit_error" | "overloaded_error" => (FailureClass::Saturation, "the upstream is under pressure"),
        "api_error" | "timeout_error" => (FailureClass::Provider, "the upstream failed"),
        _ => return None,
    })
}
