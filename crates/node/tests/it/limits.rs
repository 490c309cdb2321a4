//! Who may do what, and how much.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{PATIENCE, Setup, Whole, ask, ask_streamed, start};

async fn with_headers(sandbox: &crate::support::Sandbox, headers: &[(&str, &str)]) -> Whole {
    let mut request = Request::post(sandbox.url("/v1/chat/completions"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sandbox.whole(request.body(Full::new(ask("chat").to_string().into())).unwrap()).await
}

#[tokio::test]
async fn a_bad_key_gets_openais_401() {
    let sandbox = start(Setup::default()).await;
    for headers in [&[][..], &[("authorization", "Bearer nonsense")][..]] {
        let answer = with_headers(&sandbox, headers).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "invalid_api_key"));
        let body = answer.json();
        let mut keys: Vec<_> = body["error"].as_object().unwrap().keys().collect();
        keys.sort();
        assert_eq!(keys, ["code", "message", "param", "type"]);
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert!(answer.header("x-request-id").is_some());
        assert!(!String::from_utf8_lossy(&answer.body).contains("nonsense"));
    }
    assert!(sandbox.seen(0).is_empty());
}

#[tokio::test]
async fn an_unknown_model_is_a_404() {
    let sandbox = start(Setup::default()).await;
    let answer = sandbox.chat(ask("nothing")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "model_not_found"));
    assert_eq!(answer.json()["error"]["param"], "model");
}

#[tokio::test]
async fn a_body_that_is_no_request_is_a_400() {
    let sandbox = start(Setup::default()).await;
    for body in ["", "[]", "{\"model\":\"chat\"", "{\"messages\":[]}"] {
        let request = sandbox.request(&json!(null)).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap();
        assert_eq!(sandbox.whole(request).await.status, 400, "{body:?}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_get_openais_error_body() {
    let sandbox = start(Setup::default()).await;
    assert_eq!(sandbox.get("/v1/nothing").await.code(), "not_found");
    let answer = sandbox.get("/v1/chat/completions").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (405, "method_not_allowed"));
}

#[tokio::test]
async fn a_body_that_says_it_is_too_large_is_refused_before_it_is_read() {
    let sandbox = start(Setup::default()).await;
    let mut socket = tokio::net::TcpStream::connect(sandbox.address()).await.unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 40000000\r\n\r\n",
        crate::support::KEY
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let n = tokio::time::timeout(PATIENCE, socket.read(&mut answer)).await.unwrap().unwrap();
    let answer = String::from_utf8_lossy(&answer[..n]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("request_too_large"), "{answer}");
}

#[tokio::test]
async fn a_client_that_sends_too_much_still_sees_the_413() {
    let sandbox = start(Setup::default()).await;
    let request = sandbox.request(&json!(null)).body(Full::new(Bytes::from(vec![b' '; 33 << 20]))).unwrap();
    assert_eq!(sandbox.whole(request).await.status, 413);
}

#[tokio::test]
async fn a_client_that_is_refused_while_it_sends_still_sees_why() {
    let sandbox = start(Setup::default()).await;
    let request = Request::post(sandbox.url("/v1/chat/completions")).header("authorization", "Bearer nonsense");
    let answer = sandbox.whole(request.body(Full::new(Bytes::from(vec![b' '; 20 << 20]))).unwrap()).await;
    assert_eq!(answer.status, 401);
}

#[tokio::test]
async fn residency_is_kept_by_account_and_header() {
    let sandbox = start(Setup::default()).await;
    let eu = ("authorization", "Bearer mrd_eu");
    let answer = with_headers(&sandbox, &[eu]).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-provider")), (200, Some("second")));
    let any = ("authorization", "Bearer mrd_test");
    let answer = with_headers(&sandbox, &[any, ("x-data-region", "EU")]).await;
    assert_eq!(answer.header("x-meridian-provider"), Some("second"));
    for headers in [[eu, ("x-data-region", "US")], [any, ("x-data-region", "CN")]] {
        let answer = with_headers(&sandbox, &headers).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "residency_refused"));
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("US"), "it says why");
    }
    assert_eq!(with_headers(&sandbox, &[any, ("x-data-region", "?")]).await.status, 400);
    // A dead allowed target is no reason to leave the allowed area.
    sandbox.break_provider(1, "error;status=500");
    assert_eq!(with_headers(&sandbox, &[eu]).await.status, 502);
    assert!(sandbox.seen(0).is_empty(), "nothing went to the US");
}

#[tokio::test]
async fn what_is_beyond_the_capacity_is_shed_with_the_truth() {
    let sandbox = start(Setup { max_in_flight: 1, ..Setup::default() }).await;
    sandbox.break_provider(0, "stall;after=2;ms=400");
    let first = sandbox.stream(ask_streamed("chat")).await;
    let shed = sandbox.chat(ask("chat")).await;
    assert_eq!((shed.status.as_u16(), shed.code().as_str()), (503, "overloaded"));
    assert_eq!((shed.header("x-should-retry"), shed.header("retry-after")), (Some("true"), Some("1")));
    let vitals = sandbox.node.serving().vitals();
    assert_eq!(vitals.state, meridian_proto::node::v1::ServingState::Overloaded);
    drop(first);
    crate::support::eventually("its place is free", || sandbox.node.in_flight() == 0).await;
    assert_eq!(sandbox.node.serving().report().requests_shed, 1);
    sandbox.sims[0].rules().clear();
    assert_eq!(sandbox.chat(ask("chat")).await.status, 200);
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let sandbox = start(Setup::default()).await;
    for (bytes, status) in [(60_000, 200), (66_000, 431), (100_000, 431), (500_000, 431)] {
        let long = "x".repeat(bytes);
        let answer = with_headers(&sandbox, &[("authorization", "Bearer mrd_test"), ("x-long", &long)]).await;
        assert_eq!(answer.status, status, "{bytes}");
    }
}

#[tokio::test]
async fn http2_with_prior_knowledge_works_and_many_streams_share_a_connection() {
    let sim = meridian_sim::Options { tokens: 4, gap: Duration::from_millis(20), ..meridian_sim::Options::instant() };
    let sandbox = start(Setup { sim, ..Setup::default() }).await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .http2_only(true)
        .build_http::<Full<Bytes>>();
    let calls = (0..20).map(|_| {
        let body = ask_streamed("chat");
        let request = sandbox.request(&body).body(Full::new(body.to_string().into())).unwrap();
        client.request(request)
    });
    for answer in futures::future::join_all(calls).await {
        let answer = answer.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
        let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
        assert_eq!(crate::support::events(&body).last().unwrap(), "[DONE]");
    }
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let connections = crate::support::metric(&text, "meridian_http_connections ");
    assert!(text.contains("meridian_http_connections 2"), "{connections:?}");
}
