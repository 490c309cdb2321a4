//! What is written is what the dialect promises, and what our own scan takes for it.

use meridian_sse::Framer;

use super::*;
use crate::anthropic::inspect_event;

/// The events as `name data`, checked against the scan.
#[track_caller]
fn written(events: &[StreamEvent<'_>]) -> Vec<String> {
    let mut writer = EventWriter::new("m1".into(), "up".into());
    let mut lines = Vec::new();
    for event in events {
        let mut out = BytesMut::new();
        writer.write(&mut out, event).unwrap();
        let new = read_back(out.freeze());
        assert_eq!(new.iter().any(|(_, content)| *content), event.is_content(), "{event:?}");
        lines.extend(new);
    }
    let mut out = BytesMut::new();
    writer.end(&mut out);
    lines.extend(read_back(out.freeze()));
    lines.into_iter().map(|(line, _)| line).collect()
}

fn read_back(bytes: Bytes) -> Vec<(String, bool)> {
    let mut framer = Framer::default();
    framer.feed(bytes);
    std::iter::from_fn(|| framer.next_event().unwrap())
        .map(|event| {
            let (name, data) = (std::str::from_utf8(event.name()).unwrap(), event.data().unwrap());
            let facts = inspect_event(data).unwrap();
            let data = std::str::from_utf8(data).unwrap();
            assert!(data.starts_with(&format!("{{\"type\":\"{name}\"")), "{data}");
            (data.replace(&format!("\"type\":\"{name}\""), name), facts.content)
        })
        .collect()
}

#[test]
fn blocks_open_and_close_as_kinds_change_and_the_end_says_why_and_how_much() {
    let usage = Usage { prompt_tokens: 10, completion_tokens: 7, cached_tokens: 4, ..Usage::default() };
    let lines = written(&[
        StreamEvent::Start,
        StreamEvent::Reasoning("hm".into()),
        StreamEvent::Text("a\n".into()),
        StreamEvent::Text("".into()),
        StreamEvent::Text("b".into()),
        StreamEvent::ToolCallStart { index: 0, id: "c0".into(), name: "f".into() },
        StreamEvent::ToolCallArguments { index: 0, fragment: "{\"a".into() },
        StreamEvent::ToolCallStart { index: 1, id: "functions.g:1".into(), name: "g".into() },
        StreamEvent::Finish(FinishReason::ToolCalls),
        StreamEvent::Usage(usage),
    ]);
    assert_eq!(
        lines,
        [
            r#"{message_start,"message":{"id":"m1","type":"message","role":"assistant","model":"up","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}"#,
            r#"{content_block_start,"index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{content_block_delta,"index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
            r#"{content_block_stop,"index":0}"#,
            r#"{content_block_start,"index":1,"content_block":{"type":"text","text":""}}"#,
            r#"{content_block_delta,"index":1,"delta":{"type":"text_delta","text":"a\n"}}"#,
            r#"{content_block_delta,"index":1,"delta":{"type":"text_delta","text":"b"}}"#,
            r#"{content_block_stop,"index":1}"#,
            r#"{content_block_start,"index":2,"content_block":{"type":"tool_use","id":"c0","name":"f","input":{}}}"#,
            r#"{content_block_delta,"index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a"}}"#,
            r#"{content_block_stop,"index":2}"#,
            r#"{content_block_start,"index":3,"content_block":{"type":"tool_use","id":"functions_g_1","name":"g","input":{}}}"#,
            r#"{content_block_stop,"index":3}"#,
            r#"{message_delta,"delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":6,"cache_creation_input_tokens":0,"cache_read_input_tokens":4,"output_tokens":7}}"#,
            "{message_stop}",
        ]
    );
}

#[test]
fn a_piece_of_a_call_that_is_over_is_not_written() {
    let mut writer = EventWriter::new("m".into(), "up".into());
    let mut out = BytesMut::new();
    let late = StreamEvent::ToolCallArguments { index: 0, fragment: "{}".into() };
    assert_eq!(writer.write(&mut out, &late), Err(OutOfOrder));
    assert!(out.is_empty());
}

fn answer<'a>(calls: Vec<(&'a str, &'a str, &'a str)>) -> ChatResponse<'a> {
    ChatResponse {
        id: "m1".into(),
        model: "up".into(),
        text: Some("hi".into()),
        reasoning: Some("hm".into()),
        tool_calls: calls.into_iter().map(|(id, name, arguments)| (id.into(), name.into(), arguments.into())).collect(),
        finish: FinishReason::Length,
        usage: Usage { prompt_tokens: 3, completion_tokens: 4, ..Usage::default() },
    }
}

#[test]
fn a_whole_answer_has_its_blocks_in_order() {
    let body = response_body(&answer(vec![("c", "f", "{\"a\": 1.50}"), ("d.1", "g", "")])).unwrap();
    assert_eq!(
        body,
        r#"{"id":"m1","type":"message","role":"assistant","model":"up","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"hi"},{"type":"tool_use","id":"c","name":"f","input":{"a": 1.50}},{"type":"tool_use","id":"d_1","name":"g","input":{}}],"stop_reason":"max_tokens","stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":4}}"#
    );
}

#[test]
fn arguments_that_are_no_object_make_no_answer() {
    for broken in ["{\"a\":", "[1]", "5", "{} x"] {
        assert!(response_body(&answer(vec![("c", "f", broken)])).is_err(), "{broken}");
    }
}
