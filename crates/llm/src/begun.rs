//! A request whose answer has begun at another upstream: the same conversation with what was said at its end.

use bytes::Bytes;

use crate::json::{self, Cursor, JsonError, Span};
use crate::limit;

/// What has been said of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Begun<'a> {
    /// Its text, without white space at the end: Anthropic refuses such a beginning.
    pub text: &'a str,
    /// The tokens that it took, at least.
    pub tokens: u64,
}

/// The text is a completion.
impl std::fmt::Debug for Begun<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begun").field("bytes", &self.text.len()).field("tokens", &self.tokens).finish()
    }
}

/// Members by which an upstream is told to go on with the last message; each is `"name":value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// Of that message.
    pub message: &'static [&'static str],
    /// Of the request.
    pub request: &'static [&'static str],
}

impl Begun<'_> {
    /// `body`, a request to an upstream of either dialect, with what was said as its last message, and with the tokens of
    /// that taken off its limit. Nothing said is nothing added. `None` if the conversation ends with words of the
    /// assistant's already: two such messages in a row mean something else to each upstream.
    ///
    /// # Errors
    /// When the body is not a JSON object.
    pub fn append_to(self, body: &Bytes, marks: Marks) -> Result<Option<Bytes>, JsonError> {
        append(body, self, marks)
    }
}

fn append(body: &Bytes, begun: Begun<'_>, marks: Marks) -> Result<Option<Bytes>, JsonError> {
    let mut end = None;
    let mut user_spoke_last = false;
    let mut edits: Vec<(Span, String)> = Vec::new();
    let mut cursor = Cursor::new(body)?;
    cursor.peek();
    let start = cursor.offset() + 1;
    cursor.object::<JsonError>(|cursor, key| {
        if key.is("messages") && cursor.peek() == Some(b'[') {
            cursor.array::<JsonError>(|cursor| {
                user_spoke_last = !is_assistants(cursor)?;
                Ok(())
            })?;
            end = cursor.offset().checked_sub(1);
            return Ok(());
        }
        if !limit::NAMES.iter().any(|name| key.is(name)) {
            return cursor.skip().map(drop);
        }
        cursor.peek();
        let from = cursor.offset();
        if let Some(limit) = cursor.whole_number()? {
            // A limit that is reached is reached by one more token too; none at all is refused.
            edits.push((from..cursor.offset(), limit.saturating_sub(begun.tokens).max(1).to_string()));
        }
        Ok(())
    })?;
    let Some(end) = end.filter(|_| user_spoke_last) else { return Ok(None) };
    if !begun.text.is_empty() {
        let text = json::to_bytes(&begun.text);
        let mut message = format!(r#",{{"role":"assistant","content":{}"#, String::from_utf8_lossy(&text));
        for mark in marks.message {
            message.push(',');
            message.push_str(mark);
        }
        message.push('}');
        edits.push((end..end, message));
        let marks: String = marks.request.iter().map(|mark| format!("{mark},")).collect();
        edits.push((start..start, marks));
    }
    Ok(Some(json::splice(body, edits)))
}

fn is_assistants(cursor: &mut Cursor<'_>) -> Result<bool, JsonError> {
    let mut is = false;
    if cursor.peek() != Some(b'{') {
        return cursor.skip().map(|_| false);
    }
    cursor.object::<JsonError>(|cursor, key| {
        if key.is("role") && cursor.peek() == Some(b'"') {
            is = cursor.string()?.is("assistant");
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    Ok(is)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const PREFIX: Marks = Marks { message: &[r#""prefix":true"#], request: &[r#""a":1"#, r#""b":false"#] };

    fn appended(body: &str, text: &str, tokens: u64, marks: Marks) -> Option<String> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let out = append(&body, Begun { text, tokens }, marks).unwrap()?;
        Some(String::from_utf8(out.to_vec()).unwrap())
    }

    #[track_caller]
    fn check(body: &str, marks: Marks, expected: Option<&str>) {
        assert_eq!(appended(body, "a \"b\"", 3, marks).as_deref(), expected, "{body}");
    }

    #[test]
    fn what_was_said_comes_last_and_its_tokens_are_taken_off() {
        check(
            r#" {"messages" : [{"role":"user","content":"x"} ], "max_tokens": 10,"n":1}"#,
            Marks::default(),
            Some(
                r#" {"messages" : [{"role":"user","content":"x"} ,{"role":"assistant","content":"a \"b\""}], "max_tokens": 7,"n":1}"#,
            ),
        );
        check(
            r#"{"max_completion_tokens":2,"messages":[{"role":"tool","content":"assistant"}]}"#,
            PREFIX,
            Some(
                r#"{"a":1,"b":false,"max_completion_tokens":1,"messages":[{"role":"tool","content":"assistant"},{"role":"assistant","content":"a \"b\"","prefix":true}]}"#,
            ),
        );
    }

    #[test]
    fn who_puts_words_into_the_assistants_mouth_is_not_continued() {
        check(r#"{"messages":[{"role":"user"},{"role":"assistant","content":"x"}]}"#, PREFIX, None);
        check(r#"{"messages":[{"content":"x","role":"assist\u0061nt"}]}"#, PREFIX, None);
        check(r#"{"messages":[]}"#, PREFIX, None);
        check("{}", PREFIX, None);
    }

    #[test]
    fn nothing_said_is_asked_again() {
        let body = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":5}"#;
        let expected = r#"{"messages":[{"role":"user","content":"x"}],"max_tokens":4}"#;
        assert_eq!(appended(body, "", 1, PREFIX).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn all_else_stays_as_it_was(said in ".{1,20}", asked in ".{0,20}", more in prop::collection::btree_map("[a-z]{1,5}x", ".{0,8}", 0..4)) {
            let mut body = json!({"messages": [{"role": "user", "content": asked}]});
            for (name, value) in more {
                body[name] = value.into();
            }
            let got: Value = serde_json::from_str(&appended(&body.to_string(), &said, 1, Marks::default()).unwrap()).unwrap();
            let last = json!({"role": "assistant", "content": said});
            body["messages"].as_array_mut().unwrap().push(last);
            prop_assert_eq!(got, body);
        }
    }
}
