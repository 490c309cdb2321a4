//! Judges one stream event in one scan, so that it can be forwarded as it came.

use super::Counts;
use crate::json::{Cursor, JsonError, Text};

/// The kinds of stream event that matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// `message_start`: id, model, first counts.
    MessageStart,
    /// `content_block_start`.
    BlockStart,
    /// `content_block_delta`.
    BlockDelta,
    /// `content_block_stop`.
    BlockStop,
    /// `message_delta`: the stop reason and the last counts.
    MessageDelta,
    /// `message_stop`: the end.
    MessageStop,
    /// `error`.
    Error,
    /// `ping`, and whatever is added later (<https://platform.claude.com/docs/en/api/versioning>).
    Other,
}

/// What an event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventFacts {
    /// Which it is.
    pub kind: EventKind,
    /// Something the model wrote: text, thinking, a signature, a tool call. The start of an empty text is not content.
    pub content: bool,
    /// It says why generation ended.
    pub finished: bool,
    /// Token counts, where the event says so.
    pub counts: Option<Counts>,
}

/// Scans the data of one event, without allocation (except for keys written with escapes).
///
/// # Errors
/// When it is not one well-formed JSON object with a `type`.
pub fn inspect_event(data: &[u8]) -> Result<EventFacts, JsonError> {
    let mut kind = None;
    let (mut in_block, mut in_delta, mut finished, mut counts) = (false, false, false, None);
    let mut cursor = Cursor::new(data)?;
    cursor.object::<JsonError>(|cursor, key| {
        let object = cursor.peek() == Some(b'{');
        if key.is("type") {
            kind = Some(kind_of(cursor.string()?));
        } else if key.is("error") {
            // Some send it without a type of its own.
            if cursor.carries()? {
                kind = Some(EventKind::Error);
            }
        } else if key.is("message") && object {
            cursor.object::<JsonError>(|cursor, key| {
                if key.is("usage") {
                    counts = Counts::read(cursor)?;
                } else {
                    cursor.skip()?;
                }
                Ok(())
            })?;
        } else if key.is("usage") {
            counts = Counts::read(cursor)?;
        } else if key.is("content_block") && object {
            in_block = block(cursor)?;
        } else if key.is("delta") && object {
            cursor.object::<JsonError>(|cursor, key| {
                let carries = cursor.carries()?;
                in_delta |= carries && !key.is("type");
                finished |= carries && key.is("stop_reason");
                Ok(())
            })?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    cursor.end()?;
    let kind = kind.ok_or_else(|| JsonError::missing("no type"))?;
    Ok(EventFacts {
        kind,
        content: (kind == EventKind::BlockStart && in_block) || (kind == EventKind::BlockDelta && in_delta),
        finished: kind == EventKind::MessageDelta && finished,
        counts,
    })
}

/// Whether the start of a block carries something: any kind but text and thinking does by itself, a tool call above all.
fn block(cursor: &mut Cursor<'_>) -> Result<bool, JsonError> {
    let (mut plain, mut carries) = (false, false);
    cursor.object::<JsonError>(|cursor, key| {
        if key.is("type") && cursor.peek() == Some(b'"') {
            let kind = cursor.string()?;
            plain = kind.is("text") || kind.is("thinking");
        } else {
            carries |= cursor.carries()?;
        }
        Ok(())
    })?;
    Ok(!plain || carries)
}

fn kind_of(text: Text<'_>) -> EventKind {
    const KINDS: [(&str, EventKind); 7] = [
        ("content_block_delta", EventKind::BlockDelta),
        ("content_block_start", EventKind::BlockStart),
        ("content_block_stop", EventKind::BlockStop),
        ("message_start", EventKind::MessageStart),
        ("message_delta", EventKind::MessageDelta),
        ("message_stop", EventKind::MessageStop),
        ("error", EventKind::Error),
    ];
    KINDS.iter().find(|(name, _)| text.is(name)).map_or(EventKind::Other, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(data: &str) -> EventFacts {
        inspect_event(data.as_bytes()).unwrap_or_else(|e| panic!("{e}: {data}"))
    }

    #[test]
    fn only_what_the_model_wrote_is_content() {
        let start =
            |block: &str| facts(&format!(r#"{{"index":0,"content_block":{block},"type":"content_block_start"}}"#));
        for empty in [r#"{"type":"text","text":""}"#, r#"{"type":"thinking","thinking":"","signature":""}"#] {
            assert!(!start(empty).content, "{empty}");
        }
        for full in [
            r#"{"type":"text","text":"Hi"}"#,
            r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#,
            r#"{"type":"redacted_thinking","data":"x"}"#,
            r#"{"type":"some_future_block"}"#,
        ] {
            assert!(start(full).content, "{full}");
        }
        let delta = |delta: &str| facts(&format!(r#"{{"type":"content_block_delta","index":0,"delta":{delta}}}"#));
        for empty in [r#"{"type":"text_delta","text":""}"#, r#"{"type":"input_json_delta","partial_json":""}"#, "{}"] {
            assert!(!delta(empty).content, "{empty}");
        }
        for full in [
            r#"{"type":"text_delta","text":" "}"#,
            r#"{"type":"thinking_delta","thinking":"\ud83d"}"#,
            r#"{"type":"signature_delta","signature":"x"}"#,
            r#"{"type":"some_future_delta","data":{"a":1}}"#,
        ] {
            assert!(delta(full).content, "{full}");
        }
    }

    #[test]
    fn kinds_counts_and_the_end_are_seen() {
        let start =
            facts(r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":3,"output_tokens":1}}}"#);
        assert_eq!((start.kind, start.content), (EventKind::MessageStart, false));
        assert_eq!(start.counts.unwrap().usage().total_tokens(), 4);
        let delta = facts(
            r#"{"usage":{"output_tokens":9},"delta":{"stop_reason":"end_turn","stop_sequence":null},"type":"message_delta"}"#,
        );
        assert_eq!((delta.kind, delta.content, delta.finished), (EventKind::MessageDelta, false, true));
        assert_eq!(delta.counts.unwrap().usage().completion_tokens, 9);
        assert!(!facts(r#"{"type":"message_delta","delta":{"stop_reason":null}}"#).finished);
        assert_eq!(facts(r#"{"type":"message_stop"}"#).kind, EventKind::MessageStop);
        assert_eq!(facts(r#"{"type":"error","error":{"type":"overloaded_error"}}"#).kind, EventKind::Error);
        assert_eq!(facts(r#"{"error":{"message":"m"}}"#).kind, EventKind::Error);
        assert_eq!(facts(r#"{"type":"ping"}"#).kind, EventKind::Other);
        assert_eq!(facts(r#"{"type":"new","delta":5,"usage":[],"message":"m"}"#).kind, EventKind::Other);
    }

    #[test]
    fn anything_but_one_typed_json_object_is_refused() {
        for broken in ["", "null", "[]", "{", "{}", "{}{}", r#"{"type":5}"#, r#"{"type":"ping"}x"#, r#"{"type":"pi"#] {
            assert!(inspect_event(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
