//! The class of every documented error, for each provider.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use meridian_llm::{Dialect, ErrorCode, FailureClass as F};

use crate::support::{context, provider};

#[track_caller]
fn check(name: &str, status: u16, body: &str, class: F, code: Option<&str>) {
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("3"));
    let failure = provider(name).classify(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes());
    assert_eq!((failure.class, failure.code.as_deref()), (class, code), "{status} {body}");
    assert_eq!(failure.retry_after, Some(Duration::from_secs(3)));
    assert_eq!(failure.reply.is_some(), matches!(class, F::Client | F::Refusal | F::ContextLength), "{status} {body}");
}

#[test]
fn openai_errors_by_code_then_by_status() {
    let check = |status, inner: &str, class, code| {
        check("openai_compatible", status, &format!(r#"{{"error":{inner}}}"#), class, code);
    };
    check(
        400,
        r#"{"message":"m","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}"#,
        F::ContextLength,
        Some("context_length_exceeded"),
    );
    check(
        400,
        r#"{"message":"m","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}"#,
        F::Refusal,
        Some("content_filter"),
    );
    check(400, r#"{"message":"m","innererror":{"code":"ResponsibleAIPolicyViolation"}}"#, F::Refusal, None);
    check(
        400,
        r#"{"message":"m","type":"invalid_request_error","param":"temperature","code":null}"#,
        F::Client,
        Some("invalid_request_error"),
    );
    check(422, r#"{"message":"m"}"#, F::Client, None);
    check(
        401,
        r#"{"message":"Incorrect API key provided: sk-abc","type":"invalid_request_error","code":"invalid_api_key"}"#,
        F::Credential,
        Some("invalid_api_key"),
    );
    check(
        429,
        r#"{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}"#,
        F::Credential,
        Some("insufficient_quota"),
    );
    check(
        429,
        r#"{"message":"m","type":"requests","code":"rate_limit_exceeded"}"#,
        F::Saturation,
        Some("rate_limit_exceeded"),
    );
    check(
        404,
        r#"{"message":"m","type":"invalid_request_error","code":"model_not_found"}"#,
        F::Provider,
        Some("model_not_found"),
    );
    check(500, r#"{"message":"m","type":"server_error","code":null}"#, F::Provider, Some("server_error"));
    check(503, r#"{"message":"m"}"#, F::Saturation, None);
    check(503, r#"{"message":"m","type":"server_error","code":null}"#, F::Saturation, Some("server_error"));
    check(400, r#"{"message":"m","code":"a prompt, not a code"}"#, F::Client, None);
}

#[test]
fn an_account_that_sends_too_much_is_told_from_a_provider_that_has_too_much_to_do() {
    #[track_caller]
    fn check(name: &str, status: u16, body: &str, expected: ErrorCode) {
        let status = StatusCode::from_u16(status).unwrap();
        let failure = provider(name).classify(status, &HeaderMap::new(), body.as_bytes());
        assert_eq!((failure.class, failure.client_code), (F::Saturation, expected), "{status} {body}");
    }
    use ErrorCode::{RateLimited, UpstreamOverloaded};
    for name in ["openai_compatible", "anthropic"] {
        check(name, 429, "", RateLimited);
        check(name, 503, "", UpstreamOverloaded);
        check(name, 529, "", UpstreamOverloaded);
    }
    check(
        "anthropic",
        529,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
        UpstreamOverloaded,
    );
    check("anthropic", 429, r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#, RateLimited);
    check(
        "openai_compatible",
        429,
        r#"{"error":{"message":"m","type":"engine_overloaded_error"}}"#,
        UpstreamOverloaded,
    );
    check("openai_compatible", 503, r#"{"error":{"message":"m","code":"rate_limit_exceeded"}}"#, RateLimited);
}

#[test]
fn what_imitates_openai_is_understood_in_its_own_words() {
    let check = |status, body: &str, class, code| check("openai_compatible", status, body, class, code);
    // vLLM, now and before 0.10.
    let long = "This model's maximum context length is 4096 tokens and your request has 5000 input tokens";
    let now = format!(r#"{{"error":{{"message":"{long}","type":"BadRequestError","param":null,"code":400}}}}"#);
    check(400, &now, F::ContextLength, Some("BadRequestError"));
    let before = format!(r#"{{"object":"error","message":"{long}","type":"BadRequestError","code":400}}"#);
    check(400, &before, F::ContextLength, Some("BadRequestError"));
    // Kimi.
    let kimi = |kind, message| format!(r#"{{"error":{{"message":"{message}","type":"{kind}"}}}}"#);
    let long = "Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)";
    check(400, &kimi("invalid_request_error", long), F::ContextLength, Some("invalid_request_error"));
    let kind = "exceeded_current_quota_error";
    check(429, &kimi(kind, "Your account is not active"), F::Credential, Some(kind));
    let kind = "engine_overloaded_error";
    check(429, &kimi(kind, "The engine is currently overloaded"), F::Saturation, Some(kind));
    // Alibaba: an unpaid bill is a 400 there.
    let alibaba = |code| format!(r#"{{"error":{{"code":"{code}","param":null,"message":"m","type":"{code}"}}}}"#);
    check(400, &alibaba("Arrearage"), F::Credential, Some("Arrearage"));
    check(400, &alibaba("data_inspection_failed"), F::Refusal, Some("data_inspection_failed"));
    // TGI, Ollama: a text in place of an object.
    check(422, r#"{"error":"Input validation error","error_type":"validation"}"#, F::Client, None);
    // The same words under a 500 do not make it the client's mistake.
    let failed = format!(r#"{{"error":{{"message":"maximum context length is {}"}}}}"#, "?");
    check(500, &failed, F::Provider, None);
    // A proxy's or a provider's own statuses.
    check(498, "", F::Saturation, None);
    check(421, "", F::Provider, None);
}

#[test]
fn a_403_is_about_the_request_the_key_or_nobody_knows_what_as_its_typed_fields_say() {
    let openai = |body: &str, class, code| check("openai_compatible", 403, body, class, code);
    // A moderation, and a guardrail, at OpenRouter.
    let openrouter =
        |metadata: &str| format!(r#"{{"error":{{"code":403,"message":"m","metadata":{metadata}}},"user_id":"u"}}"#);
    for flagged in [
        r#"{"reasons":["violence"],"flagged_input":"how to","provider_name":"p","model_slug":"m"}"#,
        r#"{"reasons":["violence"]}"#,
        r#"{"flagged_input":"how to"}"#,
    ] {
        openai(&openrouter(flagged), F::Refusal, None);
    }
    let guardrail = openrouter(r#"{"error_type":"permission_denied","patterns":["ignore all"]}"#);
    openai(&guardrail, F::Refusal, Some("permission_denied"));
    for (error_type, class) in [
        ("content_policy_violation", F::Refusal),
        ("refusal", F::Refusal),
        // It may be the prompt, or the key.
        ("permission_denied", F::Provider),
        ("unmapped", F::Provider),
    ] {
        let metadata = format!(r#"{{"error_type":"{error_type}","reasons":[],"flagged_input":null}}"#);
        openai(&openrouter(&metadata), class, Some(error_type));
    }
    for odd in ["null", "[]", "\"text\"", "{}"] {
        openai(&openrouter(odd), F::Provider, None);
    }
    // A typed refusal of the credential, or of where we are.
    for code in ["PermissionDenied", "AccessDenied", "access_denied", "unsupported_country_region_territory"] {
        let body = format!(r#"{{"error":{{"code":"{code}","message":"m","type":"request_forbidden"}}}}"#);
        openai(&body, F::Credential, Some(code));
    }
    // xAI has one code for both; what it says of a prompt is known.
    let xai = |message: &str| format!(r#"{{"code":"permission-denied","error":"{message}"}}"#);
    openai(&xai("Content violates usage guidelines. Team: t"), F::Refusal, Some("permission-denied"));
    openai(&xai("Access to the chat endpoint is denied."), F::Provider, Some("permission-denied"));
    // A firewall's page, and errors that say nothing.
    for untyped in ["<html>Attention Required!</html>", "", "{}", r#"{"error":"forbidden"}"#] {
        openai(untyped, F::Provider, None);
        check("anthropic", 403, untyped, F::Provider, None);
    }
    let untyped = r#"{"error":{"message":"m","type":"invalid_request_error","code":null}}"#;
    openai(untyped, F::Provider, Some("invalid_request_error"));
    let anthropic =
        |kind: &str| format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"Request not allowed"}}}}"#);
    check("anthropic", 403, &anthropic("permission_error"), F::Credential, Some("permission_error"));
    check("anthropic", 403, &anthropic("forbidden"), F::Provider, Some("forbidden"));
    check("anthropic", 403, &anthropic("invalid_request_error"), F::Provider, Some("invalid_request_error"));
}

#[test]
fn a_flagged_prompt_goes_back_in_the_upstreams_words_and_never_as_the_clients_403() {
    let body = r#"{"error":{"code":403,"message":"your input was flagged","metadata":{"reasons":["hate"]}}}"#;
    let failure = provider("openai_compatible").classify(StatusCode::FORBIDDEN, &HeaderMap::new(), body.as_bytes());
    let reply = failure.reply.unwrap();
    assert_eq!((reply.status, &*reply.body), (400, body.as_bytes()));
    assert_eq!(failure.client_code, ErrorCode::ContentRefused);
}

#[test]
fn an_error_inside_a_200_carries_the_status_that_it_names() {
    let of = |name: &str, body: &str| {
        let failure =
            provider(name).chat_response(&context(false), &Bytes::copy_from_slice(body.as_bytes())).unwrap_err();
        (failure.class, failure.status)
    };
    let openai = |inner: &str| of("openai_compatible", &format!(r#"{{"error":{inner}}}"#));
    assert_eq!(openai(r#"{"message":"m","code":429}"#), (F::Saturation, Some(429)));
    assert_eq!(openai(r#"{"message":"m","code":401}"#), (F::Credential, Some(401)));
    assert_eq!(openai(r#"{"message":"m","code":403}"#), (F::Provider, Some(403)));
    assert_eq!(openai(r#"{"message":"m","code":502}"#), (F::Provider, Some(502)));
    let denied = r#"{"message":"m","code":403,"type":"AccessDenied"}"#;
    assert_eq!(openai(denied), (F::Credential, Some(403)));
    let flagged = r#"{"message":"m","code":403,"metadata":{"flagged_input":"x"}}"#;
    assert_eq!(openai(flagged), (F::Refusal, Some(403)));
    for none in [r#"{"message":"m","code":200}"#, r#"{"message":"m","code":7}"#, r#"{"message":"m"}"#, "\"text\""] {
        assert_eq!(openai(none), (F::Provider, None), "{none}");
    }
    let anthropic =
        |kind: &str| of("anthropic", &format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}}}}"#));
    assert_eq!(anthropic("rate_limit_error"), (F::Saturation, Some(429)));
    assert_eq!(anthropic("overloaded_error"), (F::Saturation, Some(529)));
    assert_eq!(anthropic("permission_error"), (F::Credential, Some(403)));
    assert_eq!(anthropic("authentication_error"), (F::Credential, Some(401)));
    assert_eq!(anthropic("something_new"), (F::Provider, None));
}

#[test]
fn an_imitations_words_reach_the_client_in_openais_shape() {
    for body in [r#"{"object":"error","message":"bad n","code":400}"#, r#"{"error":"bad n"}"#] {
        let failure =
            provider("openai_compatible").classify(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
        assert_eq!(
            failure.reply.unwrap().body,
            r#"{"error":{"message":"bad n","type":"invalid_request_error","param":null,"code":"invalid_request"}}"#
        );
    }
}

#[test]
fn a_client_error_of_the_same_dialect_goes_back_as_it_came() {
    let body = r#"{"error": {"message": "Invalid 'temperature'", "type": "invalid_request_error", "param": "temperature", "code": "decimal_above_max_value"}}"#;
    let failure = provider("openai_compatible").classify(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
    let error = failure.client_error();
    let reply = failure.reply.unwrap();
    assert_eq!((reply.status, &*reply.body_in(Dialect::OpenAi, &error, "r")), (400, body.as_bytes()));
    assert_eq!(
        reply.body_in(Dialect::Anthropic, &error, "r"),
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"temperature: Invalid 'temperature'"},"request_id":"r"}"#
    );
}

#[test]
fn a_client_error_without_a_proper_body_is_put_in_our_words() {
    let failure =
        provider("openai_compatible").classify(StatusCode::BAD_REQUEST, &HeaderMap::new(), b"<html>nginx</html>");
    assert_eq!((failure.class, failure.reply.as_ref()), (F::Client, None));
    assert_eq!(failure.client_error().status(), 400);
}

#[test]
fn anthropic_errors_by_detail_type_then_status() {
    let check = |status, kind: &str, message: &str, class, code| {
        let body =
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"req_1"}}"#);
        check("anthropic", status, &body, class, code);
    };
    check(
        400,
        "invalid_request_error",
        "messages: at least one message is required",
        F::Client,
        Some("invalid_request_error"),
    );
    check(
        400,
        "invalid_request_error",
        "prompt is too long: 210000 tokens > 200000 maximum",
        F::ContextLength,
        Some("invalid_request_error"),
    );
    check(
        400,
        "invalid_request_error",
        "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",
        F::ContextLength,
        Some("invalid_request_error"),
    );
    check(
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API.",
        F::Credential,
        Some("invalid_request_error"),
    );
    check(
        400,
        "invalid_request_error",
        "Output blocked by content filtering policy",
        F::Refusal,
        Some("invalid_request_error"),
    );
    check(401, "authentication_error", "invalid x-api-key", F::Credential, Some("authentication_error"));
    check(402, "billing_error", "m", F::Credential, Some("billing_error"));
    check(403, "permission_error", "m", F::Credential, Some("permission_error"));
    check(404, "not_found_error", "model: x", F::Provider, Some("not_found_error"));
    check(413, "request_too_large", "m", F::Client, Some("request_too_large"));
    check(429, "rate_limit_error", "m", F::Saturation, Some("rate_limit_error"));
    check(500, "api_error", "m", F::Provider, Some("api_error"));
    check(504, "timeout_error", "m", F::Provider, Some("timeout_error"));
    check(529, "overloaded_error", "Overloaded", F::Saturation, Some("overloaded_error"));
}

#[test]
fn a_status_that_speaks_of_the_upstream_is_believed_against_the_type() {
    for (status, class) in [
        (400, F::Client),
        (422, F::Client),
        (404, F::Provider),
        (408, F::Provider),
        (429, F::Saturation),
        (500, F::Provider),
        (529, F::Saturation),
    ] {
        let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#;
        check("anthropic", status, body, class, Some("invalid_request_error"));
    }
}

#[test]
fn an_anthropic_spend_limit_is_about_the_account_though_it_comes_as_429() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
    check("anthropic", 429, body, F::Credential, Some("enforced_spend_limit_reached"));
}

#[test]
fn an_anthropic_refusal_of_the_request_reaches_clients_of_both_dialects() {
    let body = r#"{"type":"error", "error":{"type":"invalid_request_error","message":"prompt is too long: 2 tokens > 1 maximum"},"request_id":"req_1"}"#;
    let failure = provider("anthropic").classify(StatusCode::BAD_REQUEST, &HeaderMap::new(), body.as_bytes());
    let error = failure.client_error();
    let reply = failure.reply.unwrap();
    assert_eq!(
        reply.body_in(Dialect::OpenAi, &error, "r"),
        r#"{"error":{"message":"prompt is too long: 2 tokens > 1 maximum","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}"#
    );
    assert_eq!(reply.body_in(Dialect::Anthropic, &error, "r"), body, "agents match on the wording");
}
