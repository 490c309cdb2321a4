//! Streams cut at any place and joined again, in both dialects.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::anthropic::EventWriter;
use crate::openai::ChunkWriter;
use crate::{FinishReason, StreamEvent};

/// A stream of one upstream, an entry an event.
fn stream(dialect: Dialect, id: &str, events: &[StreamEvent<'_>]) -> Vec<Bytes> {
    let mut out = BytesMut::new();
    match dialect {
        Dialect::OpenAi => {
            let writer = ChunkWriter::new(id.to_owned(), format!("model-{id}"), id.len() as u64, true);
            events.iter().for_each(|event| writer.write(&mut out, event));
            if events.iter().any(|event| matches!(event, StreamEvent::Finish(_))) {
                out.extend_from_slice(&meridian_sse::done());
            }
        }
        Dialect::Anthropic => {
            let mut writer = EventWriter::new(id.to_owned(), format!("model-{id}"));
            events.iter().for_each(|event| writer.write(&mut out, event).unwrap());
            if events.iter().any(|event| matches!(event, StreamEvent::Finish(_))) {
                writer.end(&mut out);
            }
        }
    }
    split(&out.freeze())
}

fn split(bytes: &Bytes) -> Vec<Bytes> {
    let mut framer = Framer::default();
    framer.feed(bytes.clone());
    std::iter::from_fn(|| framer.next_event().unwrap()).map(|event| event.into_raw()).collect()
}

fn begin(dialect: Dialect, pieces: &[&str]) -> Vec<Bytes> {
    let mut events = vec![StreamEvent::Start];
    events.extend(pieces.iter().map(|piece| StreamEvent::Text((*piece).into())));
    stream(dialect, "first", &events)
}

fn go_on(dialect: Dialect, id: &str, pieces: &[&str], usage: Option<Usage>) -> Vec<Bytes> {
    let mut events = vec![StreamEvent::Start];
    events.extend(pieces.iter().map(|piece| StreamEvent::Text((*piece).into())));
    if let Some(usage) = usage {
        events.extend([StreamEvent::Finish(FinishReason::Stop), StreamEvent::Usage(usage)]);
    }
    stream(dialect, id, &events)
}

/// What a client has at the end: text, reason, and completion tokens. Checks on the way that it was one message.
fn client(dialect: Dialect, events: &[Bytes]) -> (String, Option<String>, Option<u64>) {
    let mut seen = (String::new(), None, None);
    let (mut starts, mut open, mut blocks, mut over) = (0, None, 0, false);
    for event in events.iter().flat_map(split) {
        assert!(!over, "nothing follows the end mark");
        let text = std::str::from_utf8(&event).unwrap();
        let data = text.split("data: ").nth(1).unwrap().trim_end();
        if data == "[DONE]" {
            over = true;
            continue;
        }
        let data: Value = serde_json::from_str(data).unwrap();
        if dialect == Dialect::OpenAi {
            assert_eq!(
                (&data["id"], &data["model"], &data["created"]),
                (&"first".into(), &"model-first".into(), &5.into())
            );
            let choice = &data["choices"][0];
            starts += u32::from(choice["delta"]["role"].is_string());
            seen.0.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            if let Some(reason) = choice["finish_reason"].as_str() {
                assert!(seen.1.replace(reason.to_owned()).is_none(), "one reason");
            }
            seen.2 = data["usage"]["completion_tokens"].as_u64().or(seen.2);
            continue;
        }
        assert!(text.starts_with(&format!("event: {}\n", data["type"].as_str().unwrap())));
        match data["type"].as_str().unwrap() {
            "message_start" => {
                starts += 1;
                assert_eq!(data["message"]["id"], "first");
            }
            "content_block_start" => {
                assert_eq!((data["index"].as_u64(), open), (Some(blocks), None));
                open = data["index"].as_u64();
                blocks += 1;
            }
            "content_block_delta" => {
                assert_eq!(data["index"].as_u64(), open, "a piece of the open block");
                seen.0.push_str(data["delta"]["text"].as_str().unwrap_or_default());
            }
            "content_block_stop" => assert_eq!(data["index"].as_u64(), open.take(), "the open block ends"),
            "message_delta" => {
                assert_eq!(open, None, "every block has ended");
                assert!(seen.1.replace(data["delta"]["stop_reason"].as_str().unwrap().to_owned()).is_none());
                seen.2 = data["usage"]["output_tokens"].as_u64();
            }
            "message_stop" => over = true,
            other => panic!("{other}"),
        }
    }
    assert_eq!(starts, 1, "one beginning");
    seen
}

/// Joins streams: each but the last dies where it ends. Gives what the client got, and what each target was given.
fn join(dialect: Dialect, streams: &[Vec<Bytes>]) -> (Vec<Bytes>, Vec<String>) {
    let mut transcript = Transcript::new(dialect);
    let (mut sent, mut prefixes) = (Vec::new(), Vec::new());
    for (at, events) in streams.iter().enumerate() {
        let mut splice = (at > 0).then(|| {
            prefixes.push(transcript.begun().unwrap().text.to_owned());
            transcript.splice()
        });
        for event in events {
            let event = match &mut splice {
                Some(splice) => splice.rewrite(event).unwrap(),
                None => event.clone(),
            };
            transcript.add(&event);
            sent.push(event);
        }
    }
    (sent, prefixes)
}

const BOTH: [Dialect; 2] = [Dialect::OpenAi, Dialect::Anthropic];

fn used(prompt_tokens: u64, completion_tokens: u64) -> Usage {
    Usage { prompt_tokens, completion_tokens, ..Usage::default() }
}

#[test]
fn the_client_has_one_answer_with_the_tokens_of_all_parts() {
    for dialect in BOTH {
        let parts = [
            begin(dialect, &["One", " two", " "]),
            go_on(dialect, "second", &[" three"], None),
            go_on(dialect, "third", &[" four", " five"], Some(used(20, 2))),
        ];
        let (sent, prefixes) = join(dialect, &parts);
        assert_eq!(prefixes, ["One two", "One two three"]);
        let (text, reason, tokens) = client(dialect, &sent);
        assert_eq!(text, "One two three four five");
        assert!(matches!(reason.as_deref(), Some("stop" | "end_turn")));
        assert_eq!(tokens, Some(6), "four pieces and two that the last one counted");
        let last = sent.iter().rev().find_map(|event| {
            let text = std::str::from_utf8(event).ok()?;
            serde_json::from_str::<Value>(text.split("data: ").nth(1)?.trim_end())
                .ok()
                .filter(|d| d["usage"].is_object())
        });
        let usage = last.unwrap()["usage"].clone();
        let prompt = usage.get("prompt_tokens").or(usage.get("input_tokens"));
        assert_eq!(prompt, Some(&16.into()), "without the four tokens that were given back to it");
        if dialect == Dialect::OpenAi {
            assert_eq!(usage["total_tokens"], 22);
        }
    }
}

#[test]
fn a_target_that_has_nothing_to_add_ends_the_answer() {
    for dialect in BOTH {
        let (sent, _) = join(dialect, &[begin(dialect, &["All"]), go_on(dialect, "second", &[], Some(used(9, 1)))]);
        let (text, reason, _) = client(dialect, &sent);
        assert_eq!((text.as_str(), reason.is_some()), ("All", true));
    }
}

#[test]
fn a_tool_may_be_called_after_the_seam_and_blocks_go_on_counting() {
    for dialect in BOTH {
        let call = [
            StreamEvent::Start,
            StreamEvent::ToolCallStart { index: 0, id: "c".into(), name: "f".into() },
            StreamEvent::ToolCallArguments { index: 0, fragment: "{}".into() },
            StreamEvent::Finish(FinishReason::ToolCalls),
        ];
        let (sent, _) = join(dialect, &[begin(dialect, &["Let me"]), stream(dialect, "second", &call)]);
        let (text, reason, _) = client(dialect, &sent);
        assert_eq!(text, "Let me");
        assert!(matches!(reason.as_deref(), Some("tool_calls" | "tool_use")));
        assert!(sent.iter().any(|event| event.windows(4).any(|w| w == b"\"f\"," || w == b"\"f\"}")));
    }
}

#[test]
fn the_prompt_that_the_client_was_shown_is_shown_again() {
    let start = r#"{"type":"message_start","message":{"id":"first","usage":{"input_tokens":7,"cache_read_input_tokens":3,"output_tokens":1}}}"#;
    let block = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"Hi"}}"#;
    let mut transcript = Transcript::new(Dialect::Anthropic);
    for (name, data) in [("message_start", start), ("content_block_start", block)] {
        transcript.add(&meridian_sse::named(name, data.as_bytes()));
    }
    assert_eq!(transcript.begun(), Some(Begun { text: "Hi", tokens: 1 }));
    let mut splice = transcript.splice();
    let end = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":90,"cache_read_input_tokens":0,"output_tokens":5}}"#;
    let sent = splice.rewrite(&meridian_sse::named("message_delta", end.as_bytes())).unwrap();
    let sent = std::str::from_utf8(&sent).unwrap();
    assert!(sent.starts_with("event: content_block_stop\n"), "the open block ends first: {sent}");
    assert!(sent.contains(r#""usage":{"cache_read_input_tokens":3,"input_tokens":7,"output_tokens":6}"#), "{sent}");
}

#[test]
fn only_text_is_continued() {
    let openai = |choice: &str| format!(r#"{{"id":"first","choices":[{choice}]}}"#);
    for choice in [
        r#"{"index":0,"delta":{"tool_calls":[{"index":0}]}}"#,
        r#"{"index":0,"delta":{"reasoning_content":"hm"}}"#,
        r#"{"index":0,"delta":{"refusal":"no"}}"#,
        r#"{"index":0,"delta":{"content":"a"},"logprobs":{"content":[1]}}"#,
        r#"{"index":0,"delta":{"content":"\ud83d"}}"#,
        r#"{"index":1,"delta":{"content":"a"}}"#,
        r#"{"index":0,"delta":{},"finish_reason":"stop"}"#,
    ] {
        let mut transcript = Transcript::new(Dialect::OpenAi);
        transcript.add(&meridian_sse::data(openai(r#"{"index":0,"delta":{"content":"a","refusal":null}}"#).as_bytes()));
        assert!(transcript.begun().is_some());
        transcript.add(&meridian_sse::data(openai(choice).as_bytes()));
        assert_eq!(transcript.begun(), None, "{choice}");
    }
    for data in [
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"a":1}}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
        "nonsense",
    ] {
        let mut transcript = Transcript::new(Dialect::Anthropic);
        transcript.add(&meridian_sse::named("x", data.as_bytes()));
        assert_eq!(transcript.begun(), None, "{data}");
    }
}

#[test]
fn the_text_that_is_kept_is_bounded() {
    for dialect in BOTH {
        let piece = "x".repeat(MAX_KEPT_BYTES / 2);
        let mut transcript = Transcript::new(dialect);
        for (at, event) in begin(dialect, &[&piece, &piece, "x"]).iter().enumerate() {
            transcript.add(event);
            assert!(transcript.said.text.capacity() <= 2 * MAX_KEPT_BYTES, "{at}");
        }
        assert_eq!((transcript.begun(), transcript.said.text.capacity()), (None, 0));
    }
}

#[test]
fn debug_output_never_shows_what_was_said() {
    let mut transcript = Transcript::new(Dialect::OpenAi);
    begin(Dialect::OpenAi, &["secret"]).iter().for_each(|event| transcript.add(event));
    let begun = transcript.begun().unwrap();
    assert!(!format!("{transcript:?}{begun:?}{:?}", transcript.splice()).contains("secret"));
}

/// Pieces of `size` characters.
fn pieces(text: &str, size: usize) -> Vec<String> {
    let all: Vec<char> = text.chars().collect();
    all.chunks(size).map(|piece| piece.iter().collect()).collect()
}

proptest! {
    #[test]
    fn wherever_it_is_cut_the_joined_text_is_the_whole(
        whole in "([a-z\u{1F30D}\"\\\\]{1,4}[ \n]{0,3}){1,8}",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..3),
        size in 1usize..6,
        anthropic: bool,
        repeats: bool,
    ) {
        let dialect = BOTH[usize::from(anthropic)];
        let places: Vec<usize> = whole.char_indices().map(|(at, _)| at).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| places[cut.index(places.len())]).collect();
        cuts.sort_unstable();
        cuts.push(whole.len());
        let mut from = 0;
        let mut streams = Vec::new();
        for (at, to) in cuts.iter().enumerate() {
            let (said, rest) = (&whole[..from], &whole[from..*to]);
            let space = &said[said.trim_end().len()..];
            // Whoever goes on without the white space at the end of what was said has none of his own to add.
            let again = repeats || rest.starts_with([' ', '\n']);
            let part = pieces(&format!("{}{rest}", if again { space } else { "" }), size);
            let part: Vec<&str> = part.iter().map(String::as_str).collect();
            let usage = (at + 1 == cuts.len()).then(|| used(9, 3));
            streams.push(if at == 0 { begin(dialect, &part) } else { go_on(dialect, "other", &part, usage) });
            from = *to;
        }
        let (sent, prefixes) = join(dialect, &streams);
        prop_assert!(prefixes.iter().all(|prefix| prefix.trim_end() == prefix && whole.starts_with(prefix)));
        let (text, reason, tokens) = client(dialect, &sent);
        prop_assert_eq!(text, whole);
        prop_assert!(reason.is_some() && tokens.is_some());
    }
}
