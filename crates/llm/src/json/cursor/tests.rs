//! The cursor accepts exactly what serde_json accepts, and says the right places.

use proptest::prelude::*;
use serde::de::IgnoredAny;

use super::*;

fn accepts(text: &str) -> bool {
    let mut cursor = Cursor::new(text.as_bytes()).unwrap();
    cursor.skip().and_then(|_| cursor.end()).is_ok()
}

#[track_caller]
fn check(text: &str, expected: bool) {
    assert_eq!(accepts(text), expected, "{text}");
    assert_eq!(serde_json::from_str::<IgnoredAny>(text).is_ok(), expected, "serde_json on {text}");
}

#[test]
fn well_formed_texts_are_accepted() {
    for text in [
        "{}",
        "[]",
        " null ",
        "-0.5e+10",
        "0",
        "[1,[2,{\"a\":[]}],\"\"]",
        r#"{"a":"\u00e9\n\"","b":{"c":[{}]}}"#,
        r#""\ud83d""#,
        "\"\u{1F600}\"",
        "[true,false,null]",
    ] {
        check(text, true);
    }
}

#[test]
fn broken_texts_are_refused() {
    for text in [
        "",
        "{",
        "[",
        "{]",
        "[}",
        "[1,]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        "-",
        "+1",
        "1e",
        "tru",
        "nulll",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\u{1}\"",
        "\"",
        "{} {}",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "NaN",
        "[DONE]",
        "\u{feff}{}",
        ",",
        "{,}",
        "[,]",
    ] {
        check(text, false);
    }
}

#[test]
fn nesting_is_limited_and_never_recurses() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(accepts(&nested(MAX_DEPTH as usize)));
    assert!(!accepts(&nested(MAX_DEPTH as usize + 2)));
    assert!(!accepts(&"[".repeat(1_000_000)));
    assert!(!accepts(&"{\"a\":".repeat(1_000_000)));
}

#[test]
fn invalid_utf8_is_refused() {
    assert!(Cursor::new(b"\"\xff\"").is_err());
}

#[test]
fn keys_are_compared_by_meaning() {
    for (written, expected) in [
        ("model", true),
        (r"mod\u0065l", true),
        (r"\u006d\u006f\u0064\u0065\u006c", true),
        ("Model", false),
        (r"model\u0000", false),
    ] {
        let quoted = format!("\"{written}\"");
        let text = Cursor::new(quoted.as_bytes()).unwrap().string().unwrap();
        assert_eq!(text.is("model"), expected, "{written}");
    }
}

proptest! {
    #[test]
    fn agrees_with_serde_json_on_mutilated_texts(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"\\u00e9\"", "1", "-2.5e3", "true", "null", " ", "\"", "\\", "0", ".",
        ]), 0..14),
    ) {
        let text = pieces.concat();
        prop_assert_eq!(accepts(&text), serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
    }

    #[test]
    fn never_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(mut cursor) = Cursor::new(&bytes) {
            let _ = cursor.skip();
        }
    }
}
