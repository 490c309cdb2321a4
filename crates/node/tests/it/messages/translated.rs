//! In front of what speaks chat completions: the same answers, and nothing silently lost.

use serde_json::{Value, json};

use super::{MIXED, ask, ask_streamed, events, expected, names, send, text_of};
use crate::support::{Setup, start};

const OPENAI: [&str; 2] = ["openai_compatible"; 2];

#[tokio::test]
async fn both_kinds_of_provider_give_the_same_answer_streamed_or_not() {
    for codecs in MIXED {
        let sandbox = start(Setup { codecs, ..Setup::default() }).await;
        let answer = send(&sandbox, ask("chat")).await;
        assert_eq!(answer.status, 200, "{codecs:?}: {:?}", answer.body);
        let whole = answer.json();
        assert_eq!((&whole["type"], &whole["role"]), (&"message".into(), &"assistant".into()), "{codecs:?}");
        assert_eq!(whole["content"], json!([{"type": "text", "text": expected("first")}]), "{codecs:?}");
        assert_eq!((&whole["stop_reason"], &whole["model"]), (&"end_turn".into(), &"up-first".into()), "{codecs:?}");
        assert_eq!(whole["usage"]["output_tokens"], 6, "{codecs:?}");

        let events = events(&send(&sandbox, ask_streamed("chat")).await.body);
        assert_eq!(text_of(&events), expected("first"), "{codecs:?}");
        let mut names = names(&events);
        names.dedup();
        names.retain(|name| *name != "ping");
        names.dedup();
        let order = [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ];
        assert_eq!(names, order, "{codecs:?}");
        let end = &events[events.len() - 2].1;
        assert_eq!((&end["delta"]["stop_reason"], &end["usage"]["output_tokens"]), (&"end_turn".into(), &6.into()));
        assert_eq!(end["usage"]["input_tokens"], whole["usage"]["input_tokens"], "{codecs:?}");
    }
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_is_taken() {
    for codecs in MIXED {
        let sandbox = start(Setup { codecs, ..Setup::default() }).await;
        let mut body = ask("chat");
        body["tools"] = json!([{"name": "weather", "input_schema":
            {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]);
        body["tool_choice"] = json!({"type": "any"});
        let answer = send(&sandbox, body.clone()).await.json();
        assert_eq!(answer["stop_reason"], "tool_use", "{codecs:?}: {answer}");
        let call = answer["content"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&call["type"], &call["name"]), (&"tool_use".into(), &"weather".into()), "{codecs:?}");
        assert!(call["input"]["city"].is_string(), "{codecs:?}: {call}");

        body["stream"] = true.into();
        let events = events(&send(&sandbox, body.clone()).await.body);
        let pieces: String = events.iter().filter_map(|(_, data)| data["delta"]["partial_json"].as_str()).collect();
        assert_eq!(serde_json::from_str::<Value>(&pieces).unwrap(), call["input"], "{codecs:?}");

        body["stream"] = false.into();
        body["tool_choice"] = json!({"type": "auto"});
        let result =
            json!({"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "sunny"}]});
        let turns = body["messages"].as_array_mut().unwrap();
        turns.push(json!({"role": "assistant", "content": [call]}));
        turns.push(json!({"role": "user", "content": [result]}));
        assert_eq!(send(&sandbox, body).await.status, 200, "{codecs:?}");
    }
}

#[tokio::test]
async fn what_is_left_out_is_named_and_what_cannot_be_left_out_goes_elsewhere() {
    let sandbox = start(Setup { codecs: ["openai_compatible", "anthropic"], ..Setup::default() }).await;
    let mut body = ask("chat");
    body["top_k"] = 5.into();
    body["thinking"] = json!({"type": "adaptive"});
    let answer = send(&sandbox, body.clone()).await;
    assert_eq!(answer.header("x-meridian-adjusted"), Some("top_k, thinking"));
    assert_eq!(answer.header("x-meridian-provider"), Some("first"));
    let seen = sandbox.seen(0).remove(0);
    assert_eq!(seen.path, "/v1/chat/completions");
    assert!(!seen.header_names.iter().any(|name| name.starts_with("anthropic-")), "{:?}", seen.header_names);

    body["tools"] = json!([{"type": "web_search_20250305", "name": "web_search"}]);
    let answer = send(&sandbox, body.clone()).await;
    assert_eq!(answer.header("x-meridian-provider"), Some("second"));
    body["model"] = "only".into();
    let answer = send(&sandbox, body).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-should-retry")), (400, Some("false")));
    assert!(answer.json()["error"]["message"].as_str().unwrap().starts_with("tools.0: "));
}

#[tokio::test]
async fn thinking_that_anthropic_did_not_sign_never_reaches_it() {
    let conversation = |signature: &str| {
        let mut body = ask("chat");
        let thinking = json!({"type": "thinking", "thinking": "hm", "signature": signature});
        let turns = body["messages"].as_array_mut().unwrap();
        turns.push(json!({"role": "assistant", "content": [thinking, {"type": "text", "text": "hi"}]}));
        turns.push(json!({"role": "user", "content": "go on"}));
        body
    };
    let sandbox = start(Setup { codecs: ["anthropic"; 2], ..Setup::default() }).await;
    for (signature, blocks) in [("", 1), ("EqQB", 2)] {
        assert_eq!(send(&sandbox, conversation(signature)).await.status, 200);
        let sent = sandbox.seen(0).pop().unwrap().body.unwrap();
        assert_eq!(sent["messages"][1]["content"].as_array().unwrap().len(), blocks, "{sent}");
    }
    let sandbox = start(Setup { codecs: OPENAI, ..Setup::default() }).await;
    assert_eq!(send(&sandbox, conversation("EqQB")).await.status, 200);
    let sent = sandbox.seen(0).pop().unwrap().body.unwrap();
    assert_eq!(sent["messages"][1], json!({"role": "assistant", "content": "hi"}));
}
