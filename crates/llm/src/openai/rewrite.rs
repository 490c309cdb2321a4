//! Changes `model` and `stream_options` in place and leaves every other byte as the client sent it.

use bytes::Bytes;

use super::ChatRequestBody;
use crate::json::{self, Span};

const FORCE_USAGE: &str = "\"include_usage\":true";

impl ChatRequestBody {
    /// The body for an upstream that speaks the same dialect: with `upstream_model`, and, if the answer is streamed,
    /// with `stream_options.include_usage` set, because without the upstream's own count there is no honest usage.
    /// All other bytes are as they were received.
    #[must_use]
    pub fn rewritten(&self, upstream_model: &str) -> Bytes {
        let mut edits: Vec<(Span, String)> = Vec::with_capacity(2);
        let mut after_model = String::new();
        if self.head().stream && !self.head().include_usage {
            match (&self.spans.stream_options, &self.spans.null_stream_options) {
                (Some(options), _) => edits.push(match &options.include_usage {
                    Some(value) => (value.clone(), "true".to_owned()),
                    None => {
                        let at = options.object.start + 1;
                        let comma = if options.empty { "" } else { "," };
                        (at..at, format!("{FORCE_USAGE}{comma}"))
                    }
                }),
                (None, Some(null)) => edits.push((null.clone(), format!("{{{FORCE_USAGE}}}"))),
                (None, None) => after_model = format!(",\"stream_options\":{{{FORCE_USAGE}}}"),
            }
        }
        if self.head().model != upstream_model || !after_model.is_empty() {
            let name = json::to_bytes(&upstream_model);
            edits.push((self.spans.model.clone(), format!("{}{after_model}", String::from_utf8_lossy(&name))));
        }
        json::splice(&self.bytes, edits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn parse(body: &str) -> ChatRequestBody {
        ChatRequestBody::parse(Bytes::copy_from_slice(body.as_bytes())).unwrap()
    }

    #[track_caller]
    fn check(body: &str, expected: &str) {
        assert_eq!(std::str::from_utf8(&parse(body).rewritten("up")).unwrap(), expected);
    }

    #[test]
    fn only_model_and_stream_options_change() {
        check(r#"{"model":"m"}"#, r#"{"model":"up"}"#);
        check(
            "{ \"a\" : 1e400 ,\t\"model\" : \"m\\u00e9\", \"z\":\"\\ud83d\" }\n",
            "{ \"a\" : 1e400 ,\t\"model\" : \"up\", \"z\":\"\\ud83d\" }\n",
        );
        check(r#"{"stream":false,"model":"m"}"#, r#"{"stream":false,"model":"up"}"#);
        check(
            r#"{"stream":true,"model":"m"}"#,
            r#"{"stream":true,"model":"up","stream_options":{"include_usage":true}}"#,
        );
        check(
            r#"{"stream_options":null,"stream":true,"model":"m","x":1}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true,"model":"up","x":1}"#,
        );
        check(
            r#"{"model":"m","stream":true,"stream_options":{}}"#,
            r#"{"model":"up","stream":true,"stream_options":{"include_usage":true}}"#,
        );
        check(
            r#"{"model":"m","stream":true,"stream_options":{"include_obfuscation":false}}"#,
            r#"{"model":"up","stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
        );
        check(
            r#"{"model":"m","stream":true,"stream_options":{"include_usage": false }}"#,
            r#"{"model":"up","stream":true,"stream_options":{"include_usage": true }}"#,
        );
        check(
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
            r#"{"model":"up","stream":true,"stream_options":{"include_usage":true}}"#,
        );
    }

    #[test]
    fn a_body_that_needs_no_change_is_not_copied() {
        let body = parse(r#"{"model":"up","stream":true,"stream_options":{"include_usage":true}}"#);
        assert_eq!(body.rewritten("up").as_ptr(), body.bytes().as_ptr());
    }

    #[test]
    fn a_model_name_cannot_break_out_of_its_string() {
        let rewritten = parse(r#"{"model":"m"}"#).rewritten("a\",\"x\":\"\n");
        assert_eq!(rewritten, r#"{"model":"a\",\"x\":\"\n"}"#);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,6}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn all_other_fields_survive(fields in prop::collection::vec(("[a-z_]{1,8}x", any_json()), 0..6), stream in any::<bool>(), pretty in any::<bool>()) {
            let mut sent: serde_json::Map<String, Value> = fields.into_iter().collect();
            sent.insert("model".into(), "m".into());
            sent.insert("stream".into(), stream.into());
            let body = if pretty { serde_json::to_string_pretty(&sent).unwrap() } else { serde_json::to_string(&sent).unwrap() };
            let mut got: serde_json::Map<String, Value> = serde_json::from_slice(&parse(&body).rewritten("up")).unwrap();
            prop_assert_eq!(got.remove("model"), Some("up".into()));
            prop_assert_eq!(got.remove("stream_options").is_some(), stream);
            sent.remove("model");
            prop_assert_eq!(got, sent);
        }
    }
}
