//! Tokens are counted once, at the target that took them in or put them out.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::support::{PATIENCE, Sandbox, Setup, ask, ask_streamed, eventually, metric, start};

/// Input and output tokens that were counted at a target of `chat`.
pub(crate) async fn counted(sandbox: &Sandbox, which: &str) -> (u64, u64) {
    let text = String::from_utf8(sandbox.get("/metrics").await.body.to_vec()).unwrap();
    let all = metric(&text, "meridian_node_tokens_total");
    let of = |kind: &str| {
        let labels = format!("{{served=\"chat\",provider=\"{which}\",model=\"up-{which}\",kind=\"{kind}\"}}");
        all.get(&labels).copied().unwrap_or_default() as u64
    };
    (of("input"), of("output"))
}

#[tokio::test]
async fn answers_whole_and_streamed_are_counted_as_the_upstream_says() {
    for codec in ["openai_compatible", "anthropic"] {
        let sandbox = start(Setup { codecs: [codec; 2], ..Setup::default() }).await;
        let prompt = sandbox.chat(ask("chat")).await.json()["usage"]["prompt_tokens"].as_u64().unwrap();
        assert_eq!(counted(&sandbox, "first").await, (prompt, 6), "{codec}");
        // Also where the client does not ask for usage.
        let _ = sandbox.chat(ask_streamed("chat")).await;
        assert_eq!(counted(&sandbox, "first").await, (2 * prompt, 12), "{codec}");
    }
}

#[tokio::test]
async fn after_a_failover_only_who_answered_is_counted() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "cut;after=0");
    let _ = sandbox.chat(ask_streamed("chat")).await;
    assert_eq!(counted(&sandbox, "first").await, (0, 0));
    assert_eq!(counted(&sandbox, "second").await.1, 6);
}

#[tokio::test]
async fn of_a_stream_that_breaks_what_was_seen_is_counted() {
    let sandbox = start(Setup::default()).await;
    sandbox.break_provider(0, "cut;after=4");
    let _ = sandbox.chat(ask_streamed("chat")).await;
    assert_eq!(counted(&sandbox, "first").await, (0, 4));
}

#[tokio::test]
async fn of_a_stream_that_the_client_leaves_what_was_seen_is_counted() {
    let sim =
        meridian_sim::Options { tokens: 1000, gap: Duration::from_millis(20), ..meridian_sim::Options::instant() };
    let sandbox = start(Setup { sim, ..Setup::default() }).await;
    let mut body = sandbox.stream(ask_streamed("chat")).await.into_body();
    for _ in 0..5 {
        timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
    }
    drop(body);
    eventually("the request has ended", || sandbox.node.in_flight() == 0).await;
    let (_, output) = counted(&sandbox, "first").await;
    assert!((4..1000).contains(&output), "{output}");
}
