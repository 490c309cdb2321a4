//! The request log and the counters.

use std::time::Duration;

use meridian_sim::{Options, Outcome};
use serde_json::{Value, json};

use crate::client::{Sim, ask, eventually};

#[tokio::test]
async fn the_log_shows_what_arrived_and_no_key() {
    let sim = Sim::instant().await;
    let headers = [
        ("authorization", "Bearer sk-secret"),
        ("user-agent", "test/1"),
        ("traceparent", "00-ab-cd-01"),
        ("x-odd", "v"),
    ];
    let body = ask("hi", false).to_string();
    sim.send("127.0.1.7", "POST", "/v1/chat/completions", &headers, &body).await.unwrap();
    let (_, log) = sim.admin("GET", "/sim/requests", Value::Null).await;
    let seen = &log["requests"][0];
    assert_eq!((&seen["model"], &seen["stream"], &seen["status"]), (&json!("m"), &json!(false), &json!(200)));
    assert_eq!((&seen["outcome"], &seen["body"]), (&json!("completed"), &ask("hi", false)));
    assert!(seen["client"].as_str().unwrap().starts_with("127.0.1.7:"));
    assert_eq!(
        (&seen["headers"]["user-agent"], &seen["headers"]["traceparent"]),
        (&json!("test/1"), &json!("00-ab-cd-01"))
    );
    assert!(seen["header_names"].as_array().unwrap().contains(&json!("x-odd")));
    assert!(seen["headers"]["authorization"].as_str().unwrap().starts_with("sha256:"));
    assert!(!log.to_string().contains("sk-secret"));
    let (_, later) = sim.admin("GET", "/sim/requests?since=1", Value::Null).await;
    assert_eq!(later, json!({ "requests": [] }));
    assert_eq!(sim.admin("GET", "/sim/requests?model=m", Value::Null).await.0.as_u16(), 400);
    sim.admin("DELETE", "/sim/requests", Value::Null).await;
    assert!(sim.simulator.requests(0).is_empty());
}

#[tokio::test]
async fn the_log_is_bounded_and_keeps_the_newest() {
    let sim = Sim::start(Options { log_entries: 3, ..Options::instant() }).await;
    for _ in 0..5 {
        sim.chat("", ask("hi", false)).await.unwrap();
    }
    let ids: Vec<u64> = sim.simulator.requests(0).iter().map(|seen| seen.id).collect();
    assert_eq!(ids, [3, 4, 5]);
    assert!(sim.simulator.requests(0).iter().all(|seen| seen.outcome == Outcome::Completed));
}

#[tokio::test]
async fn a_client_that_leaves_mid_stream_is_counted_as_cancelled() {
    let sim = Sim::instant().await;
    let stream = sim.chat("gap;ms=20", ask("tokens=1000", true));
    assert!(tokio::time::timeout(Duration::from_millis(100), stream).await.is_err());
    eventually("cancelled", || sim.simulator.stats().requests.cancelled == 1).await;
    let (stats, seen) = (sim.simulator.stats(), sim.simulator.requests(0).remove(0));
    assert_eq!(seen.outcome, Outcome::Cancelled);
    assert!(seen.sent_bytes > 0 && seen.sent_bytes < 100_000);
    assert_eq!(seen.faults, ["gap;ms=20"]);
    let counts = stats.by_model["m"];
    assert_eq!((counts.total, counts.in_flight, counts.cancelled, counts.faulty), (1, 0, 1, 1));
    assert_eq!(stats.by_client["127.0.0.1"], stats.requests);
    eventually("closed", || sim.simulator.stats().connections.open == 0).await;
}

#[tokio::test]
async fn a_thousand_streams_run_side_by_side_and_all_are_whole() {
    let sim = Sim::start(Options { gap: Duration::from_millis(5), ..Options::instant() }).await;
    let expected = meridian_sim::expected_text("m", "tokens=20", 20);
    let streams = (0..1000).map(|_| async {
        let got = sim.chat("", ask("tokens=20", true)).await.unwrap();
        assert_eq!(got.text(), expected);
        assert!(got.has_done());
    });
    let mut running: Vec<_> = streams.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        running.retain_mut(|stream| stream.as_mut().poll(context).is_pending());
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    let stats = sim.simulator.stats().requests;
    assert_eq!((stats.total, stats.completed, stats.in_flight), (1000, 1000, 0));
}

#[tokio::test]
async fn a_drain_lets_open_streams_finish_and_takes_no_new_one() {
    let sim = Sim::start(Options { gap: Duration::from_millis(10), ..Options::instant() }).await;
    let (stream, ()) = tokio::join!(sim.chat("", ask("tokens=20", true)), async {
        eventually("in flight", || sim.simulator.stats().requests.in_flight == 1).await;
        sim.drain();
    });
    assert!(stream.unwrap().has_done());
    assert!(sim.chat("", ask("hi", false)).await.is_none());
}
