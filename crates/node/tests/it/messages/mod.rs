//! Clients that speak Anthropic's Messages, in front of providers of both kinds.

mod failures;
mod pass_through;
mod translated;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::support::{KEY, PATIENCE, Sandbox, Whole};

/// First and second provider: as the client speaks, or not.
const MIXED: [[&str; 2]; 4] = [
    ["anthropic", "anthropic"],
    ["anthropic", "openai_compatible"],
    ["openai_compatible", "anthropic"],
    ["openai_compatible", "openai_compatible"],
];

pub(crate) fn ask(model: &str) -> Value {
    json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]})
}

pub(crate) fn ask_streamed(model: &str) -> Value {
    let mut body = ask(model);
    body["stream"] = true.into();
    body
}

fn post(sandbox: &Sandbox, path: &str) -> http::request::Builder {
    Request::post(sandbox.url(path)).header("x-api-key", KEY).header("anthropic-version", "2023-06-01")
}

pub(crate) async fn send(sandbox: &Sandbox, body: Value) -> Whole {
    send_to(sandbox, "/v1/messages", body).await
}

async fn send_to(sandbox: &Sandbox, path: &str, body: Value) -> Whole {
    sandbox.whole(post(sandbox, path).body(Full::new(body.to_string().into())).unwrap()).await
}

pub(crate) async fn stream(sandbox: &Sandbox, body: Value) -> Response<Incoming> {
    sandbox.send(post(sandbox, "/v1/messages").body(Full::new(body.to_string().into())).unwrap()).await
}

async fn collect(response: Response<Incoming>) -> Bytes {
    let body = tokio::time::timeout(PATIENCE, response.into_body().collect()).await.expect("in time");
    body.expect("no silent cut").to_bytes()
}

/// Name and data of each event of a stream.
pub(crate) fn events(body: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).expect("UTF-8");
    assert!(text.ends_with("\n\n"), "the last event is whole: {text:?}");
    let event = |event: &str| {
        let (name, data) = event.strip_prefix("event: ")?.split_once("\ndata: ")?;
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["type"], name);
        Some((name.to_owned(), data))
    };
    text.split("\n\n").filter_map(event).collect()
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

/// The text of a stream's deltas.
fn text_of(events: &[(String, Value)]) -> String {
    events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect()
}

/// What the provider's model says.
fn expected(which: &str) -> String {
    meridian_sim::expected_text(&format!("up-{which}"), "hello there", 6)
}
