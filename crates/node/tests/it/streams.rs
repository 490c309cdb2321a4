//! Streams: token by token, and the truth when they break.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use meridian_sim::Outcome;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::support::{
    PATIENCE, Setup, ask, ask_streamed, configuration, events, eventually, publish, start, start_without_configuration,
    text_of,
};

#[tokio::test]
async fn tokens_arrive_one_by_one() {
    let sim = meridian_sim::Options {
        tokens: 5,
        first_token: Duration::from_millis(20),
        gap: Duration::from_millis(80),
        ..meridian_sim::Options::default()
    };
    let sandbox = start(Setup { sim, ..Setup::default() }).await;
    let mut body = sandbox.stream(ask_streamed("chat")).await.into_body();
    let started = Instant::now();
    let mut arrivals = Vec::new();
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
        let frame = frame.unwrap();
        if text_of(&events(frame.data_ref().unwrap())).is_empty() {
            continue;
        }
        arrivals.push(started.elapsed());
    }
    assert_eq!(arrivals.len(), 5, "a frame a token: {arrivals:?}");
    assert!(arrivals[4] - arrivals[0] >= Duration::from_millis(280), "not collected: {arrivals:?}");
}

/// With `fault` in the middle of the answer, the client gets what came, then an error event and no end mark.
async fn check(fault: &str, code: &str) {
    for codec in ["openai_compatible", "anthropic"] {
        let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
        sandbox.break_provider(0, fault);
        let answer = sandbox.chat(ask_streamed("chat")).await;
        assert_eq!(answer.status, 200, "{codec} {fault}");
        let events = events(&answer.body);
        let whole = meridian_sim::expected_text("up-first", "hello there", 6);
        let text = text_of(&events);
        assert!(!text.is_empty() && whole.starts_with(&text) && text.len() < whole.len(), "{codec} {fault}: {text:?}");
        let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
        assert_eq!(last["error"]["code"], code, "{codec} {fault}: {last}");
        for field in ["message", "type"] {
            assert!(last["error"][field].is_string(), "{codec} {fault}: {last}");
        }
        assert!(!events.iter().any(|event| event.contains("[DONE]")), "{codec} {fault}");
        assert!(!events.iter().any(|event| event.contains("\"finish_reason\":\"")), "{codec} {fault}");
        assert!(sandbox.seen(1).is_empty(), "{codec} {fault}: nobody else may go on");
        eventually("the request has ended", || sandbox.node.in_flight() == 0).await;
        let report = sandbox.node.serving().report();
        let errors: u64 = report.errors.iter().map(|errors| errors.count).sum();
        assert_eq!((report.requests_finished, errors), (1, 1), "{codec} {fault}");
    }
}

#[tokio::test]
async fn a_cut_in_the_middle_is_told() {
    check("cut;after=3;how=reset", "upstream_interrupted").await;
    check("cut;after=3;how=close", "upstream_interrupted").await;
    check("truncate;after=3", "upstream_interrupted").await;
}

#[tokio::test]
async fn a_clean_but_early_end_is_told() {
    check("end;after=3", "upstream_interrupted").await;
    check("no_finish;after=3", "upstream_interrupted").await;
}

#[tokio::test]
async fn a_stall_in_the_middle_is_told() {
    check("stall;after=3", "upstream_timeout").await;
}

#[tokio::test]
async fn a_malformed_event_is_told_and_never_passed_on() {
    check("bad_sse;after=3", "upstream_invalid_response").await;
}

#[tokio::test]
async fn an_error_event_in_the_middle_is_told() {
    check("error_event;after=3;kind=server", "upstream_error").await;
}

#[tokio::test]
async fn a_missing_end_mark_after_a_whole_answer_is_mended() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "no_done");
    let answer = sandbox.chat(ask_streamed("chat")).await;
    let events = events(&answer.body);
    assert_eq!(text_of(&events), meridian_sim::expected_text("up-first", "hello there", 6));
    assert_eq!(events.last().unwrap(), "[DONE]");
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_last_word_breaks_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 64 * 1024];
        assert!(connection.read(&mut request).await.unwrap() > 0);
        let chunk = |choice: &str| format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,{choice}}}]}}\n\n");
        let said = chunk("\"delta\":{\"content\":\"Hi\"}") + &chunk("\"delta\":{},\"finish_reason\":\"stop\"");
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        // The last chunk of the encoding, which ends the body, never comes.
        let answer = format!("{head}{:x}\r\n{said}\r\n", said.len());
        connection.write_all(answer.as_bytes()).await.unwrap();
    });
    let setup = Setup::default();
    let (sandbox, [_, second]) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    publish(&sandbox.node, 1, configuration(&setup, [upstream, second]));
    let events = events(&sandbox.chat(ask_streamed("chat")).await.body);
    assert_eq!((text_of(&events).as_str(), events.last().unwrap().as_str()), ("Hi", "[DONE]"));
    assert!(sandbox.node.serving().report().errors.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_call_at_the_provider() {
    let sim =
        meridian_sim::Options { tokens: 10_000, gap: Duration::from_millis(20), ..meridian_sim::Options::instant() };
    let sandbox = start(Setup { sim, ..Setup::default() }).await;
    let mut body = sandbox.stream(ask_streamed("chat")).await.into_body();
    timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(sandbox.node.in_flight(), 1);
    drop(body);
    eventually("cancelled upstream", || sandbox.seen(0)[0].outcome == Outcome::Cancelled).await;
    eventually("its place is free", || sandbox.node.in_flight() == 0).await;
    assert!(sandbox.node.serving().report().errors.is_empty(), "a client that leaves is no error");
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_token_cancels_too() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "hang");
    let request = ask_streamed("only");
    let waiting = sandbox.stream(request);
    assert!(timeout(Duration::from_millis(200), waiting).await.is_err());
    eventually("cancelled upstream", || sandbox.seen(0).first().is_some_and(|seen| seen.outcome == Outcome::Cancelled))
        .await;
    eventually("its place is free", || sandbox.node.in_flight() == 0).await;
}

#[tokio::test]
async fn connections_to_providers_are_used_again() {
    let sandbox = start(Setup::default()).await;
    for _ in 0..5 {
        assert_eq!(sandbox.chat(ask_streamed("chat")).await.status, 200);
    }
    assert_eq!(sandbox.sims[0].stats().connections.accepted, 1);
}

#[tokio::test]
async fn white_space_alone_does_not_hold_a_whole_answer_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        while connection.write_all(b"1\r\n\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let setup = Setup::default();
    let (sandbox, [_, second]) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, [upstream, second]);
    let idle = Duration::from_millis(200);
    configuration.models.get_mut("chat").unwrap().policy.deadlines.idle = Some(idle);
    publish(&sandbox.node, 1, configuration);
    let started = Instant::now();
    let answer = sandbox.chat(ask("chat")).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-meridian-provider")), (200, Some("second")));
    assert!(started.elapsed() >= 4 * idle, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_takes_its_stream_too_slowly_is_told_and_nobody_else_is_blamed() {
    let setup =
        Setup { sim: meridian_sim::Options { tokens: 20_000, ..meridian_sim::Options::instant() }, ..Setup::default() };
    let (sandbox, addresses) =
        start_without_configuration(setup.max_in_flight, setup.linger, setup.grace, &setup.sim).await;
    let mut configuration = configuration(&setup, addresses);
    let total = Duration::from_secs(1);
    configuration.models.get_mut("chat").unwrap().policy.deadlines.total = Some(total);
    publish(&sandbox.node, 1, configuration);
    // Room for a little of it.
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(65_535)
        .build_http::<Full<Bytes>>();
    let body = ask_streamed("chat");
    let request = sandbox.request(&body).body(Full::new(body.to_string().into())).unwrap();
    let answer = timeout(PATIENCE, client.request(request)).await.unwrap().unwrap();
    tokio::time::sleep(2 * total).await;
    let body = timeout(PATIENCE, answer.into_body().collect()).await.unwrap().unwrap().to_bytes();
    let last: Value = serde_json::from_str(events(&body).last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "request_timeout", "{last}");
    let report = sandbox.node.serving().report();
    let first = report.targets.iter().find(|target| target.provider == "first").unwrap();
    assert!(first.available && first.failures.iter().all(|failures| failures.class == "cancelled"), "{first:?}");
}
