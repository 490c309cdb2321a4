//! What holds for every provider, whatever it is sent.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use meridian_llm::{Endpoint, Failure, FailureClass};
use meridian_providers::{CallContext, Step, completion_came, completion_probe, find, registry};
use meridian_sse::Framer;
use meridian_types::provider::TokenLimit;
use proptest::prelude::*;

use crate::support::{Outcome, context_of, fixture, run};

const STREAMS: [(&str, &str); 7] = [
    ("openai_compatible", "openai_compatible/text.sse"),
    ("openai_compatible", "openai_compatible/tools.sse"),
    ("openai_compatible", "openai_compatible/azure.sse"),
    ("anthropic", "anthropic/text.sse"),
    ("anthropic", "anthropic/tools.sse"),
    ("anthropic", "anthropic/thinking.sse"),
    ("anthropic", "anthropic/crlf.sse"),
];

/// What clients of each dialect take for the end of an answer and for its reason.
const CLIENTS: [(Endpoint, &str, &str); 2] = [
    (Endpoint::ChatCompletions, "data: [DONE]\n\n", "\"finish_reason\":\""),
    (Endpoint::Messages, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "\"stop_reason\":\""),
];

/// Every stream for every client. Fixtures write JSON with spaces here and there, and one has CRLF.
fn all() -> impl Iterator<Item = (&'static str, &'static str, Endpoint, [&'static str; 2])> {
    STREAMS.into_iter().flat_map(|(provider, name)| {
        CLIENTS.into_iter().map(move |(endpoint, end, reason)| (provider, name, endpoint, [end, reason]))
    })
}

/// Without differences that say nothing. A line feed that comes after an event has gone out is dropped, so that the blank
/// line of a forwarded event may be a lone `\r`.
fn plain(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace("\": ", "\":")
}

fn run_plain<'a>(name: &str, context: &CallContext, chunks: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let outcome = run(name, context.clone(), chunks);
    Outcome { text: plain(&outcome.text), ..outcome }
}

#[test]
fn a_cut_between_any_two_bytes_changes_nothing() {
    for (provider, name, endpoint, _) in all() {
        let stream = fixture(name);
        let context = context_of(endpoint, true);
        let whole = run_plain(provider, &context, [stream.as_bytes()]);
        assert!(whole.done && whole.failure.is_none(), "{name}: {whole:?}");
        for at in 0..stream.len() {
            let (a, b) = stream.as_bytes().split_at(at);
            assert_eq!(run_plain(provider, &context, [a, b]), whole, "{name} to {endpoint:?} cut at {at}");
        }
        assert_eq!(run_plain(provider, &context, stream.as_bytes().chunks(1)), whole, "{name} byte by byte");
    }
}

#[test]
fn a_stream_that_ends_early_is_complete_only_after_its_finish() {
    for (provider, name, endpoint, [end_mark, reason]) in all() {
        let stream = fixture(name).replace("\r\n", "\n");
        let ends: Vec<usize> = stream.match_indices("\n\n").map(|(at, _)| at + 2).collect();
        let mut complete = 0;
        for &end in &ends {
            let outcome = run(provider, context_of(endpoint, true), [&stream.as_bytes()[..end]]);
            let sent = plain(&outcome.text);
            let Some(failure) = outcome.failure else {
                complete += 1;
                assert!(sent.ends_with(end_mark) && sent.contains(reason), "{name} to {endpoint:?} at {end}: {sent}");
                continue;
            };
            assert!(!sent.contains(end_mark), "{name} at {end}: an end mark without an end");
            assert_eq!(failure.client_code.as_str(), "upstream_interrupted", "{name} at {end}");
            assert_eq!(failure.class, FailureClass::Provider);
        }
        assert!((1..ends.len()).contains(&complete), "{name}: {complete} of {} ends", ends.len());
    }
}

#[test]
fn after_an_early_end_the_sent_bytes_are_a_prefix_of_the_whole() {
    for (provider, name, endpoint, [end_mark, _]) in all() {
        let stream = fixture(name);
        let context = context_of(endpoint, false);
        let whole = plain(&run(provider, context.clone(), [stream.as_bytes()]).text);
        for end in 0..stream.len() {
            let outcome = run(provider, context.clone(), [&stream.as_bytes()[..end]]);
            let sent = plain(&outcome.text);
            // What a translation knows only at the end (usage) comes with the end mark.
            let sent = match sent.strip_suffix(end_mark) {
                Some(sent) => sent.split("event: message_delta").next().unwrap(),
                None => &sent,
            };
            assert!(whole.starts_with(sent), "{name} to {endpoint:?} at {end}: {sent}");
        }
    }
}

const BODIES: [&[u8]; 9] = [
    b"",
    b"<html>",
    b"{}",
    b"{\"error\":{}}",
    b"{\"error\":\"text\"}",
    b"[[[[",
    b"\xff\xfe",
    br#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#,
    br#"{"error":{"type":"invalid_request_error","message":"m","code":null}}"#,
];

#[test]
fn every_status_has_a_class_and_an_upstreams_401_to_403_are_never_the_clients_fault() {
    for provider in registry() {
        for status in 100..600 {
            let status = StatusCode::from_u16(status).unwrap();
            for body in BODIES {
                let failure = provider.classify(status, &HeaderMap::new(), body);
                assert_eq!(failure.status, Some(status.as_u16()));
                if matches!(status.as_u16(), 401..=403) {
                    // None of the bodies says what a 403 is about.
                    let credential = status != StatusCode::FORBIDDEN;
                    let expected = if credential { FailureClass::Credential } else { FailureClass::Provider };
                    assert_eq!(failure.class, expected, "{} {status}", provider.name());
                    assert_eq!(failure.reply, None);
                    assert_eq!(failure.client_error().status(), StatusCode::BAD_GATEWAY);
                }
                if status.is_server_error() {
                    assert_ne!(failure.class, FailureClass::Client, "{} {status}", provider.name());
                }
                assert!(failure.reply.is_none_or(|reply| (400..500).contains(&reply.status)), "{status}");
            }
        }
    }
}

#[test]
fn credentials_are_set_marked_sensitive_and_checked() {
    for provider in registry() {
        let mut headers = HeaderMap::new();
        provider.authorize(&mut headers, "sk-secret").unwrap();
        assert_eq!(headers.len(), 1);
        assert!(headers.values().all(http::HeaderValue::is_sensitive), "{}", provider.name());
        assert!(!format!("{headers:?}").contains("sk-secret"));
        assert!(provider.authorize(&mut headers, "sk\nx: y").is_err());
    }
}

fn json_pieces() -> impl Strategy<Value = String> {
    let words = vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"type\":",
        "\"message_start\"",
        "\"message\":",
        "\"id\":\"a\"",
        "\"model\":\"m\"",
        "\"content_block_start\"",
        "\"content_block\":",
        "\"tool_use\"",
        "\"name\":\"f\"",
        "\"index\":",
        "0",
        "18446744073709551615",
        "\"content_block_delta\"",
        "\"delta\":",
        "\"text\":\"x\"",
        "\"partial_json\":\"{\"",
        "\"content_block_stop\"",
        "\"message_delta\"",
        "\"stop_reason\":\"end_turn\"",
        "\"usage\":",
        "\"output_tokens\":1",
        "\"message_stop\"",
        "null",
        "\"choices\":",
        "\"finish_reason\":\"stop\"",
        "\"error\":",
        "\"code\":",
        "\"content\":\"\\ud83d\"",
        "[DONE]",
    ];
    prop::collection::vec(prop::sample::select(words), 0..12).prop_map(|words| words.concat())
}

/// Well-formed events in any order, some of them with one part cut out.
fn event_orders() -> impl Strategy<Value = Vec<String>> {
    let events: Vec<String> = STREAMS
        .iter()
        .flat_map(|(_, name)| fixture(name).split("\n\n").map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let event =
        (prop::sample::select(events), any::<prop::sample::Index>(), 0..4_usize).prop_map(|(mut event, at, cut)| {
            if event.is_ascii() && !event.is_empty() && cut == 0 {
                event.remove(at.index(event.len()));
            }
            event
        });
    prop::collection::vec(event, 0..24)
}

proptest! {
    #[test]
    fn no_translator_panics_on_arbitrary_events(datas in prop::collection::vec(json_pieces(), 0..8), include_usage: bool) {
        feed_all(datas.iter().map(|data| format!("data: {data}\n\n")), include_usage);
    }

    #[test]
    fn no_translator_panics_on_events_out_of_order(events in event_orders(), include_usage: bool) {
        feed_all(events.iter().map(|event| format!("{event}\n\n")), include_usage);
    }

    #[test]
    fn no_codec_panics_on_arbitrary_bodies(body in prop_oneof![prop::collection::vec(any::<u8>(), 0..64), json_pieces().prop_map(String::into_bytes)]) {
        for provider in registry() {
            for endpoint in [Endpoint::ChatCompletions, Endpoint::Messages, Endpoint::CountTokens] {
                let _ = provider.chat_response(&context_of(endpoint, true), &Bytes::from(body.clone()));
            }
            let _ = provider.classify(StatusCode::BAD_REQUEST, &HeaderMap::new(), &body);
        }
    }
}

/// Goes on after failures and ends: a translator that is finished stays silent.
fn feed_all(events: impl Iterator<Item = String> + Clone, include_usage: bool) {
    for (provider, endpoint) in registry().iter().flat_map(|p| CLIENTS.map(|(endpoint, ..)| (p, endpoint))) {
        let mut translator = provider.stream(context_of(endpoint, include_usage));
        let mut last = None;
        for event in events.clone() {
            let mut framer = Framer::default();
            framer.feed(Bytes::from(event));
            while let Ok(Some(event)) = framer.next_event() {
                let result = translator.event(event);
                check_silent(last.as_ref(), &result);
                last = Some(result);
            }
        }
        check_silent(last.as_ref(), &translator.end());
    }
}

fn check_silent(before: Option<&Result<Step, Failure>>, now: &Result<Step, Failure>) {
    match before {
        Some(Err(failure)) => assert_eq!(now.as_ref(), Err(failure)),
        Some(Ok(step)) if step.done => assert!(now.as_ref().is_ok_and(|now| now.done && now.bytes.is_empty())),
        _ => {}
    }
}

#[test]
fn probes_are_cheap_reads() {
    for provider in registry() {
        let probe = provider.probe_request();
        assert_eq!((probe.method, probe.path_and_query.as_str()), (http::Method::GET, "/models"));
        assert_eq!(probe.headers.contains_key("anthropic-version"), provider.name() == "anthropic");
    }
}

#[test]
fn every_codec_asks_for_one_token_of_the_named_model_and_knows_when_it_came() {
    for (provider, configured, path, limit, answer) in [
        ("openai_compatible", None, "/chat/completions", "max_completion_tokens", OPENAI_ANSWER),
        ("openai_compatible", Some(TokenLimit::MaxTokens), "/chat/completions", "max_tokens", OPENAI_ANSWER),
        ("anthropic", None, "/messages", "max_tokens", ANTHROPIC_ANSWER),
    ] {
        let codec = find(provider).unwrap();
        let probe = completion_probe(codec, configured, "small").unwrap();
        assert_eq!((probe.method, probe.path_and_query.as_str()), (http::Method::POST, path), "{provider}");
        let asked: serde_json::Value = serde_json::from_slice(&probe.body).unwrap();
        assert_eq!((&asked["model"], &asked[limit]), (&"small".into(), &1.into()), "{provider}: {asked}");
        assert_eq!(asked["messages"].as_array().unwrap().len(), 1, "{provider}: {asked}");
        assert_ne!(asked["stream"], true, "{provider}");

        let came = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            completion_came(codec, "small", status, &HeaderMap::new(), &Bytes::from_static(body.as_bytes()))
                .map_err(|failure| failure.class)
        };
        assert_eq!(came(200, answer), Ok(()), "{provider}");
        let error = r#"{"type":"error","error":{"type":"api_error","message":"m","code":"server_error"}}"#;
        for body in [error, "{}", "", "<html>"] {
            assert_eq!(came(200, body), Err(FailureClass::Provider), "{provider}: {body}");
        }
        assert_eq!(came(429, "{}"), Err(FailureClass::Saturation), "{provider}");
        assert_eq!(came(401, "{}"), Err(FailureClass::Credential), "{provider}");
    }
    let names: BTreeSet<_> = registry().iter().map(|codec| codec.name()).collect();
    assert_eq!(names, ["anthropic", "openai_compatible"].into(), "a new codec needs a row above");
}

const OPENAI_ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"small","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"length"}],"usage":{"prompt_tokens":8,"completion_tokens":1,"total_tokens":9}}"#;
const ANTHROPIC_ANSWER: &str = r#"{"id":"m","type":"message","role":"assistant","model":"small","content":[{"type":"text","text":"Hello"}],"stop_reason":"max_tokens","stop_sequence":null,"usage":{"input_tokens":8,"output_tokens":1}}"#;
