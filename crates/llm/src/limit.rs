//! The limit to an answer's tokens under the one name that an upstream knows. OpenAI has renamed it; not every imitation has
//! followed, and OpenAI's reasoning models refuse the older name.
//!
//! Source: OpenAI, "Create chat completion", <https://platform.openai.com/docs/api-reference/chat/create>.

use bytes::Bytes;
use meridian_types::provider::TokenLimit;

use crate::json::{self, Cursor, JsonError, Span};

const OLDER: &str = "max_tokens";
const NEWER: &str = "max_completion_tokens";

/// Its names in all dialects.
pub(crate) const NAMES: [&str; 2] = [OLDER, NEWER];

/// Where a member of the request lies.
struct Member {
    is_newer: bool,
    /// With its quotes.
    name: Span,
    value: Span,
    /// Where the member before it ends.
    after: Option<usize>,
}

/// `body`, a chat completions request, with its limit under the name `wanted` alone; every other byte is as it was. Of two
/// limits the one of the newer name holds, unless it is `null`: as for our own reading of it.
///
/// # Errors
/// When the body is not a JSON object.
pub fn name_limit(body: &Bytes, wanted: TokenLimit) -> Result<Bytes, JsonError> {
    let (wants_newer, name) = match wanted {
        TokenLimit::MaxCompletionTokens => (true, NEWER),
        TokenLimit::MaxTokens => (false, OLDER),
    };
    let mut edits: Vec<(Span, String)> = Vec::new();
    let (first, second) = members(body)?;
    let Some(first) = first else { return Ok(body.clone()) };
    if first.is_newer != wants_newer {
        edits.push((first.name, format!("\"{name}\"")));
    }
    if let Some(second) = second {
        let text = |span: &Span| body.get(span.clone()).unwrap_or_default();
        let newer = if second.is_newer { &second.value } else { &first.value };
        let newer_holds = text(newer) != b"null";
        if second.is_newer == newer_holds {
            let value = String::from_utf8_lossy(text(&second.value)).into_owned();
            edits.push((first.value, value));
        }
        edits.push((second.after.unwrap_or(second.name.start)..second.value.end, String::new()));
    }
    Ok(json::splice(body, edits))
}

/// The limits in the order in which they stand. That a name is not there twice was seen when the request was read.
fn members(body: &Bytes) -> Result<(Option<Member>, Option<Member>), JsonError> {
    let (mut first, mut second) = (None, None);
    let mut after = None;
    Cursor::new(body)?.object::<JsonError>(|cursor, key| {
        let value = cursor.skip()?;
        let end = value.end;
        if NAMES.iter().any(|name| key.is(name)) {
            let member = Member { is_newer: key.is(NEWER), name: key.span(), value, after };
            let place = if first.is_none() { &mut first } else { &mut second };
            *place = Some(member);
        }
        after = Some(end);
        Ok(())
    })?;
    Ok((first, second))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const BOTH: [TokenLimit; 2] = [TokenLimit::MaxTokens, TokenLimit::MaxCompletionTokens];

    fn named(body: &str, wanted: TokenLimit) -> String {
        String::from_utf8(name_limit(&Bytes::copy_from_slice(body.as_bytes()), wanted).unwrap().to_vec()).unwrap()
    }

    /// The older and the newer name.
    #[track_caller]
    fn check(body: &str, older: &str, newer: &str) {
        assert_eq!(BOTH.map(|wanted| named(body, wanted)), [older, newer], "{body}");
    }

    #[test]
    fn a_limit_gets_the_name_and_nothing_else_changes() {
        check(
            r#"{ "max_tokens" : 5,"x":{"max_tokens":1}}"#,
            r#"{ "max_tokens" : 5,"x":{"max_tokens":1}}"#,
            r#"{ "max_completion_tokens" : 5,"x":{"max_tokens":1}}"#,
        );
        check(
            r#"{"a":1e400, "max_completion\u005ftokens":null}"#,
            r#"{"a":1e400, "max_tokens":null}"#,
            r#"{"a":1e400, "max_completion\u005ftokens":null}"#,
        );
        check(r#"{"a":"max_tokens"}"#, r#"{"a":"max_tokens"}"#, r#"{"a":"max_tokens"}"#);
        check("{}", "{}", "{}");
    }

    #[test]
    fn of_two_limits_the_newer_name_holds_unless_it_says_nothing() {
        check(
            r#"{"max_tokens":5 , "max_completion_tokens":7 ,"a":1}"#,
            r#"{"max_tokens":7 ,"a":1}"#,
            r#"{"max_completion_tokens":7 ,"a":1}"#,
        );
        check(
            r#"{"max_completion_tokens":7,"a":1, "max_tokens":5}"#,
            r#"{"max_tokens":7,"a":1}"#,
            r#"{"max_completion_tokens":7,"a":1}"#,
        );
        check(
            r#"{"max_tokens":5,"max_completion_tokens":null}"#,
            r#"{"max_tokens":5}"#,
            r#"{"max_completion_tokens":5}"#,
        );
        check(
            r#"{"max_completion_tokens":null,"max_tokens":5}"#,
            r#"{"max_tokens":5}"#,
            r#"{"max_completion_tokens":5}"#,
        );
    }

    #[test]
    fn a_body_that_needs_no_change_is_not_copied() {
        let body = Bytes::from_static(br#"{"max_tokens":5}"#);
        assert_eq!(name_limit(&body, TokenLimit::MaxTokens).unwrap().as_ptr(), body.as_ptr());
        let body = Bytes::from_static(br#"{"model":"m"}"#);
        assert_eq!(name_limit(&body, TokenLimit::MaxCompletionTokens).unwrap().as_ptr(), body.as_ptr());
    }

    proptest! {
        /// As an object it is the same but for the one limit, wherever the two stand and however they are written.
        #[test]
        fn one_limit_is_left_and_all_else_stays(
            mut fields in prop::collection::btree_map("[a-z]{1,4}", any::<i8>().prop_map(Value::from), 0..4),
            older in prop::option::of(prop_oneof![Just(Value::Null), (1u32..9).prop_map(Value::from)]),
            newer in prop::option::of(prop_oneof![Just(Value::Null), (1u32..9).prop_map(Value::from)]),
            turn in any::<prop::sample::Index>(),
            pretty in any::<bool>(),
        ) {
            let rest = json!(fields);
            fields.extend(older.clone().map(|value| (OLDER.to_owned(), value)));
            fields.extend(newer.clone().map(|value| (NEWER.to_owned(), value)));
            let mut members: Vec<_> = fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            if !members.is_empty() {
                let at = turn.index(members.len());
                members.rotate_left(at);
            }
            let body = format!("{{{}}}", members.join(if pretty { " ,\n " } else { "," }));
            let expected = newer.clone().filter(|value| !value.is_null()).or(older).or(newer);
            for (wanted, name) in BOTH.into_iter().zip(NAMES) {
                let mut got: Value = serde_json::from_str(&named(&body, wanted)).unwrap();
                prop_assert_eq!(got.as_object_mut().unwrap().remove(name), expected.clone(), "{}", body);
                prop_assert_eq!(&got, &rest, "{}", body);
            }
        }
    }
}
