//! Reads the few fields of a request body that the gateway acts on, and remembers where they lie.

use bytes::Bytes;

use crate::ClientError;
use crate::json::{Cursor, JsonError, Span};

/// Longest model name accepted, in bytes. Real ones stay under 128; it appears in headers, logs and metrics.
const MAX_MODEL_BYTES: usize = 256;

/// What the gateway reads of a chat request; everything else is the provider's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The model the client named.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the client asked for the extra usage chunk (`stream_options.include_usage`).
    pub include_usage: bool,
    /// `max_completion_tokens`, else `max_tokens`: an upper bound for token reservation.
    pub max_tokens: Option<u64>,
    /// `n`: how many answers are wanted.
    pub choices: u64,
    /// Whether the request offers tools.
    pub has_tools: bool,
}

/// A request body as it was received, and what was read of it.
///
/// A body that repeats a field which the gateway acts on is refused: whether the first or the last one counts differs
/// between parsers, and what was authorized must be what is sent.
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
        let outcome = read(&bytes, &mut reader);
        match outcome {
            Ok(()) => {}
            Err(Stop::Json(error)) => {
                return Err(ClientError::new(
                    crate::ErrorCode::InvalidRequest,
                    format!("the body is not a valid JSON object: {error}"),
                ));
            }
            Err(Stop::Client(error)) => return Err(error),
        }
        let Reader {
            model, stream, include_usage, max_tokens, max_completion_tokens, choices, has_tools, spans, ..
        } = reader;
        let model = model.ok_or_else(|| ClientError::invalid("model", "you must provide a model parameter"))?;
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

enum Stop {
    Json(JsonError),
    Client(ClientError),
}

impl From<JsonError> for Stop {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl From<ClientError> for Stop {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// The fields that are read, in the order of the bits of `Reader::seen`.
const FIELDS: [&str; 7] = ["model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools"];

#[derive(Default)]
struct Reader {
    seen: u8,
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
    let mut cursor = Cursor::new(bytes)?;
    cursor.object::<Stop>(|cursor, key| {
        let Some((bit, name)) = FIELDS.iter().enumerate().find(|(_, name)| key.is(name)) else {
            cursor.skip()?;
            return Ok(());
        };
        let bit = 1_u8 << bit;
        if reader.seen & bit != 0 {
            return Err(ClientError::invalid(*name, "must not be given twice").into());
        }
        reader.seen |= bit;
        match *name {
            "model" => reader.model(cursor)?,
            "stream" => reader.stream = boolean(cursor, "stream")?,
            "stream_options" => reader.stream_options(cursor)?,
            "max_tokens" => reader.max_tokens = cursor.whole_number()?,
            "max_completion_tokens" => reader.max_completion_tokens = cursor.whole_number()?,
            "n" => reader.choices = cursor.whole_number()?,
            _ => reader.has_tools = cursor.carries()?,
        }
        Ok(())
    })?;
    cursor.end()?;
    Ok(())
}

impl Reader {
    fn model(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Stop> {
        if cursor.peek() != Some(b'"') {
            return Err(ClientError::invalid("model", "must be a string").into());
        }
        let start = cursor.offset();
        let model = cursor.string()?;
        let name = model.decode().map_err(|_| ClientError::invalid("model", "must be valid Unicode"))?;
        if name.is_empty() || name.len() > MAX_MODEL_BYTES || name.chars().any(char::is_control) {
            let message = format!("must have 1 to {MAX_MODEL_BYTES} bytes and no control characters");
            return Err(ClientError::invalid("model", message).into());
        }
        self.model = Some(name.into_owned());
        self.spans.model = start..cursor.offset();
        Ok(())
    }

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
            self.include_usage = boolean(cursor, "stream_options.include_usage")?;
            span = Some(start..cursor.offset());
            Ok(())
        })?;
        self.spans.stream_options = Some(StreamOptions { object: start..cursor.offset(), include_usage: span, empty });
        Ok(())
    }
}

/// A boolean; `null` counts as false.
fn boolean(cursor: &mut Cursor<'_>, param: &'static str) -> Result<bool, Stop> {
    match cursor.peek() {
        Some(b't' | b'f' | b'n') => Ok(cursor.boolean()?.unwrap_or(false)),
        _ => Err(ClientError::invalid(param, "must be a boolean").into()),
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
