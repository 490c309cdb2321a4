//! Clients that speak Anthropic's Messages, in front of what speaks chat completions.

use meridian_llm::{ClientError, Endpoint, ErrorCode, FailureClass, Usage};
use meridian_providers::UpstreamRequest;

use crate::support::{context_of, fixture, golden, provider, request_to, run_messages};

const NAME: &str = "openai_compatible";

fn build(body: &str) -> Result<UpstreamRequest, ClientError> {
    provider(NAME).chat_request(&request_to(Endpoint::Messages, body), "gpt-up")
}

fn text(upstream: &UpstreamRequest) -> &str {
    std::str::from_utf8(&upstream.body).unwrap()
}

#[test]
fn a_request_is_translated_as_recorded_and_what_is_left_out_is_named() {
    let upstream = build(&fixture("openai_compatible/tool_loop.messages.json")).unwrap();
    golden("openai_compatible/tool_loop.expected.json", &format!("{}\n", text(&upstream)));
    assert_eq!(upstream.path_and_query, "/chat/completions");
    assert_eq!(upstream.headers["accept"], "text/event-stream");
    assert!(!upstream.headers.contains_key("anthropic-version"));
    assert_eq!(upstream.adjusted, ["top_k", "thinking", "system.cache_control", "messages.thinking"]);
}

/// `fields` added to a minimal request give `expected` in the upstream body, and the names in `adjusted`.
#[track_caller]
fn check(fields: &str, expected: &str, adjusted: &[&str]) {
    let body = format!(r#"{{"model":"m","max_tokens":5,"messages":[{{"role":"user","content":"hi"}}]{fields}}}"#);
    let upstream = build(&body).unwrap_or_else(|e| panic!("{fields}: {e:?}"));
    assert!(text(&upstream).contains(expected), "{fields}: {}", text(&upstream));
    assert_eq!(upstream.adjusted, adjusted, "{fields}");
}

#[test]
fn parameters_are_mapped() {
    const TOOL: &str = r#","tools":[{"name":"f","input_schema":{"type":"object"}}]"#;
    check("", r#"{"model":"gpt-up","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":5}"#, &[]);
    check(r#","stream":true"#, r#""stream":true,"stream_options":{"include_usage":true}}"#, &[]);
    check(r#","stream":false"#, r#":5}"#, &[]);
    check(r#","top_p":0.9"#, r#""top_p":0.9"#, &[]);
    let long = format!(r#","metadata":{{"user_id":"{}"}}"#, "x".repeat(65));
    check(&long, r#":5}"#, &["metadata.user_id"]);
    check(r#","thinking":{"type":"disabled"}"#, r#":5}"#, &[]);
    check(
        r#","output_config":{"format":{"type":"json_schema","schema":{"b":1,"a":2}}}"#,
        r#""response_format":{"type":"json_schema","json_schema":{"name":"answer","strict":true,"schema":{"b":1,"a":2}}}"#,
        &[],
    );
    check(r#","tool_choice":{"type":"any","disable_parallel_tool_use":true}"#, r#":5}"#, &[]);
    for (choice, expected) in [
        (r#"{"type":"auto"}"#, r#""tool_choice":"auto""#),
        (r#"{"type":"none"}"#, r#""tool_choice":"none""#),
        (r#"{"type":"any"}"#, r#""tool_choice":"required""#),
        (r#"{"type":"tool","name":"f"}"#, r#""tool_choice":{"type":"function","function":{"name":"f"}}"#),
        (r#"{"type":"auto","disable_parallel_tool_use":true}"#, r#""parallel_tool_calls":false"#),
    ] {
        check(&format!("{TOOL},\"tool_choice\":{choice}"), expected, &[]);
    }
}

#[test]
fn what_chat_completions_cannot_do_is_for_another_target() {
    let user = r#"{"role":"user","content":"hi"}"#;
    let body = |fields: &str| format!(r#"{{"model":"m","max_tokens":5,{fields}}}"#);
    for (fields, param) in [
        (format!(r#""messages":[{user},{{"role":"assistant","content":"The"}}]"#), "messages"),
        (format!(r#""messages":[{user}],"stop_sequences":["1","2","3","4","5"]"#), "stop_sequences"),
        (format!(r#""messages":[{user}],"tools":[{{"type":"bash_20250124","name":"bash"}}]"#), "tools.0"),
    ] {
        let error = build(&body(&fields)).unwrap_err();
        assert_eq!((error.code, error.param.as_deref()), (ErrorCode::UnsupportedParameter, Some(param)), "{fields}");
    }
    let count = request_to(Endpoint::CountTokens, &body(r#""messages":[]"#));
    let error = provider(NAME).chat_request(&count, "gpt-up").unwrap_err();
    assert_eq!(error.code, ErrorCode::UnsupportedParameter);
    assert_eq!(error.message, "no provider of this model can count tokens");
}

#[test]
fn streams_are_translated_as_recorded() {
    for name in ["text", "tools", "azure", "reasoning"] {
        let outcome = run_messages(NAME, &fixture(&format!("openai_compatible/{name}.sse")));
        assert_eq!(outcome.failure, None, "{name}");
        assert!(outcome.content && outcome.done, "{name}");
        golden(&format!("openai_compatible/{name}.expected.sse"), &outcome.text);
    }
}

#[test]
fn usage_is_told_with_cached_input_apart() {
    let outcome = run_messages(NAME, &fixture("openai_compatible/reasoning.sse"));
    let usage = Usage { prompt_tokens: 30, completion_tokens: 20, cached_tokens: 10, ..Usage::default() };
    assert_eq!(outcome.usage, Some(usage));
    let told = r#""usage":{"input_tokens":20,"cache_creation_input_tokens":0,"cache_read_input_tokens":10,"output_tokens":20}"#;
    assert!(outcome.text.contains(told));
}

#[test]
fn finish_reasons_are_mapped() {
    for (reason, expected) in [
        ("\"stop\"", "end_turn"),
        ("\"length\"", "max_tokens"),
        ("\"content_filter\"", "refusal"),
        ("\"tool_calls\"", "tool_use"),
        ("\"something_new\"", "end_turn"),
    ] {
        let stream = fixture("openai_compatible/azure.sse").replace("\"stop\"", reason);
        let text = run_messages(NAME, &stream).text;
        assert!(text.contains(&format!("\"stop_reason\":\"{expected}\"")), "{reason}: {text}");
        assert!(text.contains("content_block_stop"), "{reason}: {text}");
    }
}

#[track_caller]
fn check_fails(stream: &str, class: FailureClass, client_code: &str) {
    let outcome = run_messages(NAME, stream);
    let failure = outcome.failure.unwrap_or_else(|| panic!("{stream} passed"));
    assert_eq!((failure.class, failure.client_code.as_str()), (class, client_code), "{stream}");
    assert!(!outcome.text.contains("message_stop"), "{stream}");
}

#[test]
fn broken_streams_fail_without_an_end() {
    use FailureClass::{Provider, Saturation};
    let chunk = |delta: &str| format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
    check_fails("", Provider, "upstream_interrupted");
    check_fails("data: [DONE]\n\n", Provider, "upstream_interrupted");
    check_fails(&chunk(r#"{"content":"a"}"#), Provider, "upstream_interrupted");
    // An end mark is no reason to end.
    for delta in [r#"{"role":"assistant"}"#, r#"{"content":"a"}"#] {
        check_fails(&(chunk(delta) + "data: [DONE]\n\n"), Provider, "upstream_interrupted");
    }
    let azure = fixture("openai_compatible/azure.sse").replace("\"stop\"", "null");
    check_fails(&azure, Provider, "upstream_interrupted");
    check_fails(&chunk(r#"{"content":["a"]}"#), Provider, "upstream_invalid_response");
    check_fails(
        &chunk(r#"{"tool_calls":[{"index":0,"function":{"arguments":"x"}}]}"#),
        Provider,
        "upstream_invalid_response",
    );
    check_fails("data: {\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\n", Saturation, "rate_limit_exceeded");
    // Pieces of two calls in turn: the first call's block is closed when its second piece comes.
    let call = |index: u32, rest: &str| chunk(&format!("{{\"tool_calls\":[{{\"index\":{index},{rest}}}]}}"));
    let begin = r#""id":"c","function":{"name":"f","arguments":"{"}"#;
    let stream = [call(0, begin), call(1, begin), call(0, r#""function":{"arguments":"}"}"#)].concat();
    check_fails(&stream, Provider, "upstream_invalid_response");
}

#[test]
fn whole_answers_are_translated_or_refused() {
    let answer = |body: &str| {
        let context = context_of(Endpoint::Messages, true);
        provider(NAME).chat_response(&context, &body.to_owned().into())
    };
    let text = r#"{"id":"c1","model":"gpt-x","choices":[{"index":0,"message":{"role":"assistant","content":"Hi","reasoning_content":"hm","tool_calls":[{"id":"t","type":"function","function":{"name":"f","arguments":"{\"a\": 1.50}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":9,"completion_tokens":4}}"#;
    let translated = answer(text).unwrap();
    assert_eq!(
        translated.body,
        r#"{"id":"c1","type":"message","role":"assistant","model":"gpt-x","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"Hi"},{"type":"tool_use","id":"t","name":"f","input":{"a": 1.50}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":9,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":4}}"#
    );
    assert_eq!(translated.usage.map(|usage| usage.total_tokens()), Some(13));
    let bare = answer(r#"{"choices":[{"message":{"content":null,"refusal":"no"}}]}"#).unwrap();
    assert!(
        std::str::from_utf8(&bare.body)
            .unwrap()
            .contains(r#""model":"upstream-model","content":[{"type":"text","text":"no"}]"#)
    );
    let call = |arguments: &str| text.replace(r#"{\"a\": 1.50}"#, arguments);
    for broken in ["", "<html>", r#"{"choices":[]}"#, r#"{"choices":[{}]}"#, &call("{"), &call("[]")] {
        assert_eq!(answer(broken).unwrap_err().class, FailureClass::Provider, "{broken}");
    }
    let error = answer(r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#).unwrap_err();
    assert_eq!(error.class, FailureClass::ContextLength);
}
