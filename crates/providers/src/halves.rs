//! Joins characters that an upstream has cut in two. Servers that count in UTF-16 cut an emoji between two events, each with a
//! lone surrogate escape (RFC 8259, section 8.2). What is only forwarded need not care; what is translated has to be Unicode.

use bytes::Bytes;
use meridian_llm::{Failure, json};
use meridian_sse::Event;

use crate::{Step, StreamTranslator};

/// Stands for a half whose other one never comes.
const REPLACEMENT: &str = "\\ufffd";

/// The length of an escape.
const ESCAPE: usize = "\\ud83c".len();

/// Passes events to `inner`, the second half of each character with its first.
pub(crate) struct Halves<T> {
    inner: T,
    /// A first half that ended the last text.
    first: Option<u16>,
}

impl<T> Halves<T> {
    pub(crate) const fn new(inner: T) -> Self {
        Self { inner, first: None }
    }
}

impl<T: StreamTranslator> StreamTranslator for Halves<T> {
    fn event(&mut self, event: Event) -> Result<Step, Failure> {
        match event.data().and_then(|data| mended(data, &mut self.first)) {
            Some(data) => self.inner.event(event.with_data(data)),
            None => self.inner.event(event),
        }
    }

    fn end(&mut self) -> Result<Step, Failure> {
        self.inner.end()
    }
}

/// `data`, JSON, without lone surrogates; `None` if there are none in it. A first half that ends a text is kept for the next.
fn mended(data: &Bytes, first: &mut Option<u16>) -> Option<Bytes> {
    let mut edits = Vec::new();
    let mut at = 0;
    while let Some(next) = data.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        let start = at + next;
        let Some(unit) = unit_at(data, start) else {
            // Another escape, which may be that of a backslash.
            at = start + 2;
            continue;
        };
        at = start + ESCAPE;
        match unit {
            0xd800..=0xdbff if matches!(unit_at(data, at), Some(0xdc00..=0xdfff)) => at += ESCAPE,
            0xd800..=0xdbff if data.get(at) == Some(&b'"') => {
                *first = Some(unit);
                edits.push((start..at, String::new()));
            }
            0xd800..=0xdbff => edits.push((start..at, REPLACEMENT.to_owned())),
            0xdc00..=0xdfff => {
                let whole = first.take().map(|first| format!("\\u{first:04x}\\u{unit:04x}"));
                edits.push((start..at, whole.unwrap_or_else(|| REPLACEMENT.to_owned())));
            }
            _ => {}
        }
    }
    (!edits.is_empty()).then(|| json::splice(data, edits))
}

/// The UTF-16 unit whose escape begins at `at`.
fn unit_at(data: &[u8], at: usize) -> Option<u16> {
    let digits = data.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of texts that come one after the other.
    #[track_caller]
    fn check(texts: &[&'static str], expected: &[&str]) {
        let mut first = None;
        let mend = |text: &&'static str| {
            let data = Bytes::from_static(text.as_bytes());
            mended(&data, &mut first).unwrap_or(data)
        };
        assert_eq!(texts.iter().map(mend).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn two_halves_become_one_character() {
        check(&[r#"{"a":"x\ud83c"}"#, r#"{"a":"\udF0dy"}"#], &[r#"{"a":"x"}"#, r#"{"a":"\ud83c\udf0dy"}"#]);
        check(
            &[r#"["\ud83c"]"#, r#"["\udf0d\ud83d"]"#, r#"[""]"#, r#"["\udc4b"]"#],
            &[r#"[""]"#, r#"["\ud83c\udf0d"]"#, r#"[""]"#, r#"["\ud83d\udc4b"]"#],
        );
    }

    #[test]
    fn a_half_without_another_is_replaced() {
        check(&[r#"["\udf0d"]"#], &[r#"["\ufffd"]"#]);
        check(&[r#"["\ud83cx"]"#, r#"["\udf0d"]"#], &[r#"["\ufffdx"]"#, r#"["\ufffd"]"#]);
    }

    #[test]
    fn what_is_whole_stays_as_it_is() {
        for text in [r#"["\ud83c\udf0d", "\u00e9"]"#, r#"["\\ud83c"]"#, r#"["\\\\udf0d\n"]"#, "[]", r#"["\u"#, "\\"] {
            assert_eq!(mended(&Bytes::from_static(text.as_bytes()), &mut None), None, "{text}");
        }
    }
}
