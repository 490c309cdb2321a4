//! What a provider is asked by each kind of probe, and what its answers are taken for.

use meridian_types::provider::{DEFAULT_PROBE_INTERVAL, Probe, ProbeKind};
use meridian_upstream::Sign;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::join;

use crate::support::{Pipes, head, transport, upstream};

const COMPLETION: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"small","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"length"}]}"#;

fn completion() -> ProbeKind {
    ProbeKind::Completion("small".parse().unwrap())
}

/// `answer` is a status line's end and a body; `None`: silence. `request` is the line that it answers; empty: there is none.
async fn check(kind: ProbeKind, answer: Option<(&str, &str)>, request: &str, expected: Sign) {
    let (pipes, mut accepted) = Pipes::new();
    let probe = Some(Probe { interval: DEFAULT_PROBE_INTERVAL, kind: kind.clone() });
    let upstream = upstream(&transport(pipes, None).await, "http://provider/v1", probe);
    let serving = async {
        let mut server = accepted.recv().await.unwrap();
        let Some(asked) = head(&mut server).await else { return String::new() };
        if let Some((status, body)) = answer {
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            server.write_all(answer.as_bytes()).await.unwrap();
        }
        // Until the prober closes.
        let _ = server.read_to_end(&mut Vec::new()).await;
        asked
    };
    let probing = async {
        let probed = upstream.probe().await;
        drop(upstream);
        probed
    };
    let (probed, asked) = join!(probing, serving);
    assert_eq!(probed.sign, expected, "{kind:?} {answer:?}: {probed:?}");
    assert_eq!(asked.lines().next().unwrap_or_default(), request, "{kind:?} {answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_of_models_is_asked_for_and_any_word_but_a_5xx_is_life() {
    let request = "GET /v1/models HTTP/1.1";
    for status in ["200 OK", "401 No", "404 No", "429 Slowly"] {
        check(ProbeKind::Models, Some((status, "{}")), request, Sign::Alive).await;
    }
    for status in ["500 No", "503 No", "529 No"] {
        check(ProbeKind::Models, Some((status, "{}")), request, Sign::Dead).await;
    }
    check(ProbeKind::Models, None, request, Sign::Dead).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_alone_asks_for_nothing() {
    check(ProbeKind::Connect, Some(("500 No", "")), "", Sign::Alive).await;
}

#[tokio::test(start_paused = true)]
async fn a_completion_has_to_come_whole_and_a_refused_question_says_nothing() {
    let request = "POST /v1/chat/completions HTTP/1.1";
    let cases = [
        (Some(("200 OK", COMPLETION)), Sign::Alive),
        (Some(("200 OK", r#"{"error":{"message":"gone","type":"server_error","code":null}}"#)), Sign::Dead),
        (Some(("200 OK", "")), Sign::Dead),
        (Some(("500 No", "{}")), Sign::Dead),
        (Some(("503 No", "{}")), Sign::Dead),
        (None, Sign::Dead),
        (Some(("404 No", "{}")), Sign::Unclear),
        (Some(("429 Slowly", "{}")), Sign::Unclear),
        (Some(("401 No", "{}")), Sign::Unclear),
    ];
    for (answer, expected) in cases {
        check(completion(), answer, request, expected).await;
    }
}
