//! What is read, what is refused and which field is named.

use std::borrow::Cow;

use super::*;
use crate::{AssistantPart, Part};

#[test]
fn a_whole_request_is_read() {
    let body = r#"{
        "model": "m", "stream": true, "max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 3,
        "stop_sequences": ["END", "a\nb"], "metadata": {"user_id": "u"}, "thinking": {"type": "adaptive"},
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "be kind"}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "what\nis this"}, {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "document", "title": "t", "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "a cat"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.50}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": true, "content": [{"type": "text", "text": "ok"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "CCCC"}}]}, {"type": "text", "text": "go on"}]},
            {"role": "system", "content": "now shout"},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t2", "content": "done"}]}
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "z": 1.0}, "strict": true, "cache_control": null}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"b": 1, "a": 2}}}
    }"#;
    let request = parse_request(body.as_bytes()).unwrap();
    assert!(request.stream);
    assert_eq!(request.sampling.max_tokens, Some(9));
    assert_eq!(request.sampling.stop, ["END", "a\nb"]);
    assert_eq!(request.tool_choice, Some(ToolChoice::Function("f".into())));
    assert_eq!(request.parallel_tool_calls, Some(false));
    assert_eq!(request.tools[0].parameters.unwrap().get(), r#"{"type": "object", "z": 1.0}"#);
    assert_eq!(request.end_user.as_deref(), Some("u"));
    let unknown = [
        "top_k",
        "thinking",
        "system.cache_control",
        "messages.thinking",
        "messages.is_error",
        "tools.cache_control",
        "output_config.effort",
    ];
    assert_eq!(request.unknown, unknown);
    let ResponseFormat::JsonSchema(schema) = request.response_format else { panic!("no schema") };
    assert_eq!(schema.get(), r#"{"b": 1, "a": 2}"#);
    assert_eq!(
        outline(&request.messages),
        [
            "system: be brief|be kind",
            "user: what\nis this|<https://x/y.png>|<data:image/png;base64,AAAA>|[data:application/pdf;base64,BBBB t]",
            "assistant: a cat|t1 f({\"a\": 1.50})",
            "tool t1: ok",
            "user: <data:image/png;base64,CCCC>|go on",
            "system: now shout",
            "tool t2: done",
        ]
    );
    let Message::User(parts) = &request.messages[1] else { panic!("not the user") };
    assert!(matches!(&parts[1], Part::Image { url: Cow::Borrowed(_) }), "large strings are not copied");
}

fn outline(messages: &[Message<'_>]) -> Vec<String> {
    let line = |message: &Message<'_>| match message {
        Message::System(texts) => format!("system: {}", texts.join("|")),
        Message::User(parts) => {
            let one = |part: &Part<'_>| match part {
                Part::Text(text) => text.to_string(),
                Part::Image { url } => format!("<{url}>"),
                Part::File { data, name } => format!("[{data} {}]", name.as_deref().unwrap_or_default()),
            };
            format!("user: {}", parts.iter().map(one).collect::<Vec<_>>().join("|"))
        }
        Message::Assistant { parts, tool_calls } => {
            let texts = parts.iter().map(|(AssistantPart::Text(text) | AssistantPart::Refusal(text))| text.to_string());
            let calls = tool_calls.iter().map(|call| format!("{} {}({})", call.id, call.name, call.arguments.get()));
            format!("assistant: {}", texts.chain(calls).collect::<Vec<_>>().join("|"))
        }
        Message::Tool { call_id, parts } => format!("tool {call_id}: {}", parts.join("|")),
    };
    messages.iter().map(line).collect()
}

#[track_caller]
fn check_refused(fields: &str, param: &str, code: &str) {
    let body = format!(r#"{{"model":"m",{fields}}}"#);
    let error = parse_request(body.as_bytes()).unwrap_err();
    assert_eq!((error.param.as_deref(), error.code.as_str()), (Some(param), code), "{body}: {error}");
}

#[test]
fn mistakes_and_what_cannot_be_translated_name_their_field() {
    let (invalid, unsupported) = ("invalid_field", "unsupported_parameter");
    let messages = |m: &str| format!(r#""max_tokens":1,"messages":[{m}]"#);
    let user = |block: &str| messages(&format!(r#"{{"role":"user","content":[{block}]}}"#));
    let assistant = |block: &str| messages(&format!(r#"{{"role":"assistant","content":[{block}]}}"#));
    let with = |field: &str| format!(r#""max_tokens":1,"messages":[],{field}"#);
    check_refused(&messages(r#"{"role":"robot","content":"x"}"#), "messages.0.role", invalid);
    check_refused(&messages(r#"{"role":"user","content":5}"#), "messages.0.content", invalid);
    check_refused(&user(r#"{"type":"search_result"}"#), "messages.0.content.0", unsupported);
    check_refused(
        &user(r#"{"type":"image","source":{"type":"file","file_id":"f"}}"#),
        "messages.0.content.0",
        unsupported,
    );
    check_refused(&user(r#"{"type":"tool_result","content":"x"}"#), "messages.0.content.0.tool_use_id", invalid);
    check_refused(&assistant(r#"{"type":"server_tool_use","id":"s"}"#), "messages.0.content.0", unsupported);
    check_refused(&assistant(r#"{"type":"tool_use","id":"s"}"#), "messages.0.content.0", invalid);
    check_refused(
        &assistant(r#"{"type":"tool_use","id":"s","name":"f","input":[1]}"#),
        "messages.0.content.0.input",
        invalid,
    );
    check_refused(&with(r#""tools":[{"type":"web_search_20250305","name":"web_search"}]"#), "tools.0", unsupported);
    check_refused(&with(r#""tool_choice":{"type":"maybe"}"#), "tool_choice.type", invalid);
    check_refused(&with(r#""tool_choice":{"type":"tool"}"#), "tool_choice.name", invalid);
    check_refused(&with(r#""output_config":{"format":{"type":"xml"}}"#), "output_config.format", invalid);
    check_refused(&with(r#""temperature":"hot""#), "temperature", invalid);
    let missing = parse_request(br#"{"model":"m","messages":[]}"#).unwrap_err();
    assert_eq!(missing.status(), 400);
}
