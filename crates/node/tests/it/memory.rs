//! What requests and whole answers hold is bounded, and counts for as long as it is held.

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::support::{PATIENCE, Sandbox, Setup, ask, configuration, eventually, metric, publish, start_adjusted};

const BUDGET: usize = 4 << 20;
/// Answers of so many tokens are larger than what goes out unread, and take less than a tenth of the budget.
const TOKENS: u32 = 20_000;

async fn start() -> Sandbox {
    let setup = Setup::default();
    let (sandbox, addresses) = start_adjusted(|options| options.limits.budget_bytes = BUDGET, &setup.sim).await;
    publish(&sandbox.node, 1, configuration(&setup, addresses));
    sandbox
}

/// The part of the budget that is held.
async fn held(sandbox: &Sandbox) -> f64 {
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    metric(&text, "meridian_node_held_bytes").into_values().sum::<f64>() / BUDGET as f64
}

async fn all_is_given_back(sandbox: &Sandbox) {
    let given_back = async { while held(sandbox).await > 0.0 {} };
    tokio::time::timeout(PATIENCE, given_back).await.expect("it is given back");
}

/// A large answer of which nothing is read: an HTTP/2 client gives room for 64 KiB.
async fn unread(sandbox: &Sandbox) -> Response<Incoming> {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(65_535)
        .build_http::<Full<Bytes>>();
    let mut body = ask("chat");
    body["messages"][0]["content"] = format!("tokens={TOKENS}").into();
    let request = sandbox.request(&body).body(Full::new(body.to_string().into())).unwrap();
    client.request(request).await.unwrap()
}

async fn status_of(sandbox: &Sandbox, class: &str) -> u16 {
    let body = ask("chat");
    let request = sandbox.request(&body).header("x-meridian-class", class);
    sandbox.whole(request.body(Full::new(body.to_string().into())).unwrap()).await.status.as_u16()
}

#[tokio::test]
async fn an_answer_that_its_client_does_not_take_counts_and_batch_gives_way_first() {
    let sandbox = start().await;
    let mut answers = Vec::new();
    while held(&sandbox).await < 0.7 {
        answers.push(unread(&sandbox).await);
    }
    assert!(answers.iter().all(|answer| answer.status() == 200) && held(&sandbox).await < 0.9);
    eventually("their requests have ended", || sandbox.node.in_flight() == 0).await;
    assert_eq!([status_of(&sandbox, "batch").await, status_of(&sandbox, "default").await], [503, 200]);

    // Until there is no room for another: no fault of the provider, and another provider's answer is as large.
    let refused = loop {
        let answer = unread(&sandbox).await;
        if answer.status() != 200 {
            break answer;
        }
        answers.push(answer);
    };
    assert!(held(&sandbox).await > 0.9);
    assert_eq!((refused.status().as_u16(), refused.headers()["x-meridian-attempts"].to_str().unwrap()), (503, "1"));
    assert!(sandbox.seen(1).is_empty());

    for answer in answers {
        let whole = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(serde_json::from_slice::<Value>(&whole).is_ok_and(|answer| answer["usage"].is_object()));
    }
    all_is_given_back(&sandbox).await;
    assert_eq!([status_of(&sandbox, "batch").await, status_of(&sandbox, "default").await], [200, 200]);
}

#[tokio::test]
async fn a_request_that_finds_no_room_is_refused_and_leaves_nothing_behind() {
    let sandbox = start().await;
    for content in ["x".repeat(BUDGET), "short".to_owned()] {
        let body = json!({"model": "chat", "messages": [{"role": "user", "content": content}]});
        let expected = if content.len() == BUDGET { (503, "overloaded") } else { (200, "") };
        let answer = sandbox.chat(body).await;
        let code = if answer.status == 200 { String::new() } else { answer.code() };
        assert_eq!((answer.status.as_u16(), code.as_str()), expected);
        all_is_given_back(&sandbox).await;
    }
}
