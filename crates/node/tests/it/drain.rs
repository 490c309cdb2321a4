//! Stopping in order, and letting go of clients while the region is drained.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use meridian_proto::node::v1::ServingState;
use meridian_types::{CommitId, Plan, PlanId, RegionPlan, RegionState, Shares};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
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

/// A plan in which the node's region is so, with this share.
fn plan(number: u64, state: RegionState, weight: u32) -> Arc<Plan> {
    let region = |state, weight| RegionPlan {
        state,
        weight,
        target_weight: weight,
        reason: "test".to_owned(),
        addresses: Vec::new(),
        placement: Shares::new(),
        capacity: 100,
        demand: 0.0,
        settled: None,
    };
    let regions = [("eu-west", region(state, weight)), ("us-west", region(RegionState::Serving, 1000 - weight))];
    Arc::new(Plan {
        id: PlanId { epoch: 1, number },
        commit: CommitId(1),
        made_at_unix_ms: 0,
        made_by: "cp-1".to_owned(),
        reason: "test".to_owned(),
        regions: regions.map(|(name, region)| (name.parse().unwrap(), region)).into(),
        contingencies: BTreeMap::new(),
    })
}

#[tokio::test]
async fn a_node_of_a_drained_region_serves_on_and_asks_its_clients_to_look_elsewhere() {
    let sandbox = start(Setup { sim: slow(20), ..Setup::default() }).await;
    let keeps = async || sandbox.chat(ask("chat")).await.header("connection").is_none();
    sandbox.node.serving().plan(plan(1, RegionState::Serving, 500));
    assert!(keeps().await);
    let stream = sandbox.stream(ask_streamed("chat")).await;

    sandbox.node.serving().plan(plan(2, RegionState::Drained, 0));
    let ready = sandbox.get("/readyz").await;
    let expected = "region eu-west is drained; requests that come are served\n";
    assert_eq!((ready.status.as_u16(), std::str::from_utf8(&ready.body).unwrap()), (503, expected));
    let late = sandbox.chat(ask("chat")).await;
    assert_eq!((late.status.as_u16(), late.header("connection")), (200, Some("close")));
    let body = timeout(PATIENCE, stream.into_body().collect()).await.unwrap().unwrap().to_bytes();
    assert_eq!(events(&body).last().unwrap(), "[DONE]");

    // Where nobody else takes traffic there is nowhere else to look.
    sandbox.node.serving().plan(plan(3, RegionState::Drained, 1000));
    assert!(keeps().await);
    sandbox.node.serving().plan(plan(4, RegionState::Serving, 500));
    assert!(keeps().await);
    assert_eq!(sandbox.get("/readyz").await.status, 200);
}

/// An HTTP/2 connection, and the task that ends with it.
async fn connect(to: SocketAddr) -> (http2::SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>) {
    let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let (requests, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    (requests, tokio::spawn(connection))
}

#[tokio::test]
async fn a_drained_region_tells_http2_clients_to_go_and_cuts_no_stream() {
    let sandbox = start(Setup { sim: slow(20), ..Setup::default() }).await;
    let request = |body: &serde_json::Value| sandbox.request(body).body(Full::new(body.to_string().into())).unwrap();
    sandbox.node.serving().plan(plan(1, RegionState::Serving, 500));
    let (mut old, old_ended) = connect(sandbox.address()).await;
    let stream = old.send_request(request(&ask_streamed("chat"))).await.unwrap();

    sandbox.node.serving().plan(plan(2, RegionState::Drained, 0));
    crate::support::eventually("the client was told", || old.is_closed()).await;
    let body = timeout(PATIENCE, stream.into_body().collect()).await.unwrap().unwrap().to_bytes();
    assert_eq!(events(&body).last().unwrap(), "[DONE]");
    timeout(PATIENCE, old_ended).await.expect("the connection ends").unwrap().unwrap();

    // Who comes nevertheless is served, as often as it comes, and told each time.
    for _ in 0..2 {
        let (mut late, late_ended) = connect(sandbox.address()).await;
        tokio::task::yield_now().await;
        let answer = late.send_request(request(&ask("chat"))).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
        timeout(PATIENCE, late_ended).await.expect("the connection ends").unwrap().unwrap();
    }

    sandbox.node.serving().plan(plan(3, RegionState::Serving, 500));
    let (mut kept, kept_ended) = connect(sandbox.address()).await;
    for _ in 0..2 {
        assert_eq!(kept.send_request(request(&ask("chat"))).await.unwrap().status(), 200);
    }
    assert!(!kept_ended.is_finished());
}
