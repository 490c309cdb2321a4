//! Judges a whole answer (HTTP 200, not streamed) in one scan, so that it can be passed on as it came.

use super::Counts;
use crate::json::{Cursor, JsonError};

/// What a whole answer holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerFacts {
    /// It has an `error` that says something: an error inside HTTP 200.
    pub error: bool,
    /// It says why generation ended, as every whole message does.
    pub finished: bool,
    /// Tokens used.
    pub counts: Option<Counts>,
    /// The answer of `count_tokens`.
    pub input_tokens: Option<u64>,
}

/// Scans an answer.
///
/// # Errors
/// When the body is not one well-formed JSON object.
pub fn inspect_answer(body: &[u8]) -> Result<AnswerFacts, JsonError> {
    let mut facts = AnswerFacts::default();
    let mut cursor = Cursor::new(body)?;
    cursor.object::<JsonError>(|cursor, key| {
        if key.is("error") {
            facts.error = cursor.carries()?;
        } else if key.is("stop_reason") {
            facts.finished = cursor.carries()?;
        } else if key.is("usage") {
            facts.counts = Counts::read(cursor)?;
        } else if key.is("input_tokens") {
            facts.input_tokens = cursor.whole_number()?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    cursor.end()?;
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_gives_its_usage_and_an_error_in_200_is_seen() {
        let facts = inspect_answer(
            br#"{"id":"x","content":[{"type":"text","text":"\ud83d"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":12}}"#,
        )
        .unwrap();
        assert!(facts.finished && !facts.error);
        assert_eq!(facts.counts.unwrap().usage().total_tokens(), 21);
        assert!(inspect_answer(br#"{"type":"error","error":{"type":"x"}}"#).unwrap().error);
        assert_eq!(inspect_answer(br#"{"input_tokens":7}"#).unwrap().input_tokens, Some(7));
        for broken in ["", "[]", "{\"a\":1", "<html>", "{}x"] {
            assert!(inspect_answer(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
