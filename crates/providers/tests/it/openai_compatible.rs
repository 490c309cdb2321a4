//! Pass-through: what goes up and what comes down is what was sent, but for the named exceptions.

use meridian_llm::{FailureClass, Usage};

use crate::support::{context, fixture, provider, request, run_whole};

const NAME: &str = "openai_compatible";

#[test]
fn tools_vision_unknown_fields_and_odd_spacing_pass_unharmed() {
    let sent = fixture("openai_compatible/rich_request.json");
    let upstream = provider(NAME).chat_request(&request(&sent), "gpt-upstream").unwrap();
    let expected = sent.replace("\"public-name\"", "\"gpt-upstream\",\"stream_options\":{\"include_usage\":true}");
    assert_eq!(std::str::from_utf8(&upstream.body).unwrap(), expected);
    assert_eq!(upstream.path_and_query, "/chat/completions");
    assert_eq!(upstream.method, http::Method::POST);
    assert_eq!(upstream.headers["content-type"], "application/json");
    assert_eq!(upstream.headers["accept"], "text/event-stream");
    assert!(upstream.adjusted.is_empty());
}

#[test]
fn a_stream_passes_byte_for_byte_when_usage_was_asked_for() {
    for name in ["openai_compatible/text.sse", "openai_compatible/tools.sse", "openai_compatible/azure.sse"] {
        let stream = fixture(name);
        let outcome = run_whole(NAME, true, &stream);
        assert_eq!(outcome.text, stream, "{name}");
        assert!(outcome.content && outcome.done);
    }
}

#[test]
fn the_usage_chunk_is_kept_from_a_client_that_did_not_ask() {
    let stream = fixture("openai_compatible/text.sse");
    let outcome = run_whole(NAME, false, &stream);
    let expected: String = stream.split_inclusive("\n\n").filter(|event| !event.contains("\"choices\":[]")).collect();
    assert_eq!(outcome.text, expected);
    assert_eq!(outcome.usage, Some(Usage { prompt_tokens: 19, completion_tokens: 10, ..Usage::default() }));
}

#[test]
fn start_up_events_are_not_content() {
    for (name, first_content) in
        [("openai_compatible/text.sse", 1), ("openai_compatible/azure.sse", 3), ("openai_compatible/tools.sse", 0)]
    {
        let stream = fixture(name);
        let ends: Vec<usize> = stream.match_indices("\n\n").map(|(at, _)| at + 2).collect();
        for (at, &end) in ends.iter().enumerate() {
            let outcome = run_whole(NAME, false, &stream[..end]);
            assert_eq!(outcome.content, at >= first_content, "{name} after event {at}");
        }
    }
}

#[test]
fn a_missing_end_mark_after_the_finish_is_written_for_the_client() {
    let stream = fixture("openai_compatible/tools.sse").replace("data: [DONE]\n\n", "");
    let outcome = run_whole(NAME, false, &stream);
    assert_eq!(outcome.text, fixture("openai_compatible/tools.sse"));
    assert_eq!(outcome.failure, None);
}

#[track_caller]
fn check_stream_fails(stream: &str, class: FailureClass, code: Option<&str>, client_code: &str) {
    let outcome = run_whole(NAME, false, stream);
    let failure = outcome.failure.unwrap_or_else(|| panic!("{stream} passed"));
    assert_eq!((failure.class, failure.code.as_deref()), (class, code), "{stream}");
    assert_eq!(failure.client_code.as_str(), client_code, "{stream}");
    assert!(!outcome.text.contains("[DONE]"));
}

#[test]
fn broken_streams_fail_and_their_last_event_is_not_sent() {
    let provider = FailureClass::Provider;
    check_stream_fails("", provider, None, "upstream_interrupted");
    check_stream_fails("data: [DONE]\n\n", provider, None, "upstream_interrupted");
    // An end mark without a reason to end, before content and after it.
    for delta in [r#"{"role":"assistant"}"#, r#"{"content":"a"}"#] {
        let chunk = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":null}}]}}\n\n");
        check_stream_fails(&(chunk + "data: [DONE]\n\n"), provider, None, "upstream_interrupted");
    }
    check_stream_fails(
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\n\n",
        provider,
        None,
        "upstream_invalid_response",
    );
    check_stream_fails("data: <html>\n\n", provider, None, "upstream_invalid_response");
    check_stream_fails(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
        provider,
        None,
        "upstream_interrupted",
    );
    check_stream_fails(
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}},{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        provider,
        None,
        "upstream_interrupted",
    );
}

#[test]
fn an_error_inside_a_200_is_classified_by_its_code() {
    use FailureClass as F;
    let error = |inner: &str| format!("data: {{\"error\":{inner}}}\n\n");
    check_stream_fails(
        &error(r#"{"message":"m","type":"server_error","code":null}"#),
        F::Provider,
        Some("server_error"),
        "upstream_error",
    );
    check_stream_fails(
        &error(r#"{"message":"m","code":"rate_limit_exceeded"}"#),
        F::Saturation,
        Some("rate_limit_exceeded"),
        "rate_limit_exceeded",
    );
    check_stream_fails(&error(r#"{"message":"m","code":429}"#), F::Saturation, None, "rate_limit_exceeded");
    check_stream_fails(
        &error(r#"{"message":"m","code":"content_filter"}"#),
        F::Refusal,
        Some("content_filter"),
        "content_filter",
    );
    check_stream_fails(&error("\"plain text\""), F::Provider, None, "upstream_error");
}

#[test]
fn a_whole_answer_passes_unharmed_and_a_broken_one_does_not() {
    let answer = |body: &'static str| provider(NAME).chat_response(&context(false), &body.into());
    let body = "{\"id\":\"x\", \"choices\":[{\"index\":0,\"message\":{\"content\":\"\\ud83d\"}}],\n\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4},\"new_field\":1e999}";
    let passed = answer(body).unwrap();
    assert_eq!(passed.body, body);
    assert_eq!(passed.usage.map(|u| u.total_tokens()), Some(7));
    for broken in ["", "<html>", "{\"choices\":[{}]", "{\"choices\":[]}", "{}", "[]"] {
        assert_eq!(answer(broken).unwrap_err().class, FailureClass::Provider, "{broken}");
    }
    let failure = answer(r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#).unwrap_err();
    assert_eq!(failure.class, FailureClass::ContextLength);
    assert_eq!(failure.reply.unwrap().status, 400);
}
