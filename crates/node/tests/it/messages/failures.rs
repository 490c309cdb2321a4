//! What clients of this dialect are told, and that they are told nothing where another provider can serve.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use meridian_sim::Outcome;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{MIXED, ask, ask_streamed, collect, events, expected, names, post, send, stream, text_of};
use crate::support::{PATIENCE, Setup, Whole, eventually, start};

#[tokio::test]
async fn a_provider_that_fails_before_content_is_left_for_the_next_whatever_either_speaks() {
    for codecs in MIXED {
        for fault in [
            "error;status=500",
            "error;status=529",
            "error;status=401",
            "error;status=429;retry_after=7",
            "refuse",
            "empty",
            "garbage",
            "bad_json",
            "cut;after=0",
            "stall;after=0",
            "error_event;after=0;kind=overloaded",
        ] {
            let sandbox = start(Setup { codecs, ..Setup::default() }).await;
            sandbox.break_provider(0, fault);
            let streamed = send(&sandbox, ask_streamed("chat")).await;
            assert_eq!(streamed.status, 200, "{codecs:?} {fault}: {:?}", streamed.body);
            let events = events(&streamed.body);
            assert_eq!(text_of(&events), expected("second"), "{codecs:?} {fault}");
            assert_eq!(names(&events).iter().filter(|name| **name == "message_start").count(), 1, "{codecs:?} {fault}");
            assert_eq!(names(&events).pop(), Some("message_stop"), "{codecs:?} {fault}");
            assert_eq!(streamed.header("x-meridian-attempts"), Some("2"), "{codecs:?} {fault}");
            let whole = send(&sandbox, ask("chat")).await;
            assert_eq!(whole.json()["content"][0]["text"], expected("second"), "{codecs:?} {fault}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_after_content_ends_with_an_error_event() {
    for codec in ["anthropic", "openai_compatible"] {
        for (fault, kind) in [
            ("cut;after=3;how=reset", "api_error"),
            ("cut;after=3;how=close", "api_error"),
            ("truncate;after=3", "api_error"),
            ("end;after=3", "api_error"),
            ("stall;after=3", "timeout_error"),
            ("bad_sse;after=3", "api_error"),
            ("error_event;after=3;kind=server", "api_error"),
            ("error_event;after=3;kind=rate_limit", "rate_limit_error"),
        ] {
            let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
            sandbox.break_provider(0, fault);
            let answer = send(&sandbox, ask_streamed("chat")).await;
            assert_eq!(answer.status, 200, "{codec} {fault}");
            let events = events(&answer.body);
            let text = text_of(&events);
            assert!(!text.is_empty() && expected("first").starts_with(&text), "{codec} {fault}: {text:?}");
            let (last, data) = events.last().unwrap();
            assert_eq!((last.as_str(), &data["error"]["type"]), ("error", &kind.into()), "{codec} {fault}: {data}");
            assert_eq!(data["request_id"], answer.header("request-id").unwrap(), "{codec} {fault}");
            let end = |name: &&str| matches!(*name, "message_delta" | "message_stop");
            assert!(!names(&events).iter().any(end), "{codec} {fault}: no end of an answer without one");
            assert!(sandbox.seen(1).is_empty(), "{codec} {fault}: nobody else may go on");
            eventually("the request has ended", || sandbox.node.in_flight() == 0).await;
            let report = sandbox.node.serving().report();
            let errors: u64 = report.errors.iter().map(|errors| errors.count).sum();
            assert_eq!((report.requests_finished, errors), (1, 1), "{codec} {fault}");
        }
    }
}

#[track_caller]
fn check_error(answer: &Whole, status: u16, kind: &str) {
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), &body["error"]["type"]), (status, &kind.into()), "{body}");
    assert_eq!(body["type"], "error");
    assert!(body["error"]["message"].is_string(), "{body}");
    assert_eq!(body["request_id"], answer.header("request-id").unwrap());
}

#[tokio::test]
async fn errors_of_our_own_have_anthropics_shape_and_status() {
    let sandbox = start(Setup::default()).await;
    let unknown = Request::post(sandbox.url("/v1/messages")).header("x-api-key", "nonsense");
    check_error(&sandbox.whole(unknown.body(Full::default()).unwrap()).await, 401, "authentication_error");
    check_error(&send(&sandbox, ask("nothing")).await, 404, "not_found_error");
    for body in ["", "[]", "{\"model\":\"chat\"", "{\"max_tokens\":1}", "{\"model\":\"chat\",\"max_tokens\":\"x\"}"] {
        let request = post(&sandbox, "/v1/messages").body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        check_error(&sandbox.whole(request).await, 400, "invalid_request_error");
    }
    check_error(&sandbox.get("/v1/messages").await, 405, "invalid_request_error");
    check_error(&sandbox.get("/v1/messages/batches").await, 404, "not_found_error");
    let large = post(&sandbox, "/v1/messages").body(Full::new(vec![b' '; 40_000_000].into())).unwrap();
    check_error(&sandbox.whole(large).await, 413, "request_too_large");
    assert!(sandbox.seen(0).is_empty());
}

#[tokio::test]
async fn a_full_node_says_529() {
    let setup = Setup { max_in_flight: 1, ..Setup::default() };
    let sandbox = start(setup).await;
    sandbox.break_provider(0, "stall;after=1;ms=800");
    let open = stream(&sandbox, ask_streamed("chat")).await;
    let shed = send(&sandbox, ask("chat")).await;
    check_error(&shed, 529, "overloaded_error");
    assert_eq!(shed.header("x-should-retry"), Some("true"));
    collect(open).await;
}

#[tokio::test]
async fn when_nobody_serves_the_client_gets_the_most_telling_error() {
    for codec in ["anthropic", "openai_compatible"] {
        for (fault, status, kind, retry) in [
            ("error;status=429;retry_after=3", 429, "rate_limit_error", Some("true")),
            ("error;status=529;retry_after=3", 529, "overloaded_error", Some("true")),
            ("error;status=401", 502, "api_error", Some("false")),
            ("hang", 504, "timeout_error", None),
        ] {
            let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
            sandbox.break_provider(0, fault);
            let answer = send(&sandbox, ask_streamed("only")).await;
            check_error(&answer, status, kind);
            assert_eq!(answer.header("x-should-retry"), retry, "{codec} {fault}");
        }
    }
}

/// The upstream's own words about the request reach clients of both dialects, unchanged where the dialect is the upstream's.
#[tokio::test]
async fn a_mistake_of_the_client_comes_back_in_the_upstreams_words_and_the_clients_shape() {
    for codec in ["anthropic", "openai_compatible"] {
        let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
        sandbox.break_provider(0, "error;kind=context_length");
        let to_anthropic = send(&sandbox, ask("only")).await;
        let to_openai = sandbox.chat(crate::support::ask("only")).await;
        assert_eq!((to_anthropic.status.as_u16(), to_openai.status.as_u16()), (400, 400), "{codec}");
        let (ours, theirs) = (to_anthropic.json(), to_openai.json());
        assert_eq!(ours["error"]["type"], "invalid_request_error", "{codec}");
        assert_eq!(theirs["error"]["code"], "context_length_exceeded", "{codec}");
        let said = |body: &Value| body["error"]["message"].as_str().unwrap().to_owned();
        assert!(said(&ours).ends_with(&said(&theirs)) && said(&ours).len() > 20, "{codec}: {ours} {theirs}");
        let own_id = json!(to_anthropic.header("request-id").unwrap());
        assert_eq!(ours["request_id"] == own_id, codec != "anthropic", "an upstream's body is not touched");
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_call_at_the_provider() {
    for codec in ["anthropic", "openai_compatible"] {
        let sim = meridian_sim::Options {
            tokens: 10_000,
            gap: Duration::from_millis(20),
            ..meridian_sim::Options::instant()
        };
        let sandbox = start(Setup { codecs: [codec; 2], sim, ..Setup::default() }).await;
        let mut body = ask_streamed("chat");
        body["max_tokens"] = 10_000.into();
        let mut body = stream(&sandbox, body).await.into_body();
        timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
        drop(body);
        eventually("cancelled upstream", || sandbox.seen(0)[0].outcome == Outcome::Cancelled).await;
        eventually("its place is free", || sandbox.node.in_flight() == 0).await;
        assert!(sandbox.node.serving().report().errors.is_empty(), "a client that leaves is no error");
    }
}

#[tokio::test]
async fn a_stream_that_outlives_the_drain_is_told_so() {
    let sim =
        meridian_sim::Options { tokens: 10_000, gap: Duration::from_millis(50), ..meridian_sim::Options::instant() };
    let grace = Duration::from_millis(300);
    let setup = Setup { codecs: ["anthropic"; 2], sim, linger: Duration::ZERO, grace, ..Setup::default() };
    let sandbox = start(setup).await;
    let mut body = ask_streamed("chat");
    body["max_tokens"] = 10_000.into();
    let open = stream(&sandbox, body).await;
    sandbox.trigger.drain();
    let events = events(&collect(open).await);
    let (name, data) = events.last().unwrap();
    assert_eq!((name.as_str(), &data["error"]["type"]), ("error", &"overloaded_error".into()));
}
