//! What a journal says of requests of every kind.

use http::HeaderMap;
use meridian_llm::FailureClass;

use super::*;

fn target(provider: &str) -> TargetId {
    TargetId { provider: provider.parse().unwrap(), model: "up".parse().unwrap() }
}

fn model(name: &str) -> ModelName {
    name.parse().unwrap()
}

fn journal() -> Journal {
    let id = RequestId::of(&HeaderMap::new(), "eu", "n1", &meridian_host::OsEntropy);
    Journal::begin(id, Endpoint::ChatCompletions, "acme".parse().unwrap(), Instant::now(), 1_000_000)
}

async fn pass(ms: u64) {
    tokio::time::advance(Duration::from_millis(ms)).await;
}

fn failure(class: FailureClass, status: u16) -> Failure {
    Failure { status: Some(status), ..Failure::new(class, "it broke") }
}

#[tokio::test(start_paused = true)]
async fn overlapping_attempts_have_a_result_and_times_each() {
    let journal = journal();
    journal.asked("large", true);
    pass(5).await;
    let first = journal.attempt(&target("a"), &model("large"));
    pass(10).await;
    // A hedge, which wins.
    let second = journal.attempt(&target("b"), &model("small"));
    pass(20).await;
    second.end(Ok(&()));
    drop(second);
    journal.first_content();
    pass(1).await;
    drop(first);
    pass(64).await;
    journal.interrupted(&target("b"), &Failure::new(FailureClass::Transport, "the connection broke"));
    let closed = journal.close("failed", "upstream_interrupted");
    let record = closed.record("n1", "eu");
    assert!(closed.is(&record.request_id) && !closed.is("another"));
    assert_eq!((record.first_content_ms, record.duration_ms, record.began_unix_ms), (Some(35), 100, 1_000_000));
    let seen: Vec<_> = record
        .attempts
        .iter()
        .map(|a| (a.provider.as_str(), a.began_ms, a.took_ms, a.result.as_str(), a.after_content))
        .collect();
    assert_eq!(seen, [("a", 5, 31, "dropped", false), ("b", 15, 20, "transport", true)]);
    assert_eq!(record.attempts[0].fallback_model, "");
    assert_eq!(record.attempts[1].fallback_model, "small");
    assert_eq!(record.attempts[1].why, "the connection broke");
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_its_status_and_what_was_passed_over_its_reason() {
    let journal = journal();
    journal.asked("large", false);
    let note = journal.attempt(&target("a"), &model("large"));
    note.struck(&"0a1b".into());
    pass(7).await;
    note.end::<()>(Err(&failure(FailureClass::Provider, 503)));
    // Later words change nothing.
    note.end(Ok(&()));
    drop(note);
    journal.passed_over(&target("b"), "no free place");
    let record = journal.close("failed", "no_target").record("n1", "eu");
    assert_eq!(
        (record.attempts[0].result.as_str(), record.attempts[0].status, record.attempts[0].took_ms),
        ("provider", 503, 7)
    );
    assert_eq!(record.attempts[0].fault, "0a1b");
    let passed = &record.passed_over[0];
    assert_eq!((passed.target.as_str(), passed.at_ms, passed.why.as_str()), ("b:up", 7, "no free place"));
}

#[tokio::test(start_paused = true)]
async fn everything_that_a_client_can_drive_is_bounded() {
    let journal = journal();
    journal.asked(&"é".repeat(1000), true);
    for _ in 0..100 {
        let note = journal.attempt(&target("a"), &model("large"));
        note.end(Ok(&()));
        journal.passed_over(&target("b"), "no free place");
    }
    let record = journal.close("answered", "").record("n1", "eu");
    assert_eq!((record.attempts.len(), record.passed_over.len()), (MAX_ATTEMPTS, MAX_PASSED));
    assert!(record.model.len() <= MAX_MODEL_BYTES && record.model.starts_with('é'));
}

#[tokio::test(start_paused = true)]
async fn who_else_was_asked_has_a_result_and_times() {
    let journal = journal();
    let (node, region) = ("us-1".parse().unwrap(), "us".parse().unwrap());
    pass(5).await;
    for result in [Some("full"), Some("ok"), None, Some("ok"), Some("ok")] {
        let note = journal.hand_over(&node, &region, "exhausted");
        pass(10).await;
        if let Some(result) = result {
            note.end(result);
            note.end("failed");
        }
    }
    let record = journal.close("answered", "").record("n1", "eu");
    let seen: Vec<_> = record.handovers.iter().map(|h| (h.began_ms, h.took_ms, h.result.as_str())).collect();
    assert_eq!(seen, [(5, 10, "full"), (15, 10, "ok"), (25, 10, "dropped"), (35, 10, "ok")], "and no more than four");
    let first = &record.handovers[0];
    assert_eq!((first.node.as_str(), first.region.as_str(), first.reason.as_str()), ("us-1", "us", "exhausted"));
}
