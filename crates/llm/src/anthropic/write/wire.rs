//! Events and messages as they stand on the wire.

use bytes::BytesMut;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Usage, json};

/// The data of an event.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Data<'a> {
    MessageStart { message: Message<'a> },
    ContentBlockStart { index: u32, content_block: Block<'a> },
    ContentBlockDelta { index: u32, delta: Delta<'a> },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: MessageEnd, usage: UsageBody },
}

impl Data<'_> {
    /// Appends the event under its name: clients skip events without one.
    pub(super) fn write(&self, out: &mut BytesMut) {
        let name = match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
        };
        out.extend_from_slice(&meridian_sse::named(name, &json::to_bytes(self)));
    }
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: Option<&'static str>,
    stop_sequence: (),
    usage: UsageBody,
}

impl<'a> Message<'a> {
    pub(super) fn new(
        id: &'a str,
        model: &'a str,
        content: Vec<Block<'a>>,
        stop_reason: Option<&'static str>,
        usage: &Usage,
    ) -> Self {
        let (kind, role) = ("message", "assistant");
        Self { id, kind, role, model, content, stop_reason, stop_sequence: (), usage: UsageBody::from(usage) }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text { text: &'a str },
    Thinking { thinking: &'a str, signature: &'a str },
    ToolUse { id: &'a str, name: &'a str, input: &'a RawValue },
}

/// `{}`.
pub(super) fn no_input() -> &'static RawValue {
    // `{}` is JSON; if reading it ever failed, `null` would be as true.
    serde_json::from_str("{}").unwrap_or(RawValue::NULL)
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the API's own names")]
pub(super) enum Delta<'a> {
    TextDelta { text: &'a str },
    ThinkingDelta { thinking: &'a str },
    InputJsonDelta { partial_json: &'a str },
}

#[derive(Serialize)]
pub(super) struct MessageEnd {
    pub(super) stop_reason: &'static str,
    pub(super) stop_sequence: (),
}

#[derive(Serialize)]
pub(super) struct UsageBody {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    output_tokens: u64,
}

/// The API's `input_tokens` leaves cached ones out; ours include them.
impl From<&Usage> for UsageBody {
    fn from(usage: &Usage) -> Self {
        let cached = usage.cached_tokens.saturating_add(usage.cache_write_tokens);
        Self {
            input_tokens: usage.prompt_tokens.saturating_sub(cached),
            cache_creation_input_tokens: usage.cache_write_tokens,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens: usage.completion_tokens,
        }
    }
}
