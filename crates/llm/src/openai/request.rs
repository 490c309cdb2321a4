//! Reads the few fields of a request body that the gateway acts on, and remembers where they lie.

use bytes::Bytes;

use crate::ClientError;
use crate::head::{RequestHead, Stop, no_model, read_boolean, read_fields, read_model};
use crate::json::{Cursor, Span};

/// A request body as it was received, and what was read of it.
#[derive(Clone)]
pub struct ChatRequestBody {
    pub(super) bytes: Bytes,
    head: RequestHead,
    pub(super) spans: Spans,
}

/// Where the fields lie that may be rewritten.
#[derive(Debug, Clone, Default)]
pub(super) struct Spans {
    /// The value of `model`.
    pub(super) model: Span,
    /// The value of `stream_options`, if it is an object.
    pub(super) stream_options: Option<StreamOptions>,
    /// The value of `stream_options` if it is `null`.
    pub(super) null_stream_options: Option<Span>,
}

/// Where the parts of `stream_options` lie.
#[derive(Debug, Clone)]
pub(super) struct StreamOptions {
    /// The whole object.
    pub(super) object: Span,
    /// The value of its `include_usage`.
    pub(super) include_usage: Option<Span>,
    /// Whether it has no members.
    pub(super) empty: bool,
}

impl ChatRequestBody {
    /// Reads `bytes`. The whole body is checked to be one JSON object; nothing but the head is decoded.
    ///
    /// # Errors
    /// A 400 that names the field at fault.
    pub fn parse(bytes: Bytes) -> Result<Self, ClientError> {
        let mut reader = Reader::default();
        read(&bytes, &mut reader)?;
        let Reader {
            model, stream, include_usage, max_tokens, max_completion_tokens, choices, has_tools, spans, ..
        } = reader;
        let model = model.ok_or_else(no_model)?;
        let head = RequestHead {
            model,
            stream,
            include_usage,
            max_tokens: max_completion_tokens.or(max_tokens),
            choices: choices.unwrap_or(1),
            has_tools,
        };
        Ok(Self { bytes, head, spans })
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
}

/// The body is a prompt.
impl std::fmt::Debug for ChatRequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatRequestBody").field("bytes", &self.bytes.len()).field("head", &self.head).finish()
    }
}

/// The fields that are read.
const FIELDS: [&str; 7] = ["model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools"];

#[derive(Default)]
struct Reader {
    model: Option<String>,
    stream: bool,
    include_usage: bool,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    choices: Option<u64>,
    has_tools: bool,
    spans: Spans,
}

fn read(bytes: &[u8], reader: &mut Reader) -> Result<(), Stop> {
    read_fields(bytes, &FIELDS, |cursor, name| {
        match name {
            "model" => {
                let (model, span) = read_model(cursor)?;
                reader.model = Some(model);
                reader.spans.model = span;
            }
            "stream" => reader.stream = read_boolean(cursor, "stream")?,
            "stream_options" => reader.stream_options(cursor)?,
            "max_tokens" => reader.max_tokens = cursor.whole_number()?,
            "max_completion_tokens" => reader.max_completion_tokens = cursor.whole_number()?,
            "n" => reader.choices = cursor.whole_number()?,
            _ => reader.has_tools = cursor.carries()?,
        }
        Ok(())
    })
}

impl Reader {
    fn stream_options(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        match cursor.peek() {
            Some(b'n') => {
                self.spans.null_stream_options = Some(cursor.skip()?);
                return Ok(());
            }
            Some(b'{') => {}
            _ => return Err(ClientError::invalid("stream_options", "must be an object").into()),
        }
        let start = cursor.offset();
        let mut span = None;
        let mut empty = true;
        cursor.object::<Stop>(|cursor, key| {
            empty = false;
            if !key.is("include_usage") {
                cursor.skip()?;
                return Ok(());
            }
            if span.is_some() {
                return Err(ClientError::invalid("stream_options.include_usage", "must not be given twice").into());
            }
            cursor.peek();
            let start = cursor.offset();
            self.include_usage = read_boolean(cursor, "stream_options.include_usage")?;
            span = Some(start..cursor.offset());
            Ok(())
        })?;
        self.spans.stream_options = Some(StreamOptions { object: start..cursor.offset(), include_usage: span, empty });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<ChatRequestBody, ClientError> {
        ChatRequestBody::parse(Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn the_head_is_read_wherever_its_fields_stand() {
        let body = r#" {"messages":[{"role":"user","content":"model\":\"x"}], "n" : 2,
            "stream":true,"stream_options":{"x":1,"include_usage":true},"tools":[{}],
            "max_tokens":5,"max_completion_tokens":7,"nested":{"model":"no"},"model":"gpt \u00e9"} "#;
        let expected = RequestHead {
            model: "gpt é".into(),
            stream: true,
            include_usage: true,
            max_tokens: Some(7),
            choices: 2,
            has_tools: true,
        };
        assert_eq!(*parse(body).unwrap().head(), expected);
        let plain = parse(r#"{"model":"m","stream":null,"stream_options":null,"n":null,"tools":[]}"#).unwrap();
        let head = RequestHead {
            model: "m".into(),
            stream: false,
            include_usage: false,
            max_tokens: None,
            choices: 1,
            has_tools: false,
        };
        assert_eq!(*plain.head(), head);
    }

    #[track_caller]
    fn check_refused(body: &str, param: Option<&str>) {
        let error = parse(body).unwrap_err();
        assert_eq!((error.status().as_u16(), error.param.as_deref()), (400, param), "{body}: {error}");
    }

    #[test]
    fn what_the_gateway_acts_on_must_be_sound() {
        check_refused("", None);
        check_refused("[]", None);
        check_refused("\"model\"", None);
        check_refused(r#"{"model":"m""#, None);
        check_refused(r#"{"model":"m"} {}"#, None);
        check_refused(r#"{"messages":[]}"#, Some("model"));
        check_refused(r#"{"model":1}"#, Some("model"));
        check_refused(r#"{"model":""}"#, Some("model"));
        check_refused(r#"{"model":"a\nb"}"#, Some("model"));
        check_refused(r#"{"model":"\ud83d"}"#, Some("model"));
        check_refused(&format!(r#"{{"model":"{}"}}"#, "m".repeat(257)), Some("model"));
        check_refused(r#"{"model":"m","stream":"yes"}"#, Some("stream"));
        check_refused(r#"{"model":"m","stream_options":[]}"#, Some("stream_options"));
        check_refused(r#"{"model":"m","stream_options":{"include_usage":1}}"#, Some("stream_options.include_usage"));
    }

    #[test]
    fn a_field_given_twice_is_refused_even_when_escaped() {
        check_refused(r#"{"model":"cheap","model":"dear"}"#, Some("model"));
        check_refused(r#"{"model":"cheap","mod\u0065l":"dear"}"#, Some("model"));
        check_refused(r#"{"model":"m","stream":false,"str\u0065am":true}"#, Some("stream"));
        check_refused(
            r#"{"model":"m","stream_options":{"include_usage":true,"include_usage":false}}"#,
            Some("stream_options.include_usage"),
        );
    }

    #[test]
    fn depth_bombs_are_refused_and_lone_surrogates_elsewhere_are_not_our_business() {
        check_refused(&format!(r#"{{"model":"m","x":{}"#, "[".repeat(500_000)), None);
        assert!(parse(r#"{"model":"m","messages":[{"role":"user","content":"\ud83d"}]}"#).is_ok());
    }

    #[test]
    fn debug_output_never_shows_the_body() {
        assert!(!format!("{:?}", parse(r#"{"model":"m","x":"secret"}"#).unwrap()).contains("secret"));
    }
}
