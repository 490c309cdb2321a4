//! What clients send arrives, and what providers answer comes back, in both dialects.

use meridian_types::provider::TokenLimit;
use serde_json::{Value, json};

use crate::support::{
    Setup, ask, ask_streamed, configuration, events, publish, start, start_without_configuration, text_of,
};

#[tokio::test]
async fn a_whole_answer_says_who_served_it() {
    let sandbox = start(Setup::default()).await;
    let answer = sandbox.chat(ask("chat")).await;
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let expected = meridian_sim::expected_text("up-first", "hello there", 6);
    assert_eq!(answer.json()["choices"][0]["message"]["content"], expected);
    for (name, value) in [
        ("x-meridian-region", "eu-west"),
        ("x-meridian-node", "n1"),
        ("x-meridian-provider", "first"),
        ("x-meridian-model", "up-first"),
        ("x-meridian-attempts", "1"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(answer.header("x-request-id").unwrap().starts_with("eu-west_n1_"));
}

#[tokio::test]
async fn unknown_fields_tools_and_images_arrive_unharmed_and_secrets_do_not() {
    let sandbox = start(Setup::default()).await;
    let body = json!({
        "model": "chat",
        "messages": [{"role": "user", "content": [
            {"type": "text", "text": "what is this"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        ]}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        "some_future_parameter": {"deep": [1, 2.5, null, "é"]},
    });
    assert_eq!(sandbox.chat(body.clone()).await.status, 200);
    let seen = sandbox.seen(0).remove(0);
    let mut expected = body;
    expected["model"] = "up-first".into();
    assert_eq!(seen.body, Some(expected));
    assert_eq!(seen.client.ip(), crate::support::EGRESS);
    // Not the client's key, but the provider's own.
    assert!(seen.header_names.contains(&"authorization".to_owned()));
    let digest = meridian_types::Digest::of(env!("CARGO_PKG_NAME").as_bytes()).to_string();
    assert_eq!(seen.headers["authorization"], format!("sha256:{}", &digest[..12]));
}

#[tokio::test]
async fn the_token_limit_arrives_under_the_name_that_the_provider_knows() {
    let setup = Setup::default();
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    configuration.providers.values_mut().for_each(|provider| provider.token_limit = Some(TokenLimit::MaxTokens));
    publish(&sandbox.node, 1, configuration);
    let mut body = ask("chat");
    body["max_completion_tokens"] = 5.into();
    assert_eq!(sandbox.chat(body.clone()).await.status, 200);
    let fields = body.as_object_mut().unwrap();
    fields.remove("max_completion_tokens");
    fields.extend([("model".to_owned(), "up-first".into()), ("max_tokens".to_owned(), 5.into())]);
    assert_eq!(sandbox.seen(0).remove(0).body, Some(body));
}

#[tokio::test]
async fn a_tool_call_comes_back_from_both_dialects() {
    for codec in ["openai_compatible", "anthropic"] {
        let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
        let mut body = ask("chat");
        body["tools"] = json!([{"type": "function", "function": {"name": "weather", "parameters":
            {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]);
        body["tool_choice"] = "required".into();
        let answer = sandbox.chat(body.clone()).await;
        assert_eq!(answer.status, 200, "{codec}: {:?}", answer.body);
        let answer = answer.json();
        let choice = &answer["choices"][0];
        assert_eq!(choice["message"]["tool_calls"][0]["function"]["name"], "weather", "{codec}: {answer}");
        assert_eq!(choice["finish_reason"], "tool_calls", "{codec}");
        let arguments = choice["message"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
        let whole: Value = serde_json::from_str(arguments).unwrap();
        assert!(whole["city"].is_string(), "{codec}: {whole}");

        body["stream"] = true.into();
        let streamed = sandbox.chat(body).await;
        let events = events(&streamed.body);
        let pieces: String = events
            .iter()
            .filter_map(|event| serde_json::from_str::<Value>(event).ok())
            .filter_map(|chunk| {
                let call = &chunk["choices"][0]["delta"]["tool_calls"][0];
                call["function"]["arguments"].as_str().map(str::to_owned)
            })
            .collect();
        assert_eq!(serde_json::from_str::<Value>(&pieces).unwrap(), whole, "{codec}");
        assert_eq!(events.last().unwrap(), "[DONE]", "{codec}");
    }
}

#[tokio::test]
async fn both_dialects_stream_the_same_text_and_usage_only_if_asked() {
    for codec in ["openai_compatible", "anthropic"] {
        let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
        for wants_usage in [false, true] {
            let mut body = ask_streamed("chat");
            if wants_usage {
                body["stream_options"] = json!({"include_usage": true});
            }
            let answer = sandbox.chat(body).await;
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
            assert_eq!(answer.header("cache-control"), Some("no-cache"));
            assert_eq!(answer.header("x-accel-buffering"), Some("no"));
            let events = events(&answer.body);
            assert_eq!(text_of(&events), meridian_sim::expected_text("up-first", "hello there", 6), "{codec}");
            assert_eq!(events.last().unwrap(), "[DONE]");
            let usage = events.iter().any(|e| e.contains("\"completion_tokens\":6"));
            assert_eq!(usage, wants_usage, "{codec}");
        }
    }
}

#[tokio::test]
async fn ids_and_traces_are_carried_through() {
    let sandbox = start(Setup::default()).await;
    let body = ask("chat").to_string();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = sandbox
        .request(&ask("chat"))
        .header("x-request-id", "mine-1")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .body(http_body_util::Full::new(body.into()))
        .unwrap();
    let answer = sandbox.whole(request).await;
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    let seen = sandbox.seen(0).remove(0);
    let sent = &seen.headers["traceparent"];
    assert!(sent.starts_with(&format!("00-{trace}-")) && !sent.contains("00f067aa0ba902b7"), "{sent}");
}

#[tokio::test]
async fn the_models_are_listed_as_the_caller_may_use_them() {
    let sandbox = start(Setup::default()).await;
    let list = sandbox.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|card| card["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["chat", "only"]);
    assert_eq!(sandbox.get("/v1/models/chat").await.json()["object"], "model");
    assert_eq!(sandbox.get("/v1/models/none/such").await.code(), "model_not_found");
}
