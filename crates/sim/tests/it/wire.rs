//! The wire formats without faults.

use std::time::Duration;

use http::StatusCode;
use meridian_sim::{Options, expected_text};
use serde_json::{Value, json};

use crate::client::{Sim, ask};

#[tokio::test]
async fn a_chat_is_answered_as_a_document_with_usage_that_adds_up() {
    let sim = Sim::instant().await;
    let got = sim.chat("", ask("hello there", false)).await.unwrap();
    let answer = got.json();
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["choices"][0]["message"]["content"], expected_text("m", "hello there", 24));
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["completion_tokens"], 24);
    let sum = answer["usage"]["prompt_tokens"].as_u64().unwrap() + 24;
    assert_eq!(answer["usage"]["total_tokens"], sum);
    assert!(got.header("x-request-id").starts_with("req_"));
}

#[tokio::test]
async fn a_chat_stream_starts_with_the_role_and_ends_with_usage_and_done() {
    let sim = Sim::instant().await;
    let mut body = ask("hello there", true);
    body["stream_options"] = json!({ "include_usage": true });
    let got = sim.chat("", body).await.unwrap();
    let events = got.events();
    assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(got.text(), expected_text("m", "hello there", 24));
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "stop");
    let last = &events[events.len() - 1];
    assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(24)));
    assert!(events[..events.len() - 1].iter().all(|event| event.get("usage") == Some(&Value::Null)));
    assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
    assert!(got.has_done());
    let plain = sim.chat("", ask("hi", true)).await.unwrap().events();
    assert!(plain.iter().all(|event| event.get("usage").is_none()));
}

#[tokio::test]
async fn a_message_is_answered_as_document_and_as_named_events() {
    let sim = Sim::instant().await;
    let answer = sim.messages("", ask("hello there", false)).await.unwrap().json();
    assert_eq!(answer["content"][0]["text"], expected_text("m", "hello there", 24));
    assert_eq!(answer["usage"]["output_tokens"], 24);
    let got = sim.messages("", ask("hello there", true)).await.unwrap();
    assert_eq!(got.text(), expected_text("m", "hello there", 24));
    let text = String::from_utf8(got.bytes()).unwrap();
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    names.dedup();
    let expected =
        "message_start content_block_start ping content_block_delta content_block_stop message_delta message_stop";
    assert_eq!(names.join(" "), expected);
    let delta = got.events().into_iter().find(|event| event["type"] == "message_delta").unwrap();
    assert_eq!((&delta["delta"]["stop_reason"], &delta["usage"]["output_tokens"]), (&json!("end_turn"), &json!(24)));
    let headers = [("x-api-key", "k"), ("anthropic-version", "2023-06-01")];
    let body = ask("12345678", false).to_string();
    let counted = sim.send("127.0.0.1", "POST", "/v1/messages/count_tokens", &headers, &body).await.unwrap();
    assert_eq!(counted.json(), json!({ "input_tokens": 2 }));
}

#[tokio::test]
async fn tools_are_called_when_forced_or_asked_for_and_their_arguments_come_in_pieces() {
    let sim = Sim::instant().await;
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let mut body = ask("please call weather.", true);
    body["tools"] = json!([{ "type": "function", "function": { "name": "weather", "parameters": schema } }]);
    let events = sim.chat("", body.clone()).await.unwrap().events();
    let calls: Vec<&Value> = events.iter().filter_map(|event| event.pointer("/choices/0/delta/tool_calls/0")).collect();
    assert_eq!(calls[0]["function"]["name"], "weather");
    let arguments: String = calls.iter().filter_map(|call| call["function"]["arguments"].as_str()).collect();
    assert_eq!(serde_json::from_str::<Value>(&arguments).unwrap(), json!({ "city": "sample" }));
    assert!(calls.len() > 2);
    assert_eq!(events.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
    body["tool_choice"] = json!("none");
    assert!(sim.chat("", body).await.unwrap().text().starts_with("Simulated reply"));

    let mut body = ask("hi", false);
    body["tools"] = json!([{ "name": "weather", "input_schema": schema }]);
    body["tool_choice"] = json!({ "type": "any" });
    let answer = sim.messages("", body).await.unwrap().json();
    assert_eq!(answer["content"][0]["input"], json!({ "city": "sample" }));
    assert_eq!(answer["stop_reason"], "tool_use");
}

#[tokio::test]
async fn structured_output_satisfies_its_schema() {
    let sim = Sim::instant().await;
    let mut body = ask("hi", false);
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    body["response_format"] = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let answer = sim.chat("", body).await.unwrap().json();
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(content).unwrap(), json!({ "n": 1 }));
}

#[tokio::test]
async fn what_a_provider_refuses_is_refused_in_its_shape() {
    let sim = Sim::instant().await;
    let openai = |body: Value| sim.chat("", body);
    let got = openai(json!({ "model": "m", "messages": [] })).await.unwrap();
    assert_eq!((got.status.as_u16(), &got.json()["error"]["param"]), (400, &json!("messages")));
    let orphan = json!({ "role": "tool", "tool_call_id": "x", "content": "1" });
    assert_eq!(openai(json!({ "model": "m", "messages": [orphan] })).await.unwrap().status.as_u16(), 400);
    let system = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "system", "content": "x" }] });
    let got = sim.messages("", system).await.unwrap();
    assert_eq!((got.status.as_u16(), &got.json()["error"]["type"]), (400, &json!("invalid_request_error")));
    let uncapped = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
    assert_eq!(sim.messages("", uncapped).await.unwrap().json()["error"]["message"], "max_tokens: Field required");
}

#[tokio::test]
async fn a_missing_key_is_401_in_the_providers_shape_and_keys_can_be_fixed() {
    let sim = Sim::start(Options { keys: vec!["sk-test".into()], ..Options::instant() }).await;
    let body = ask("hi", false).to_string();
    let send = |path, headers: Vec<(&'static str, &'static str)>| {
        let (sim, body) = (&sim, &body);
        async move { sim.send("127.0.0.1", "POST", path, &headers, body).await.unwrap() }
    };
    let got = send("/v1/chat/completions", vec![]).await;
    assert_eq!((got.status.as_u16(), &got.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    let got = send("/v1/chat/completions", vec![("authorization", "Bearer other")]).await;
    assert_eq!(got.status.as_u16(), 401);
    let got = send("/v1/messages", vec![("anthropic-version", "2023-06-01")]).await;
    assert_eq!((got.status.as_u16(), &got.json()["error"]["type"]), (401, &json!("authentication_error")));
    assert_eq!(sim.chat("", ask("hi", false)).await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn models_are_listed_in_the_shape_of_the_asking_dialect() {
    let sim = Sim::instant().await;
    let get = |path, headers: Vec<(&'static str, &'static str)>| {
        let sim = &sim;
        async move { sim.send("127.0.0.1", "GET", path, &headers, "").await.unwrap() }
    };
    let openai = vec![("authorization", "Bearer k")];
    let list = get("/v1/models", openai.clone()).await.json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("gpt-4o")));
    assert_eq!(get("/v1/models/gpt-4o", openai.clone()).await.json()["owned_by"], "openai");
    assert_eq!(get("/v1/models/none", openai).await.status.as_u16(), 404);
    let list = get("/v1/models", vec![("x-api-key", "k"), ("anthropic-version", "2023-06-01")]).await.json();
    assert_eq!((&list["has_more"], &list["data"][0]["type"]), (&json!(false), &json!("model")));
}

#[tokio::test]
async fn a_stream_arrives_token_by_token_at_the_pace_asked_for() {
    let options =
        Options { first_token: Duration::from_millis(60), gap: Duration::from_millis(20), ..Options::default() };
    let sim = Sim::start(options).await;
    let got = sim.chat("", ask("tokens=6", true)).await.unwrap();
    let first = got.frames[1].0;
    let last = got.frames.last().unwrap().0;
    assert!(got.frames[0].0 < Duration::from_millis(55), "role at {:?}", got.frames[0].0);
    assert!(first >= Duration::from_millis(60), "first token at {first:?}");
    assert!(last >= Duration::from_millis(160), "last at {last:?}");
    assert!(got.frames.len() >= 7);
}

#[tokio::test]
async fn five_megabytes_are_taken_and_too_many_refused() {
    let sim = Sim::instant().await;
    let big = "x".repeat(5 * 1024 * 1024);
    let got = sim.chat("", ask(&big, false)).await.unwrap();
    assert_eq!(got.status, StatusCode::OK);
    let seen = sim.simulator.requests(0).remove(0);
    assert!(seen.body_truncated && seen.body.is_none() && seen.body_bytes > 5 * 1024 * 1024);
}
