//! Under mixed faults every request is accounted for exactly once, and nothing is left behind.

use futures::future::join_all;
use http_body_util::BodyExt;
use meridian_sim::{Match, Rule};

use crate::messages;
use crate::support::{Sandbox, Setup, ask, ask_streamed, events, eventually, metric, start};

const REQUESTS: usize = 240;

/// Faults at both providers, each striking some of the requests.
fn disturb(sandbox: &Sandbox) {
    let faults = [
        "error;status=500",
        "error;status=429;retry_after_ms=50",
        "refuse",
        "cut;after=2;how=reset",
        "bad_sse;after=2",
        "end;after=2",
        "error_event;after=0;kind=server",
    ];
    for simulator in &sandbox.sims {
        for fault in faults {
            let name = fault.to_owned();
            let rule =
                Rule { name, matches: Match::default(), fault: fault.to_owned(), count: None, probability: Some(0.06) };
            simulator.rules().put(rule).unwrap();
        }
    }
}

/// One request as one kind of client: patient and whole, patient and streamed, or gone after the first frame; and the same of
/// the other dialect.
async fn client(sandbox: &Sandbox, number: usize) {
    match number % 6 {
        0 => {
            let answer = sandbox.chat(ask("chat")).await;
            let status = answer.status.as_u16();
            assert!(matches!(status, 200 | 429 | 502 | 503), "{status}: {:?}", answer.body);
            assert_eq!(answer.json()["error"].is_object(), status != 200);
        }
        1 => {
            let answer = sandbox.chat(ask_streamed("chat")).await;
            if answer.status == 200 {
                let events = events(&answer.body);
                let last = events.last().unwrap();
                assert!(last == "[DONE]" || last.starts_with("{\"error\":{"), "never a silent end: {last}");
            } else {
                assert!(answer.json()["error"].is_object());
            }
        }
        2 => drop(sandbox.stream(ask_streamed("chat")).await.into_body().frame().await),
        3 => {
            let answer = messages::send(sandbox, messages::ask("chat")).await;
            let status = answer.status.as_u16();
            assert!(matches!(status, 200 | 429 | 502 | 503), "{status}: {:?}", answer.body);
            assert_eq!(answer.json()["type"], if status == 200 { "message" } else { "error" });
        }
        4 => {
            let answer = messages::send(sandbox, messages::ask_streamed("chat")).await;
            if answer.status == 200 {
                let (last, _) = messages::events(&answer.body).pop().unwrap();
                assert!(last == "message_stop" || last == "error", "never a silent end: {last}");
            } else {
                assert_eq!(answer.json()["type"], "error");
            }
        }
        _ => drop(messages::stream(sandbox, messages::ask_streamed("chat")).await.into_body().frame().await),
    }
}

#[tokio::test]
async fn every_request_ends_exactly_once() {
    let codecs = ["openai_compatible", "anthropic"];
    let sandbox = start(Setup { codecs, max_in_flight: 1000, ..Setup::default() }).await;
    disturb(&sandbox);
    for batch in 0..REQUESTS / 40 {
        join_all((0..40).map(|i| client(&sandbox, batch * 40 + i))).await;
    }
    eventually("nothing is in flight", || sandbox.node.in_flight() == 0).await;
    let report = sandbox.node.serving().report();
    assert_eq!((report.requests_started, report.requests_finished), (REQUESTS as u64, REQUESTS as u64));
    assert!(report.targets.iter().all(|target| target.in_flight == 0), "{:?}", report.targets);
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let ended = metric(&text, "meridian_node_requests_total");
    assert_eq!(ended.values().sum::<f64>(), REQUESTS as f64, "{ended:?}");
    assert!(text.contains("meridian_node_requests_in_flight 0"));
    let failed: f64 = ended.iter().filter(|(labels, _)| labels.contains("\"failed\"")).map(|(_, count)| count).sum();
    assert!(failed > 0.0, "the faults have struck: {ended:?}");
}
