//! Faults that operators inject: what is refused, how they come to nodes, how they end.

use std::time::Duration;

use meridian_proto::admin::v1 as admin;
use meridian_proto::admin::v1::event::Kind as EventKind;
use meridian_proto::admin::v1::watch_events_response::Message;
use meridian_proto::fleet::v1::{FaultSpec, fault_spec::Kind};
use meridian_store::memory::MemoryStore;
use tonic::{Code, Status};

use super::node::Pulsing;
use super::sandbox::{LIMIT, Replica, apply, everything, request_id};

fn spec(provider: &str, model: &str, region: &str) -> FaultSpec {
    let [provider, model, region] = [provider, model, region].map(str::to_owned);
    FaultSpec { provider, model, region, share_permille: 1000, kind: Some(Kind::ErrorStatus(503)) }
}

fn request(spec: FaultSpec, for_ms: u32) -> admin::InjectFaultRequest {
    let reason = "game day".to_owned();
    admin::InjectFaultRequest { request_id: request_id(), spec: Some(spec), for_ms, reason }
}

async fn inject(replica: &mut Replica, spec: FaultSpec, for_ms: u32) -> Result<String, Status> {
    let injected = replica.admin.inject_fault(request(spec, for_ms)).await?;
    Ok(injected.into_inner().fault.unwrap().id)
}

async fn listed(replica: &mut Replica) -> Vec<String> {
    let listed = replica.admin.list_faults(admin::ListFaultsRequest {}).await.unwrap().into_inner();
    listed.faults.into_iter().map(|fault| fault.id).collect()
}

/// Waits until a node was told of exactly these.
async fn told(node: &mut Pulsing, expected: &[String]) {
    let is = |ids: &Option<Vec<String>>| ids.as_deref() == Some(expected);
    tokio::time::timeout(LIMIT, node.faults.wait_for(is)).await.expect("the node is told").unwrap();
}

#[tokio::test]
async fn what_means_nothing_or_lasts_too_long_is_refused() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    let good = || spec("openai", "gpt", "eu");
    let with = |kind| FaultSpec { kind, ..good() };
    for (request, code, text) in [
        (request(spec("", "", ""), 60_000), Code::InvalidArgument, "a provider or a region"),
        (request(spec("", "gpt", "eu"), 60_000), Code::InvalidArgument, "goes with spec.provider"),
        (request(FaultSpec { share_permille: 0, ..good() }, 60_000), Code::InvalidArgument, "1 to 1000"),
        (request(FaultSpec { share_permille: 1001, ..good() }, 60_000), Code::InvalidArgument, "1 to 1000"),
        (request(with(None), 60_000), Code::InvalidArgument, "must say what happens"),
        (request(with(Some(Kind::ErrorStatus(200))), 60_000), Code::InvalidArgument, "400 to 599"),
        (request(with(Some(Kind::LatencyMs(0))), 60_000), Code::InvalidArgument, "1 to 600000"),
        (request(with(Some(Kind::Hang(false))), 60_000), Code::InvalidArgument, "must be true"),
        (request(with(Some(Kind::CutAfterEvents(100_001))), 60_000), Code::InvalidArgument, "0 to 100000"),
        (request(good(), 0), Code::InvalidArgument, "for_ms must be 1000 to 3600000"),
        (request(good(), 3_600_001), Code::InvalidArgument, "for_ms must be 1000 to 3600000"),
        (admin::InjectFaultRequest { reason: " ".to_owned(), ..request(good(), 60_000) }, Code::InvalidArgument, "why"),
        (request(spec("nobody", "", ""), 60_000), Code::NotFound, "there is no provider nobody; there are: openai"),
        (request(spec("openai", "x", ""), 60_000), Code::NotFound, "there are: gpt"),
        (request(spec("openai", "", "mars"), 60_000), Code::NotFound, "there is no region mars; there are: ap, eu, us"),
    ] {
        let refused = replica.admin.inject_fault(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{request:?}: {refused}");
        assert!(refused.message().contains(text), "{refused}");
    }
    for _ in 0..16 {
        inject(&mut replica, good(), 60_000).await.unwrap();
    }
    assert_eq!(inject(&mut replica, good(), 60_000).await.unwrap_err().code(), Code::ResourceExhausted);
    replica.stop().await;
}

#[tokio::test]
async fn a_fault_reaches_nodes_with_their_pulse_and_ends_at_a_word_or_at_its_time() {
    let store = MemoryStore::new(1);
    let mut one = Replica::start(&store, "cp-1").await;
    one.apply(apply(0, everything(), Vec::new())).await;
    let two = Replica::start(&store, "cp-2").await;
    // A node is told by any replica.
    let mut node = Pulsing::start(two.address, "eu", "n1", &[]).await;
    told(&mut node, &[]).await;
    let watch = admin::WatchEventsRequest { cursor: String::new() };
    let mut events = one.admin.watch_events(watch).await.unwrap().into_inner();

    let call = request(spec("openai", "gpt", ""), 600_000);
    let first = one.admin.inject_fault(call.clone()).await.unwrap().into_inner();
    assert_eq!(one.admin.inject_fault(call).await.unwrap().into_inner(), first, "repeating it is harmless");
    let first = first.fault.unwrap().id;
    told(&mut node, std::slice::from_ref(&first)).await;
    let second = inject(&mut one, spec("", "", "eu"), 1_000).await.unwrap();
    told(&mut node, &[first.clone(), second.clone()]).await;
    assert_eq!(listed(&mut one).await, [first.clone(), second.clone()]);
    // The second ends by itself; the leader clears it away.
    told(&mut node, std::slice::from_ref(&first)).await;
    let end =
        |id: &str| admin::EndFaultRequest { request_id: request_id(), id: id.to_owned(), reason: "enough".to_owned() };
    assert_eq!(one.admin.end_fault(end(&second)).await.unwrap_err().code(), Code::NotFound);
    one.admin.end_fault(end(&first)).await.unwrap();
    told(&mut node, &[]).await;
    assert_eq!(listed(&mut one).await, Vec::<String>::new());

    let mut seen = Vec::new();
    while seen.len() < 4 {
        let response = tokio::time::timeout(LIMIT, events.message()).await.expect("an event").unwrap().unwrap();
        if let Some(Message::Event(event)) = response.message
            && event.kind() == EventKind::Fault
        {
            seen.push((event.subject, event.text));
        }
    }
    let expected = [
        (&first, "injected: error 503 for 100 % of the calls to openai:gpt, until "),
        (&second, "injected: error 503 for 100 % of the calls to every provider from eu, until "),
        (&second, "ended at its time"),
        (&first, "ended by anonymous@127.0.0.1: enough"),
    ];
    for ((subject, text), (id, beginning)) in seen.iter().zip(expected) {
        assert!(subject == id && text.starts_with(beginning), "{subject} {text}");
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn the_list_says_how_long_each_still_holds() {
    let store = MemoryStore::new(1);
    let mut replica = Replica::start(&store, "cp-1").await;
    replica.apply(apply(0, everything(), Vec::new())).await;
    inject(&mut replica, spec("openai", "", ""), 600_000).await.unwrap();
    let node = Pulsing::start(replica.address, "eu", "n1", &[]).await;
    let mut left = node.left_ms.clone();
    let left = *tokio::time::timeout(LIMIT, left.wait_for(|left| *left > 0)).await.unwrap().unwrap();
    assert!((1..=600_000).contains(&left) && Duration::from_millis(left.into()) > Duration::from_secs(500), "{left}");
    replica.stop().await;
}
