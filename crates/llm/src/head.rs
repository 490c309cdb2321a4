//! What the gateway reads of every request that asks a model, and the readers that the dialects share.

use crate::json::{Cursor, JsonError, Span};
use crate::{ClientError, ErrorCode};

/// Longest model name accepted, in bytes. Real ones stay under 128; it appears in headers, logs and metrics.
const MAX_MODEL_BYTES: usize = 256;

/// What the gateway reads of a request; everything else is the provider's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// The model the client named.
    pub model: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether the client is shown usage in a stream: OpenAI's `stream_options.include_usage`; always in Anthropic's.
    pub include_usage: bool,
    /// Most tokens to generate: an upper bound for token reservation.
    pub max_tokens: Option<u64>,
    /// How many answers are wanted (OpenAI's `n`).
    pub choices: u64,
    /// Whether the request offers tools.
    pub has_tools: bool,
}

/// Why reading ended before its time.
pub(crate) enum Stop {
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

impl From<Stop> for ClientError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Json(error) => {
                Self::new(ErrorCode::InvalidRequest, format!("the body is not a valid JSON object: {error}"))
            }
            Stop::Client(error) => error,
        }
    }
}

/// Reads the members of a whole body that `fields` names and skips the others. `read` is called with the name's place in
/// `fields`, and the cursor before the value.
///
/// A body that repeats one of them is refused: whether the first or the last one counts differs between parsers, and what
/// was authorized must be what is sent.
pub(crate) fn read_fields<'a>(
    bytes: &'a [u8],
    fields: &[&'static str],
    mut read: impl FnMut(&mut Cursor<'a>, &'static str) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut seen = 0_u32;
    let mut cursor = Cursor::new(bytes)?;
    cursor.object::<Stop>(|cursor, key| {
        let Some((at, name)) = fields.iter().enumerate().find(|(_, name)| key.is(name)) else {
            cursor.skip()?;
            return Ok(());
        };
        if seen & (1 << at) != 0 {
            return Err(ClientError::invalid(*name, "must not be given twice").into());
        }
        seen |= 1 << at;
        read(cursor, name)
    })?;
    cursor.end()?;
    Ok(())
}

/// Reads the value of `model`, and where it lies.
pub(crate) fn read_model(cursor: &mut Cursor<'_>) -> Result<(String, Span), Stop> {
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
    Ok((name.into_owned(), start..cursor.offset()))
}

/// What is said when `model` is missing.
pub(crate) fn no_model() -> ClientError {
    ClientError::invalid("model", "you must provide a model parameter")
}

/// A boolean; `null` counts as false.
pub(crate) fn read_boolean(cursor: &mut Cursor<'_>, param: &'static str) -> Result<bool, Stop> {
    match cursor.peek() {
        Some(b't' | b'f' | b'n') => Ok(cursor.boolean()?.unwrap_or(false)),
        _ => Err(ClientError::invalid(param, "must be a boolean").into()),
    }
}
