//! Judges a whole answer (HTTP 200, not streamed) in one scan, so that it can be passed on as it came.

use super::usage;
use crate::Usage;
use crate::json::{Cursor, JsonError};

/// What a whole answer holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerFacts {
    /// It has an `error` that says something: an error inside HTTP 200.
    pub error: bool,
    /// It has at least one choice.
    pub has_choices: bool,
    /// Tokens used.
    pub usage: Option<Usage>,
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
        } else if key.is("choices") {
            facts.has_choices = cursor.peek() == Some(b'[') && cursor.carries()?;
        } else if key.is("usage") {
            facts.usage = usage::read(cursor)?;
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
            br#"{"id":"x","choices":[{"index":0}],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":4}}}"#,
        )
        .unwrap();
        let usage = Usage { prompt_tokens: 9, completion_tokens: 12, cached_tokens: 4, ..Usage::default() };
        assert_eq!(facts, AnswerFacts { error: false, has_choices: true, usage: Some(usage) });
        assert!(inspect_answer(br#"{"error":{"message":"x"}}"#).unwrap().error);
        assert!(!inspect_answer(br#"{"error":null,"choices":[]}"#).unwrap().has_choices);
        for broken in ["", "[]", "{\"a\":1", "<html>", "{}x"] {
            assert!(inspect_answer(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
