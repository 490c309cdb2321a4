//! Messages streams become chunk streams.

use meridian_llm::{FailureClass, Usage};

use crate::support::{fixture, golden, run_whole};

const NAME: &str = "anthropic";

#[test]
fn streams_are_translated_as_recorded() {
    for name in ["text", "tools", "thinking"] {
        let outcome = run_whole(NAME, true, &fixture(&format!("anthropic/{name}.sse")));
        assert_eq!(outcome.failure, None, "{name}");
        golden(&format!("anthropic/{name}.expected.sse"), &outcome.text);
    }
    let lf = run_whole(NAME, true, &fixture("anthropic/text.sse"));
    assert_eq!(run_whole(NAME, true, &fixture("anthropic/crlf.sse")), lf);
}

#[test]
fn usage_counts_cached_input_and_is_written_only_if_asked_for() {
    let outcome = run_whole(NAME, false, &fixture("anthropic/tools.sse"));
    assert!(!outcome.text.contains("usage"));
    let usage = Usage {
        prompt_tokens: 602,
        completion_tokens: 89,
        cached_tokens: 30,
        cache_write_tokens: 100,
        reasoning_tokens: 0,
    };
    assert_eq!(outcome.usage, Some(usage));
}

#[test]
fn content_begins_with_the_first_thing_the_model_wrote() {
    let stream = fixture("anthropic/text.sse");
    let ends: Vec<usize> = stream.match_indices("\n\n").map(|(at, _)| at + 2).collect();
    for (at, &end) in ends.iter().enumerate() {
        let outcome = run_whole(NAME, false, &stream[..end]);
        assert_eq!(outcome.content, at >= 3, "after event {at}: message_start, block start and ping are not content");
    }
}

#[test]
fn stop_reasons_are_mapped() {
    for (reason, expected) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ] {
        let stream = fixture("anthropic/text.sse").replace("end_turn", reason);
        let outcome = run_whole(NAME, false, &stream);
        assert!(outcome.text.contains(&format!("\"finish_reason\":\"{expected}\"")), "{reason}");
    }
}

#[test]
fn a_lost_message_stop_after_the_stop_reason_is_complete() {
    let stream = fixture("anthropic/text.sse");
    let cut = stream.find("event: message_stop").unwrap();
    assert_eq!(run_whole(NAME, true, &stream[..cut]).text, run_whole(NAME, true, &stream).text);
}

#[test]
fn arguments_given_whole_at_the_start_of_a_block_are_written_once() {
    let stream = fixture("anthropic/tools.sse")
        .replace(r#""name":"get_time","input":{}"#, r#""name":"get_time","input":{"zone": "UTC"}"#);
    let outcome = run_whole(NAME, false, &stream);
    assert_eq!(outcome.text.matches(r#"{\"zone\": \"UTC\"}"#).count(), 1);
}

#[track_caller]
fn check_fails(stream: &str, class: FailureClass, code: Option<&str>) {
    let failure = run_whole(NAME, false, stream).failure.unwrap_or_else(|| panic!("{stream} passed"));
    assert_eq!((failure.class, failure.code.as_deref()), (class, code), "{stream}");
}

#[test]
fn errors_inside_a_stream_are_classified() {
    use FailureClass as F;
    let start = fixture("anthropic/text.sse");
    let start = start.split_inclusive("\n\n").next().unwrap();
    let error = |kind: &str| {
        format!(
            "{start}event: error\ndata: {{\"type\": \"error\", \"error\": {{\"type\": \"{kind}\", \"message\": \"Overloaded\"}}}}\n\n"
        )
    };
    // The example of the reference, section "Error events".
    check_fails(&error("overloaded_error"), F::Saturation, Some("overloaded_error"));
    check_fails(&error("rate_limit_error"), F::Saturation, Some("rate_limit_error"));
    check_fails(&error("api_error"), F::Provider, Some("api_error"));
    check_fails(&error("authentication_error"), F::Credential, Some("authentication_error"));
    check_fails(&error("brand_new_error"), F::Provider, Some("brand_new_error"));
    check_fails("event: error\ndata: {\"type\":\"error\"}\n\n", F::Provider, None);
}

#[test]
fn broken_streams_fail() {
    use FailureClass::Provider;
    let good = fixture("anthropic/text.sse");
    let start = good.split_inclusive("\n\n").next().unwrap();
    check_fails("", Provider, None);
    check_fails("data: [DONE]\n\n", Provider, None);
    check_fails("data: {}\n\n", Provider, None);
    check_fails(&format!("{start}{start}"), Provider, None);
    check_fails(&format!("{start}data: {{\"type\":\"message_stop\"}}\n\n"), Provider, None);
    check_fails(&format!("{start}data: {{\"type\":\"content_block_delta\"}}\n\n"), Provider, None);
    check_fails(good.split_inclusive("\n\n").nth(3).unwrap(), Provider, None);
    let calls: String = (0..300).map(|i| format!("data: {{\"type\":\"content_block_start\",\"index\":{i},\"content_block\":{{\"type\":\"tool_use\",\"id\":\"a\",\"name\":\"f\"}}}}\n\n")).collect();
    check_fails(&format!("{start}{calls}"), Provider, None);
}
