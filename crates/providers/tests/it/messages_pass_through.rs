//! Clients that speak Anthropic's Messages, in front of Anthropic: what goes up and what comes down is what was sent.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use meridian_llm::{ClientRequest, Endpoint, FailureClass, Usage};
use proptest::prelude::*;

use crate::support::{context_of, fixture, provider, request_to, run, run_messages};

const NAME: &str = "anthropic";

#[test]
fn tools_vision_thinking_and_unknown_fields_pass_unharmed() {
    let sent = fixture("anthropic/messages.request.json");
    let request = request_to(Endpoint::Messages, &sent);
    let upstream = provider(NAME).chat_request(&request, "claude-up").unwrap();
    assert_eq!(std::str::from_utf8(&upstream.body).unwrap(), sent.replace("\"public-name\"", "\"claude-up\""));
    assert_eq!((upstream.path_and_query.as_str(), upstream.method), ("/messages", http::Method::POST));
    assert_eq!(upstream.headers["accept"], "text/event-stream");
    assert_eq!(upstream.headers["anthropic-version"], "2023-06-01", "for clients that leave it out");
    assert!(upstream.adjusted.is_empty());
}

#[test]
fn the_clients_version_and_betas_go_along() {
    let mut headers = HeaderMap::new();
    for (name, value) in [("anthropic-version", "2030-01-01"), ("anthropic-beta", "a,b"), ("anthropic-beta", "c")] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let body = Bytes::from_static(br#"{"model":"m"}"#);
    let request = ClientRequest::parse(Endpoint::CountTokens, &headers, body).unwrap();
    let upstream = provider(NAME).chat_request(&request, "claude-up").unwrap();
    assert_eq!(upstream.path_and_query, "/messages/count_tokens");
    assert_eq!(upstream.headers.get_all("anthropic-version").iter().collect::<Vec<_>>(), ["2030-01-01"]);
    assert_eq!(upstream.headers.get_all("anthropic-beta").iter().collect::<Vec<_>>(), ["a,b", "c"]);
}

#[test]
fn streams_pass_byte_for_byte_with_their_usage() {
    for (name, prompt_tokens, completion_tokens, reasoning_tokens) in
        [("text", 25, 15, 0), ("tools", 602, 89, 0), ("thinking", 10, 40, 22), ("crlf", 25, 15, 0)]
    {
        let stream = fixture(&format!("anthropic/{name}.sse"));
        let outcome = run_messages(NAME, &stream);
        assert_eq!(outcome.text, stream, "{name}");
        assert!(outcome.content && outcome.done, "{name}");
        let usage = outcome.usage.unwrap();
        let got = (usage.prompt_tokens, usage.completion_tokens, usage.reasoning_tokens);
        assert_eq!(got, (prompt_tokens, completion_tokens, reasoning_tokens), "{name}");
    }
}

#[test]
fn start_up_events_are_not_content() {
    for (name, first_content) in [("text", 3), ("tools", 3), ("thinking", 2)] {
        let stream = fixture(&format!("anthropic/{name}.sse"));
        let ends: Vec<usize> = stream.match_indices("\n\n").map(|(at, _)| at + 2).collect();
        for (at, &end) in ends.iter().enumerate() {
            assert_eq!(run_messages(NAME, &stream[..end]).content, at >= first_content, "{name} after event {at}");
        }
    }
}

#[test]
fn a_lost_message_stop_is_written_for_the_client() {
    let stream = fixture("anthropic/text.sse");
    let cut = stream.find("event: message_stop").unwrap();
    let outcome = run_messages(NAME, &stream[..cut]);
    assert_eq!(outcome.failure, None);
    assert!(outcome.text.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
}

#[track_caller]
fn check_fails(stream: &str, class: FailureClass, client_code: &str) {
    let outcome = run_messages(NAME, stream);
    let failure = outcome.failure.unwrap_or_else(|| panic!("{stream} passed"));
    assert_eq!((failure.class, failure.client_code.as_str()), (class, client_code), "{stream}");
    assert!(!outcome.text.contains("message_stop"), "{stream}");
}

#[test]
fn broken_streams_fail_and_their_last_event_is_not_sent() {
    use FailureClass::{Provider, Saturation};
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\n";
    let stop = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    check_fails("", Provider, "upstream_interrupted");
    check_fails(stop, Provider, "upstream_invalid_response");
    check_fails(&format!("{start}{stop}"), Provider, "upstream_interrupted");
    check_fails(&format!("{start}{start}"), Provider, "upstream_invalid_response");
    check_fails(&format!("{start}data: {{\"type\":\"content_blo\n\n"), Provider, "upstream_invalid_response");
    check_fails(&format!("{start}data: {{}}\n\n"), Provider, "upstream_invalid_response");
    check_fails("data: <html>\n\n", Provider, "upstream_invalid_response");
    let error =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}\n\n";
    check_fails(&format!("{start}{error}"), Saturation, "upstream_overloaded");
    check_fails("event: error\ndata: {\"type\":\"error\"}\n\n", Provider, "upstream_invalid_response");
}

#[test]
fn whole_answers_pass_unharmed_and_broken_ones_do_not() {
    let answer = |endpoint, body: &'static str| provider(NAME).chat_response(&context_of(endpoint, true), &body.into());
    let body = "{\"id\":\"x\", \"content\":[{\"type\":\"text\",\"text\":\"\\ud83d\"}],\n\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4},\"new\":1e999}";
    let passed = answer(Endpoint::Messages, body).unwrap();
    assert_eq!(passed.body, body);
    assert_eq!(passed.usage, Some(Usage { prompt_tokens: 3, completion_tokens: 4, ..Usage::default() }));
    let counted = answer(Endpoint::CountTokens, "{\"input_tokens\": 14}").unwrap();
    assert_eq!((&*counted.body, counted.usage), (&b"{\"input_tokens\": 14}"[..], None));
    for broken in ["", "<html>", "{}", "[]", "{\"stop_reason\":null}", "{\"error\":{\"type\":\"api_error\"}}"] {
        for endpoint in [Endpoint::Messages, Endpoint::CountTokens] {
            assert_eq!(answer(endpoint, broken).unwrap_err().class, FailureClass::Provider, "{broken}");
        }
    }
}

proptest! {
    #[test]
    fn unknown_events_and_fields_survive_wherever_they_come(
        at in 0..7_usize, kind in "[a-z]{1,4}_new", extra in "[a-zA-Z0-9 ]{0,12}", cut: prop::sample::Index,
    ) {
        let fixture = fixture("anthropic/text.sse");
        let mut events: Vec<String> = fixture.split_inclusive("\n\n").map(str::to_owned).collect();
        let known = events[at].replacen("{\"type\":", &format!("{{\"{kind}\":[{{\"a\":\"{extra}\"}}],\"type\":"), 1);
        events[at] = known;
        events.insert(at, format!("event: {kind}\nid: 7\ndata: {{\"type\":\"{kind}\",\ndata: \"x\":\"{extra}\"}}\n\n"));
        let stream = events.concat();
        let (a, b) = stream.as_bytes().split_at(cut.index(stream.len()));
        let outcome = run(NAME, context_of(Endpoint::Messages, true), [a, b]);
        prop_assert_eq!(outcome.failure, None);
        prop_assert_eq!(outcome.text, stream);
    }
}
