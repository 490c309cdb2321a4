//! In front of Anthropic: what clients send arrives, and what it answers comes back.

use http_body_util::Full;
use serde_json::json;

use super::{ask, ask_streamed, events, expected, names, post, send, send_to, text_of};
use crate::support::{KEY, Setup, start};

const ANTHROPIC: [&str; 2] = ["anthropic"; 2];

#[tokio::test]
async fn bodies_versions_and_betas_arrive_unharmed_and_secrets_do_not() {
    let sandbox = start(Setup { codecs: ANTHROPIC, ..Setup::default() }).await;
    let body = json!({
        "model": "chat", "max_tokens": 50,
        "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tools": [{"type": "bash_20250124", "name": "bash"}],
        "messages": [
            {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "abc"}, {"type": "text", "text": "é"}]},
            {"role": "user", "content": "what is this"},
        ],
        "some_future_parameter": {"deep": [1, 2.5, null, "é"]},
    });
    let request = post(&sandbox, "/v1/messages?beta=true")
        .header("anthropic-beta", "interleaved-thinking-2025-05-14,context-management-2025-06-27")
        .body(Full::new(body.to_string().into()))
        .unwrap();
    let answer = sandbox.whole(request).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    assert!(answer.header("x-meridian-adjusted").is_none());
    let seen = sandbox.seen(0).remove(0);
    let mut arrived = body;
    arrived["model"] = "up-first".into();
    assert_eq!(seen.body, Some(arrived));
    assert_eq!(seen.path, "/v1/messages");
    assert_eq!(seen.headers["anthropic-version"], "2023-06-01");
    assert_eq!(seen.headers["anthropic-beta"], "interleaved-thinking-2025-05-14,context-management-2025-06-27");
    // Not the client's key, but the provider's own.
    let digest = meridian_types::Digest::of(env!("CARGO_PKG_NAME").as_bytes()).to_string();
    assert_eq!(seen.headers["x-api-key"], format!("sha256:{}", &digest[..12]));
    assert!(!seen.header_names.contains(&"authorization".to_owned()));
}

#[tokio::test]
async fn answers_say_who_served_and_name_the_request_where_sdks_look() {
    let sandbox = start(Setup { codecs: ANTHROPIC, ..Setup::default() }).await;
    let answer = send(&sandbox, ask("chat")).await;
    assert_eq!(answer.json()["content"][0]["text"], expected("first"));
    assert_eq!(answer.json()["stop_reason"], "end_turn");
    assert_eq!(answer.header("x-meridian-provider"), Some("first"));
    assert!(answer.header("request-id").unwrap().starts_with("eu-west_n1_"));
    assert_eq!(answer.header("request-id"), answer.header("x-request-id"));
    let streamed = send(&sandbox, ask_streamed("chat")).await;
    assert_eq!(streamed.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let events = events(&streamed.body);
    assert_eq!(text_of(&events), expected("first"));
    let names = names(&events);
    assert_eq!((names[0], *names.last().unwrap()), ("message_start", "message_stop"));
    assert!(names.contains(&"ping"), "keep-alives pass: {names:?}");
}

#[tokio::test]
async fn tokens_are_counted_by_who_can_and_by_nobody_else() {
    let count = |codecs| async move {
        let sandbox = start(Setup { codecs, ..Setup::default() }).await;
        let mut body = ask("chat");
        body.as_object_mut().unwrap().remove("max_tokens");
        let answer = send_to(&sandbox, "/v1/messages/count_tokens", body).await;
        (answer, [sandbox.seen(0).len(), sandbox.seen(1).len()])
    };
    for (codecs, seen) in [(ANTHROPIC, [1, 0]), (["openai_compatible", "anthropic"], [0, 1])] {
        let (answer, asked) = count(codecs).await;
        assert_eq!((answer.status.as_u16(), asked), (200, seen), "{codecs:?}: {:?}", answer.body);
        assert!(answer.json()["input_tokens"].as_u64().unwrap() > 0);
    }
    let (answer, asked) = count(["openai_compatible"; 2]).await;
    assert_eq!((answer.status.as_u16(), asked), (400, [0, 0]));
    assert_eq!(answer.json()["error"]["type"], "invalid_request_error");
    assert!(answer.json()["error"]["message"].as_str().unwrap().contains("can count tokens"));
}

#[tokio::test]
async fn the_models_are_listed_in_the_callers_dialect() {
    let sandbox = start(Setup::default()).await;
    let get = |path: &str| {
        let request = http::Request::get(sandbox.url(path)).header("x-api-key", KEY);
        sandbox.whole(request.header("anthropic-version", "2023-06-01").body(Full::default()).unwrap())
    };
    let list = get("/v1/models").await.json();
    assert_eq!(
        (&list["first_id"], &list["last_id"], &list["has_more"]),
        (&"chat".into(), &"only".into(), &false.into())
    );
    let one = get("/v1/models/chat").await.json();
    assert_eq!((&one["type"], &one["id"], &one["display_name"]), (&"model".into(), &"chat".into(), &"chat".into()));
    assert!(one["created_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(get("/v1/models/none/such").await.json()["error"]["type"], "not_found_error");
}
