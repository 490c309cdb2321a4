//! Judges one stream chunk in one scan, so that it can be forwarded as it came.

use super::usage;
use crate::Usage;
use crate::json::{Cursor, JsonError};

/// The data of one stream event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkData {
    /// `[DONE]`.
    Done,
    /// A JSON object.
    Chunk(ChunkFacts),
}

/// What a chunk holds. A choice is counted by its `index`, one bit each; OpenAI allows 128.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChunkFacts {
    /// Something the model wrote: text, a refusal, reasoning, a tool call, audio. A role, an empty delta,
    /// filter results and usage are not content.
    pub content: bool,
    /// An `error` that says something, inside HTTP 200.
    pub error: bool,
    /// Choices named in this chunk.
    pub choices: u128,
    /// Choices that have a `finish_reason` in this chunk.
    pub finished: u128,
    /// Tokens used, where the chunk says so.
    pub usage: Option<Usage>,
}

impl ChunkFacts {
    /// True for the extra chunk that `stream_options.include_usage` asks for: usage and no choices.
    #[must_use]
    pub const fn is_usage_only(&self) -> bool {
        self.usage.is_some() && self.choices == 0 && !self.error
    }
}

/// Scans the data of one event, without allocation (except for keys written with escapes).
///
/// # Errors
/// When it is neither `[DONE]` nor one well-formed JSON object.
pub fn inspect_chunk(data: &[u8]) -> Result<ChunkData, JsonError> {
    // Clients stop at any data that starts so (openai-python, `Stream.__stream__`); JSON never does.
    if data.trim_ascii_start().starts_with(b"[DONE]") {
        return Ok(ChunkData::Done);
    }
    let mut facts = ChunkFacts::default();
    let mut cursor = Cursor::new(data)?;
    cursor.object::<JsonError>(|cursor, key| {
        if key.is("choices") && cursor.peek() == Some(b'[') {
            cursor.array(|cursor| choice(cursor, &mut facts))
        } else if key.is("usage") {
            facts.usage = usage::read(cursor)?;
            Ok(())
        } else if key.is("error") {
            facts.error = cursor.carries()?;
            Ok(())
        } else {
            cursor.skip().map(|_| ())
        }
    })?;
    cursor.end()?;
    Ok(ChunkData::Chunk(facts))
}

fn choice(cursor: &mut Cursor<'_>, facts: &mut ChunkFacts) -> Result<(), JsonError> {
    if cursor.peek() != Some(b'{') {
        return cursor.skip().map(|_| ());
    }
    let mut index = 0;
    let mut finished = false;
    cursor.object::<JsonError>(|cursor, key| {
        if key.is("index") {
            index = cursor.whole_number()?.unwrap_or(0);
        } else if key.is("finish_reason") {
            finished |= cursor.carries()?;
        } else if key.is("delta") && cursor.peek() == Some(b'{') {
            cursor.object::<JsonError>(|cursor, key| {
                // Unknown fields count: what has reached the client cannot be taken back.
                let carries = cursor.carries()?;
                facts.content |= carries && !key.is("role");
                Ok(())
            })?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    let bit = u32::try_from(index).ok().and_then(|index| 1_u128.checked_shl(index)).unwrap_or(0);
    facts.choices |= bit;
    facts.finished |= if finished { bit } else { 0 };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(data: &str) -> ChunkFacts {
        match inspect_chunk(data.as_bytes()).unwrap() {
            ChunkData::Chunk(facts) => facts,
            ChunkData::Done => panic!("{data} is [DONE]"),
        }
    }

    #[test]
    fn only_what_the_model_wrote_is_content() {
        let delta = |delta: &str| format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}"#);
        for empty in [
            "{}",
            r#"{"role":"assistant"}"#,
            r#"{"role":"assistant","content":"","refusal":null,"tool_calls":[]}"#,
            r#"{"reasoning_content":""}"#,
            r#"{"content":null}"#,
        ] {
            assert!(!facts(&delta(empty)).content, "{empty}");
        }
        for full in [
            r#"{"content":"Hi"}"#,
            r#"{"content":" "}"#,
            r#"{"content":"\ud83d"}"#,
            r#"{"refusal":"I can't"}"#,
            r#"{"reasoning_content":"hm"}"#,
            r#"{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"f","arguments":""}}]}"#,
            r#"{"function_call":{"name":"f"}}"#,
            r#"{"audio":{"id":"a"}}"#,
        ] {
            assert!(facts(&delta(full)).content, "{full}");
        }
        // Azure's first event.
        let azure = facts(r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}"#);
        assert_eq!(azure, ChunkFacts::default());
    }

    #[test]
    fn finish_usage_error_and_done_are_seen() {
        let last = facts(r#"{"choices":[{"delta":{},"finish_reason":"stop","index":1}],"usage":null}"#);
        assert_eq!((last.choices, last.finished, last.usage), (2, 2, None));
        let usage = facts(r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#);
        assert!(usage.is_usage_only());
        assert!(!facts(r#"{"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":1}}"#).is_usage_only());
        assert!(facts(r#"{"error":{"message":"overloaded"}}"#).error);
        assert!(!facts(r#"{"error":null,"choices":[]}"#).error);
        assert_eq!(inspect_chunk(b"[DONE]"), Ok(ChunkData::Done));
        assert_eq!(inspect_chunk(b" [DONE]\n"), Ok(ChunkData::Done));
        // An index beyond what is counted is tolerated.
        assert_eq!(facts(r#"{"choices":[{"index":4000000000000,"delta":{}}]}"#).choices, 0);
    }

    #[test]
    fn anything_but_one_json_object_is_refused() {
        for broken in
            ["", "null", "[]", "[D", "{", r#"{"choices":[{"delta":{"content":"a}]}"#, "{}{}", "\"x\"", "{\"a\":tru}"]
        {
            assert!(inspect_chunk(broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(inspect_chunk(b"{\"a\":\"\xff\"}").is_err());
    }
}
