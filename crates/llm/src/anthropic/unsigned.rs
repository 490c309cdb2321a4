//! Finds the thinking in a conversation that nobody signed.

use memchr::memmem;

use crate::json::{Cursor, JsonError, Span};

/// Where the unsigned thinking blocks of `messages` (the value of that field) lie, each with the comma that goes with it; a
/// message that holds nothing else is named whole, because an empty one is refused. Texts of another shape give nothing.
pub(super) fn thinking(messages: &[u8]) -> Vec<Span> {
    // Nearly all requests end here. Who writes the word with escapes has not got it from us.
    if memmem::find(messages, b"\"thinking\"").is_none() {
        return Vec::new();
    }
    read_messages(messages).unwrap_or_default()
}

fn read_messages(text: &[u8]) -> Result<Vec<Span>, JsonError> {
    let mut all = Vec::new();
    let mut inner = Vec::new();
    let mut cursor = Cursor::new(text)?;
    cursor.array::<JsonError>(|cursor| {
        cursor.peek();
        let start = cursor.offset();
        let blocks = read_message(cursor)?;
        let empty = !blocks.is_empty() && blocks.iter().all(|block| block.goes);
        if !empty {
            inner.extend(removals(&blocks));
        }
        all.push(Element { span: start..cursor.offset(), goes: empty });
        Ok(())
    })?;
    inner.extend(removals(&all));
    Ok(inner)
}

/// An element of an array, and whether it is to go.
struct Element {
    span: Span,
    goes: bool,
}

fn read_message(cursor: &mut Cursor<'_>) -> Result<Vec<Element>, JsonError> {
    let mut blocks = Vec::new();
    if cursor.peek() != Some(b'{') {
        cursor.skip()?;
        return Ok(blocks);
    }
    cursor.object::<JsonError>(|cursor, key| {
        if !key.is("content") || cursor.peek() != Some(b'[') {
            return cursor.skip().map(drop);
        }
        blocks.clear();
        cursor.array::<JsonError>(|cursor| {
            cursor.peek();
            let start = cursor.offset();
            let goes = is_unsigned_thinking(cursor)?;
            blocks.push(Element { span: start..cursor.offset(), goes });
            Ok(())
        })
    })?;
    Ok(blocks)
}

fn is_unsigned_thinking(cursor: &mut Cursor<'_>) -> Result<bool, JsonError> {
    if cursor.peek() != Some(b'{') {
        return cursor.skip().map(|_| false);
    }
    let (mut thinking, mut signed) = (false, false);
    cursor.object::<JsonError>(|cursor, key| {
        if key.is("type") && cursor.peek() == Some(b'"') {
            thinking = cursor.string()?.is("thinking");
        } else if key.is("signature") {
            signed = cursor.carries()?;
        } else {
            cursor.skip()?;
        }
        Ok(())
    })?;
    Ok(thinking && !signed)
}

/// The spans to cut out so that the elements that stay remain a proper array: an element goes with the comma before it, or,
/// where nothing before it stays, with the one after it.
fn removals(elements: &[Element]) -> Vec<Span> {
    let mut cuts = Vec::new();
    let mut kept_before = false;
    for (at, element) in elements.iter().enumerate() {
        if !element.goes {
            kept_before = true;
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| elements.get(at)).filter(|_| kept_before);
        cuts.push(match (before, elements.get(at + 1)) {
            (Some(before), _) => before.span.end..element.span.end,
            (None, Some(after)) => element.span.start..after.span.start,
            (None, None) => element.span.clone(),
        });
    }
    cuts
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(messages: &Value, expected: &Value) {
        for text in [messages.to_string(), serde_json::to_string_pretty(messages).unwrap()] {
            let edits = thinking(text.as_bytes()).into_iter().map(|span| (span, String::new())).collect();
            let left = crate::json::splice(&Bytes::from(text.clone()), edits);
            let left: Value = serde_json::from_slice(&left).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert_eq!(&left, expected, "{text}");
        }
    }

    #[test]
    fn unsigned_thinking_goes_and_everything_else_stays() {
        let unsigned = json!({"type": "thinking", "thinking": "hm", "signature": ""});
        let bare = json!({"type": "thinking", "thinking": "hm"});
        let signed = json!({"type": "thinking", "thinking": "hm", "signature": "abc"});
        let text = json!({"type": "text", "text": "say \"thinking\""});
        let user = json!({"role": "user", "content": "is \"thinking\" hard?"});
        let said = |blocks: &[&Value]| json!({"role": "assistant", "content": blocks});
        for (blocks, left) in [
            (vec![&unsigned, &text], vec![&text]),
            (vec![&text, &unsigned], vec![&text]),
            (vec![&unsigned, &bare, &text, &bare, &unsigned, &signed], vec![&text, &signed]),
            (vec![&signed, &text], vec![&signed, &text]),
        ] {
            check(&json!([user, said(&blocks), user]), &json!([user, said(&left), user]));
        }
        check(&json!([user, said(&[&bare]), user]), &json!([user, user]));
        check(&json!([said(&[&bare, &unsigned])]), &json!([]));
        check(&json!([said(&[&bare]), said(&[&bare, &text])]), &json!([said(&[&text])]));
        for odd in [json!("thinking"), json!(["thinking", {"content": ["thinking", 5]}]), json!({"type": "thinking"})] {
            check(&odd, &odd);
        }
    }
}
