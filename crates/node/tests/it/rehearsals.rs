//! What operators ask of a node: faults that they inject, and what became of a request.

use meridian_node::Handle;
use meridian_proto::fleet::v1::{FaultSpec, InjectedFault, fault_spec::Kind};
use meridian_proto::node::v1::{self, query, reply};

use crate::support::{Sandbox, Setup, ask, ask_streamed, events, metric, start, text_of};

fn inject(node: &Handle, revision: u64, kind: Kind, left_ms: u32) {
    let spec =
        FaultSpec { provider: "first".to_owned(), share_permille: 1000, kind: Some(kind), ..FaultSpec::default() };
    let fault = InjectedFault { id: "0a1b2c3d".to_owned(), spec: Some(spec), ..InjectedFault::default() };
    let faults = vec![v1::ActiveFault { fault: Some(fault), left_ms }];
    node.serving().faults(&v1::FaultList { epoch: 0, revision, faults });
}

/// What the node remembers of a request.
async fn record(sandbox: &Sandbox, id: &str) -> v1::FoundRequest {
    let question = query::Question::FindRequest(v1::FindRequest { request_id: id.to_owned() });
    let reply = sandbox.node.serving().answer(v1::Query { id: 7, question: Some(question) }).await;
    match reply.answer {
        Some(reply::Answer::FoundRequest(found)) => found,
        other => panic!("unexpected {other:?}"),
    }
}

/// With `kind` injected at the first provider, answers of both kinds come from the second, and the record says why.
async fn check(kind: Kind, class: &str, status: u32, calls: usize) {
    let sandbox = start(Setup::default()).await;
    inject(&sandbox.node, 1, kind, 60_000);
    let answer = sandbox.chat(ask_streamed("chat")).await;
    assert_eq!(answer.status, 200, "{kind:?}: {:?}", answer.body);
    assert_eq!(answer.header("x-meridian-provider"), Some("second"), "{kind:?}");
    assert_eq!(sandbox.seen(0).len(), calls, "calls that were really made: {kind:?}");
    let found = record(&sandbox, answer.header("x-request-id").unwrap()).await;
    let [record] = &found.records[..] else { panic!("{found:?}") };
    assert_eq!((record.outcome.as_str(), record.model.as_str(), record.streamed), ("answered", "chat", true));
    assert_eq!(record.planned.len(), 2, "{record:?}");
    let [first, second] = &record.attempts[..] else { panic!("{record:?}") };
    let told = (first.provider.as_str(), first.result.as_str(), first.status, first.fault.as_str());
    assert_eq!(told, ("first", class, status, "0a1b2c3d"), "{kind:?}");
    assert!(!first.why.is_empty() && first.began_ms <= second.began_ms, "{record:?}");
    assert_eq!((second.provider.as_str(), second.result.as_str(), second.fault.as_str()), ("second", "ok", ""));
    let metrics = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let struck = metric(&metrics, "meridian_node_faults_injected_total");
    assert_eq!(struck.values().sum::<f64>(), 1.0, "{struck:?}");
}

#[tokio::test]
async fn injected_faults_are_left_for_the_next_target_as_real_ones_are() {
    check(Kind::ErrorStatus(503), "saturation", 503, 0).await;
    check(Kind::ErrorStatus(500), "provider", 500, 0).await;
    check(Kind::Hang(true), "transport", 0, 0).await;
    check(Kind::CutAfterEvents(0), "transport", 0, 1).await;
    // Longer than the deadline for the head.
    check(Kind::LatencyMs(30_000), "transport", 0, 1).await;
}

#[tokio::test]
async fn latency_below_the_deadline_only_delays() {
    let sandbox = start(Setup::default()).await;
    inject(&sandbox.node, 1, Kind::LatencyMs(300), 60_000);
    let answer = sandbox.chat(ask("chat")).await;
    assert_eq!(answer.header("x-meridian-provider"), Some("first"));
    let found = record(&sandbox, answer.header("x-request-id").unwrap()).await;
    let attempt = &found.records[0].attempts[0];
    assert!(attempt.took_ms >= 300 && attempt.result == "ok" && attempt.fault == "0a1b2c3d", "{attempt:?}");
}

#[tokio::test]
async fn a_cut_in_mid_stream_is_told_to_the_client_and_remembered() {
    let sandbox = start(Setup::default()).await;
    inject(&sandbox.node, 1, Kind::CutAfterEvents(4), 60_000);
    // A whole answer breaks off before any of it reached the client.
    assert_eq!(sandbox.chat(ask("chat")).await.header("x-meridian-provider"), Some("second"));
    let streamed = sandbox.chat(ask_streamed("chat")).await;
    let seen = events(&streamed.body);
    assert_ne!(seen.last().unwrap(), "[DONE]");
    assert!(seen.last().unwrap().contains("error"), "{seen:?}");
    let id = streamed.header("x-request-id").unwrap().to_owned();
    let found = record(&sandbox, &id).await;
    let record = &found.records[0];
    assert_eq!((record.outcome.as_str(), record.streamed), ("failed", true));
    assert!(record.first_content_ms.is_some());
    let attempt = &record.attempts[0];
    assert!(attempt.after_content && attempt.fault == "0a1b2c3d" && attempt.result == "transport", "{attempt:?}");
}

#[tokio::test]
async fn a_fault_ends_by_itself_without_any_control_plane() {
    let sandbox = start(Setup::default()).await;
    inject(&sandbox.node, 1, Kind::ErrorStatus(400), 1_000);
    let refused = sandbox.chat(ask("chat")).await;
    assert_eq!(refused.status, 400, "{:?}", refused.body);
    assert!(refused.code() == "injected_fault", "{:?}", refused.body);
    let over = async { while sandbox.chat(ask("chat")).await.status != 200 {} };
    tokio::time::timeout(crate::support::PATIENCE, over).await.expect("it ends");
    let answer = sandbox.chat(ask("chat")).await;
    assert_eq!(answer.header("x-meridian-provider"), Some("first"), "a client's error opened no breaker");
    let streamed = sandbox.chat(ask_streamed("chat")).await;
    assert_eq!(text_of(&events(&streamed.body)), meridian_sim::expected_text("up-first", "hello there", 6));
}

#[tokio::test]
async fn refused_and_unfinished_requests_are_remembered_and_strangers_are_not() {
    let sandbox = start(Setup::default()).await;
    let unknown = sandbox.chat(ask("no-such-model")).await;
    let found = record(&sandbox, unknown.header("x-request-id").unwrap()).await;
    let told = &found.records[0];
    assert_eq!((told.outcome.as_str(), told.code.as_str()), ("refused", "model_not_found"));
    assert_eq!((told.tenant.is_empty(), told.attempts.len()), (false, 0));

    // A client that leaves in mid-stream, while the provider is silent.
    sandbox.break_provider(0, "stall;after=2");
    let stream = sandbox.stream(ask_streamed("chat")).await;
    let id = stream.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert!(record(&sandbox, &id).await.records.is_empty(), "it has not ended");
    drop(stream);
    let ended = async {
        loop {
            if let [told] = &record(&sandbox, &id).await.records[..] {
                return told.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let told = tokio::time::timeout(crate::support::PATIENCE, ended).await.unwrap();
    assert_eq!(told.outcome, "cancelled");
    assert!(record(&sandbox, "no-such-id").await.records.is_empty());
}
