//! Reads the few fields of a Messages request that the gateway acts on, and changes what an upstream must see otherwise.

use bytes::Bytes;

use super::unsigned;
use crate::ClientError;
use crate::head::{RequestHead, Stop, no_model, read_boolean, read_fields, read_model};
use crate::json::{self, Span};

/// A request body as it was received, and what was read of it.
#[derive(Clone)]
pub struct MessagesRequestBody {
    bytes: Bytes,
    head: RequestHead,
    /// The value of `model`.
    model: Span,
    /// The value of `messages`.
    messages: Span,
}

/// The fields that are read.
const FIELDS: [&str; 5] = ["model", "stream", "max_tokens", "tools", "messages"];

impl MessagesRequestBody {
    /// Reads `bytes`. The whole body is checked to be one JSON object; nothing but the head is decoded.
    ///
    /// # Errors
    /// A 400 that names the field at fault.
    pub fn parse(bytes: Bytes) -> Result<Self, ClientError> {
        let mut model = None;
        let (mut stream, mut max_tokens, mut has_tools, mut messages) = (false, None, false, 0..0);
        read_fields(&bytes, &FIELDS, |cursor, name| {
            match name {
                "model" => model = Some(read_model(cursor)?),
                "stream" => stream = read_boolean(cursor, "stream")?,
                "max_tokens" => max_tokens = cursor.whole_number()?,
                "tools" => has_tools = cursor.carries()?,
                _ => messages = cursor.skip()?,
            }
            Ok::<_, Stop>(())
        })?;
        let (name, model) = model.ok_or_else(no_model)?;
        let head = RequestHead { model: name, stream, include_usage: true, max_tokens, choices: 1, has_tools };
        Ok(Self { bytes, head, model, messages })
    }

    /// The same for a path whose answers are never streamed, whatever the body says.
    pub(crate) fn never_streamed(mut self) -> Self {
        self.head.stream = false;
        self
    }

    /// The body as it was received.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What was read of it.
    #[must_use]
    pub const fn head(&self) -> &RequestHead {
        &self.head
    }

    /// The body for an upstream that speaks the same dialect: with `upstream_model`, and without the thinking that nobody
    /// signed. All other bytes are as they were received.
    ///
    /// Unsigned thinking comes from us: it is how the reasoning of an upstream of another dialect was shown to the
    /// client, which sends it back with the conversation. Only an Anthropic model can sign, and it refuses what it did
    /// not sign itself.
    #[must_use]
    pub fn rewritten(&self, upstream_model: &str) -> Bytes {
        let messages = self.bytes.get(self.messages.clone()).unwrap_or_default();
        let offset = self.messages.start;
        let mut edits: Vec<(Span, String)> = unsigned::thinking(messages)
            .into_iter()
            .map(|span| (span.start + offset..span.end + offset, String::new()))
            .collect();
        if self.head.model != upstream_model {
            let name = json::to_bytes(&upstream_model);
            edits.push((self.model.clone(), String::from_utf8_lossy(&name).into_owned()));
        }
        json::splice(&self.bytes, edits)
    }
}

/// The body is a prompt.
impl std::fmt::Debug for MessagesRequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MessagesRequestBody").field("bytes", &self.bytes.len()).field("head", &self.head).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn parse(body: &str) -> Result<MessagesRequestBody, ClientError> {
        MessagesRequestBody::parse(Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn the_head_is_read_and_nothing_but_the_model_changes() {
        let body = "{ \"max_tokens\" : 5,\t\"model\":\"m\\u00e9\", \"stream\":true, \"tools\":[{}], \"thinking\":{\"type\":\"adaptive\"}, \"z\":\"\\ud83d\", \"messages\":[] }\n";
        let request = parse(body).unwrap();
        let head = RequestHead {
            model: "mé".into(),
            stream: true,
            include_usage: true,
            max_tokens: Some(5),
            choices: 1,
            has_tools: true,
        };
        assert_eq!(request.head(), &head);
        assert_eq!(request.rewritten("up\""), body.replace("\"m\\u00e9\"", "\"up\\\"\""));
        assert_eq!(request.rewritten("mé").as_ptr(), request.bytes().as_ptr(), "not copied without need");
    }

    #[track_caller]
    fn check_refused(body: &str, param: Option<&str>) {
        let error = parse(body).unwrap_err();
        assert_eq!((error.code.row().http, error.param.as_deref()), (400, param), "{body}: {error}");
    }

    #[test]
    fn mistakes_in_what_is_read_are_told() {
        check_refused("", None);
        check_refused("[]", None);
        check_refused("{\"model\":\"m\"}x", None);
        check_refused("{}", Some("model"));
        check_refused("{\"model\":5}", Some("model"));
        check_refused("{\"model\":\"\"}", Some("model"));
        check_refused("{\"model\":\"m\",\"stream\":\"yes\"}", Some("stream"));
        check_refused("{\"model\":\"m\",\"m\\u006fdel\":\"n\"}", Some("model"));
        check_refused("{\"model\":\"m\",\"messages\":[],\"messages\":[1]}", Some("messages"));
    }

    proptest! {
        #[test]
        fn all_other_fields_survive(names in prop::collection::btree_set("[a-z_]{1,8}x", 0..6), number: i64, text in ".{0,8}") {
            let mut sent: Map<String, Value> =
                names.into_iter().map(|name| (name, json!({"a": [number, null, {"b": text}]}))).collect();
            sent.insert("model".into(), "m".into());
            sent.insert("messages".into(), json!([{"role": "user", "content": text}]));
            let body = serde_json::to_string(&sent).unwrap();
            let got: Map<String, Value> = serde_json::from_slice(&parse(&body).unwrap().rewritten("up")).unwrap();
            sent.insert("model".into(), "up".into());
            prop_assert_eq!(got, sent);
        }
    }
}
