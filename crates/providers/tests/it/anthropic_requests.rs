//! Chat completions requests become Messages requests.

use meridian_llm::ClientError;
use meridian_providers::UpstreamRequest;

use crate::support::{fixture, golden, provider, request};

fn build(body: &str) -> Result<UpstreamRequest, ClientError> {
    provider("anthropic").chat_request(&request(body), "claude-up")
}

fn text(upstream: &UpstreamRequest) -> &str {
    std::str::from_utf8(&upstream.body).unwrap()
}

#[test]
fn requests_are_translated_as_recorded() {
    for name in ["conversation", "tool_loop", "vision"] {
        let upstream = build(&fixture(&format!("anthropic/{name}.request.json"))).unwrap();
        assert_eq!(upstream.path_and_query, "/messages");
        assert_eq!(upstream.headers["anthropic-version"], "2023-06-01");
        golden(&format!("anthropic/{name}.expected.json"), &format!("{}\n", text(&upstream)));
    }
}

/// `fields` added to a minimal request give `expected` in the upstream body, and the names in `adjusted`.
#[track_caller]
fn check(fields: &str, expected: &str, adjusted: &[&str]) {
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{fields}}}"#);
    let upstream = build(&body).unwrap_or_else(|e| panic!("{fields}: {e:?}"));
    assert!(text(&upstream).contains(expected), "{fields}: {}", text(&upstream));
    assert_eq!(upstream.adjusted, adjusted, "{fields}");
}

#[test]
fn parameters_are_mapped_and_what_is_adjusted_is_named() {
    const TOOL: &str = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
    check(
        r#""stream":false"#,
        r#"{"model":"claude-up","max_tokens":8192,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#,
        &[],
    );
    check(r#""max_tokens":5"#, r#""max_tokens":5,"#, &[]);
    check(r#""max_tokens":5,"max_completion_tokens":6"#, r#""max_tokens":6,"#, &[]);
    check(r#""stream":true,"stream_options":{"include_usage":true}"#, r#""stream":true}"#, &[]);
    check(r#""temperature":0.3"#, r#""temperature":0.3"#, &[]);
    check(r#""temperature":1.7"#, r#""temperature":1.0"#, &["temperature"]);
    check(r#""temperature":0.2,"top_p":0.9"#, r#""temperature":0.2}"#, &["top_p"]);
    check(r#""top_p":0.9"#, r#""top_p":0.9}"#, &[]);
    check(r#""stop":"END""#, r#""stop_sequences":["END"]"#, &[]);
    check(r#""stop":["A","\n"]"#, r#""stop_sequences":["A"]"#, &["stop"]);
    check(r#""user":"u-1""#, r#""metadata":{"user_id":"u-1"}"#, &[]);
    check(r#""seed":1,"frequency_penalty":0.5,"n":1,"logprobs":false"#, "claude-up", &["frequency_penalty", "seed"]);
    check(
        r#""response_format":{"type":"json_schema","json_schema":{"name":"x","strict":true,"schema":{"type":"object","z":1.0,"a":2}}}"#,
        r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object","z":1.0,"a":2}}}"#,
        &[],
    );
    check(TOOL, r#""tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}]}"#, &[]);
    check(&format!(r#"{TOOL},"tool_choice":"auto""#), r#""tool_choice":{"type":"auto"}"#, &[]);
    check(&format!(r#"{TOOL},"tool_choice":"none""#), r#""tool_choice":{"type":"none"}"#, &[]);
    check(&format!(r#"{TOOL},"tool_choice":"required""#), r#""tool_choice":{"type":"any"}"#, &[]);
    check(
        &format!(r#"{TOOL},"tool_choice":{{"type":"function","function":{{"name":"f"}}}},"parallel_tool_calls":false"#),
        r#""tool_choice":{"type":"tool","name":"f","disable_parallel_tool_use":true}"#,
        &[],
    );
    check(
        &format!(r#"{TOOL},"parallel_tool_calls":false"#),
        r#""tool_choice":{"type":"auto","disable_parallel_tool_use":true}"#,
        &[],
    );
    check(&format!(r#"{TOOL},"parallel_tool_calls":true"#), r#"{}}}]}"#, &[]);
    check(r#""tool_choice":"auto""#, r#""text":"hi"}]}]}"#, &[]);
}

#[track_caller]
fn check_refused(body: &str, code: &str, param: &str) {
    let error = build(body).unwrap_err();
    assert_eq!((error.code.as_str(), error.param.as_deref()), (code, Some(param)), "{body}");
}

#[test]
fn what_cannot_be_said_is_refused_and_never_dropped_in_silence() {
    let with = |fields: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{fields}}}"#);
    check_refused(&with(r#""n":2"#), "unsupported_parameter", "n");
    check_refused(&with(r#""logprobs":true"#), "unsupported_parameter", "logprobs");
    check_refused(
        &with(r#""response_format":{"type":"json_object"}"#),
        "unsupported_parameter",
        "response_format.type",
    );
    let user = |content: &str| format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#);
    check_refused(&user(r#""""#), "invalid_field", "messages[0].content");
    check_refused(
        &user(r#"[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]"#),
        "invalid_field",
        "messages[0].content[0]",
    );
    check_refused(
        &user(r#"[{"type":"image_url","image_url":{"url":"data:image/png,abc"}}]"#),
        "invalid_field",
        "messages[0].content[0]",
    );
    check_refused(
        &user(r#"[{"type":"file","file":{"file_id":"file-1"}}]"#),
        "unsupported_parameter",
        "messages[0].content[0]",
    );
    check_refused(r#"{"model":"m","messages":[]}"#, "invalid_field", "messages");
}

#[test]
fn ids_from_other_providers_still_match_their_results() {
    let body = r#"{"model":"m","messages":[
        {"role":"assistant","tool_calls":[{"id":"functions.f:0","type":"function","function":{"name":"f","arguments":""}}]},
        {"role":"tool","tool_call_id":"functions.f:0","content":""}]}"#;
    let upstream = build(body).unwrap();
    assert!(text(&upstream).contains(r#"{"type":"tool_use","id":"functions_f_0","name":"f","input":{}}"#));
    assert!(text(&upstream).contains(r#"{"type":"tool_result","tool_use_id":"functions_f_0","content":[]}"#));
}
