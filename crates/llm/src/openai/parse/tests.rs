//! What is read, what is refused and which field is named.

use super::*;

#[test]
fn a_whole_request_is_read() {
    let body = r#"{
        "model": "m", "stream": true, "max_tokens": 5, "max_completion_tokens": 9, "temperature": 0.5, "stop": "END",
        "user": "u", "seed": 1, "logit_bias": {}, "n": 1, "functions": null,
        "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "name": "bob", "content": [{"type": "text", "text": "what\nis this"}, {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}}]},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1.50}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "ok"}
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "z": 1.0}, "strict": true}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"b": 1, "a": 2}}}
    }"#;
    let request = parse_request(body.as_bytes()).unwrap();
    assert!(request.stream);
    assert_eq!(request.sampling.max_tokens, Some(9));
    assert_eq!(request.sampling.stop, ["END"]);
    assert_eq!(request.tool_choice, Some(ToolChoice::Function("f".into())));
    assert_eq!(request.tools[0].parameters.unwrap().get(), r#"{"type": "object", "z": 1.0}"#);
    assert_eq!(request.end_user.as_deref(), Some("u"));
    assert_eq!(request.unknown, ["logit_bias", "seed", "messages.name"]);
    let ResponseFormat::JsonSchema(schema) = request.response_format else { panic!("no schema") };
    assert_eq!(schema.get(), r#"{"b": 1, "a": 2}"#);
    let Message::Assistant { tool_calls, .. } = &request.messages[2] else { panic!("not the assistant") };
    assert_eq!(tool_calls[0].arguments.get(), r#"{"a": 1.50}"#, "numbers and spaces stay as written");
    let Message::User(parts) = &request.messages[1] else { panic!("not the user") };
    assert!(matches!(&parts[1], Part::Image { url: Cow::Borrowed("https://x/y.png") }), "large strings are not copied");
}

#[track_caller]
fn check_refused(fields: &str, param: &str) {
    let body = format!(r#"{{"model":"m",{fields}}}"#);
    let error = parse_request(body.as_bytes()).unwrap_err();
    assert_eq!(error.status(), 400);
    assert_eq!(error.param.as_deref(), Some(param), "{error}");
}

#[test]
fn mistakes_name_their_field() {
    let messages = |m: &str| format!(r#""messages":[{m}]"#);
    check_refused(&messages(r#"{"role":"robot","content":"x"}"#), "messages[0].role");
    check_refused(&messages(r#"{"role":"user","content":5}"#), "messages[0].content");
    check_refused(
        &messages(r#"{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}"#),
        "messages[0].content[0]",
    );
    check_refused(&messages(r#"{"role":"tool","content":"x"}"#), "messages[0].tool_call_id");
    let call = |arguments: &str| {
        messages(&format!(
            r#"{{"role":"assistant","tool_calls":[{{"id":"c","function":{{"name":"f","arguments":{arguments}}}}}]}}"#
        ))
    };
    check_refused(&call(r#""{\"a\":""#), "messages[0].tool_calls[0].function.arguments");
    check_refused(&call(r#""[1]""#), "messages[0].tool_calls[0].function.arguments");
    check_refused(&call("{}"), "messages[0].tool_calls[0].function.arguments");
    let with = |field: &str| format!(r#""messages":[],{field}"#);
    check_refused(&with(r#""n":2"#), "n");
    check_refused(&with(r#""logprobs":true"#), "logprobs");
    check_refused(&with(r#""modalities":["text","audio"]"#), "modalities");
    check_refused(&with(r#""functions":[]"#), "functions");
    check_refused(&with(r#""tools":[{"type":"custom","custom":{}}]"#), "tools[0]");
    check_refused(&with(r#""tool_choice":"maybe""#), "tool_choice");
    check_refused(&with(r#""tool_choice":{"type":"allowed_tools"}"#), "tool_choice");
    check_refused(&with(r#""response_format":{"type":"json_schema"}"#), "response_format.json_schema.schema");
    check_refused(&with(r#""temperature":"hot""#), "temperature");
}

#[test]
fn an_error_never_quotes_the_request() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":{"secret":"prompt"}}]}"#;
    let error = parse_request(body.as_bytes()).unwrap_err();
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}
