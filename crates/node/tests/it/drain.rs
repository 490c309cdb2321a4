//! Stopping in order.

use std::time::Duration;

use http_body_util::BodyExt;
use meridian_proto::node::v1::ServingState;
use tokio::time::timeout;

use crate::support::{PATIENCE, Setup, ask, ask_streamed, events, start};

fn slow(tokens: u32) -> meridian_sim::Options {
    meridian_sim::Options { tokens, gap: Duration::from_millis(50), ..meridian_sim::Options::instant() }
}

#[tokio::test]
async fn a_draining_node_finishes_its_streams_and_says_that_it_drains() {
    let setup = Setup { sim: slow(20), linger: Duration::from_millis(500), ..Setup::default() };
    let sandbox = start(setup).await;
    assert_eq!(sandbox.get("/readyz").await.status, 200);
    let stream = sandbox.stream(ask_streamed("chat")).await;
    sandbox.trigger.drain();
    crate::support::eventually("draining", || sandbox.node.serving().vitals().state == ServingState::Draining).await;
    let ready = sandbox.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.body[..]), (503, &b"draining\n"[..]));
    assert_eq!(sandbox.get("/healthz").await.status, 200);
    let late = sandbox.chat(ask("chat")).await;
    assert_eq!((late.status.as_u16(), late.header("connection")), (200, Some("close")));
    let body = timeout(PATIENCE, stream.into_body().collect()).await.unwrap().unwrap().to_bytes();
    assert_eq!(events(&body).last().unwrap(), "[DONE]");
    timeout(PATIENCE, sandbox.running).await.expect("the node stops").unwrap();
}

#[tokio::test]
async fn a_stream_that_outlives_the_grace_ends_with_an_error_event() {
    let setup =
        Setup { sim: slow(10_000), linger: Duration::ZERO, grace: Duration::from_millis(300), ..Setup::default() };
    let sandbox = start(setup).await;
    let stream = sandbox.stream(ask_streamed("chat")).await;
    sandbox.trigger.drain();
    let body = timeout(PATIENCE, stream.into_body().collect()).await.unwrap().expect("no silent cut").to_bytes();
    let events = events(&body);
    assert!(events.last().unwrap().contains("\"code\":\"draining\""), "{:?}", events.last());
    timeout(PATIENCE, sandbox.running).await.expect("the node stops").unwrap();
}
