//! Writes canonical stream events and answers in Anthropic's shape, for upstreams that speak another dialect.

mod wire;

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use serde_json::value::RawValue;

use self::wire::{Block, Data, Delta, Message, MessageEnd, UsageBody};
use crate::{ChatResponse, FinishReason, StreamEvent, Usage, json};

/// A piece of a tool call came after another block had begun: blocks follow one another in this dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a piece of a tool call came out of order")]
pub struct OutOfOrder;

/// Writes the events of one message. Blocks are opened and closed as pieces of another kind come; why generation ended and
/// what it used is said at the very end, because the dialect has one event for both.
#[derive(Debug, Clone)]
pub struct EventWriter {
    id: String,
    model: String,
    open: Option<Open>,
    /// The index of the next block.
    next: u32,
    finish: Option<FinishReason>,
    usage: Usage,
}

/// The kind of the block that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    /// A call, by its index among the calls.
    Call(u32),
}

impl EventWriter {
    /// A writer of a message with this id and model.
    #[must_use]
    pub const fn new(id: String, model: String) -> Self {
        let usage = Usage {
            prompt_tokens: 0,
            completion_tokens: 0,
            cached_tokens: 0,
            cache_write_tokens: 0,
            reasoning_tokens: 0,
        };
        Self { id, model, open: None, next: 0, finish: None, usage }
    }

    /// Appends `event` as server-sent events.
    ///
    /// # Errors
    /// When it continues a tool call whose block is closed.
    pub fn write(&mut self, out: &mut BytesMut, event: &StreamEvent<'_>) -> Result<(), OutOfOrder> {
        match event {
            StreamEvent::Start => {
                let message = Message::new(&self.id, &self.model, Vec::new(), None, &self.usage);
                Data::MessageStart { message }.write(out);
            }
            StreamEvent::Text(text) if text.is_empty() => {}
            StreamEvent::Text(text) => {
                self.switch(out, Open::Text, Block::Text { text: "" });
                self.delta(out, Delta::TextDelta { text });
            }
            StreamEvent::Reasoning(text) if text.is_empty() => {}
            StreamEvent::Reasoning(thinking) => {
                // Nobody signed it: see `MessagesRequestBody::rewritten`.
                self.switch(out, Open::Thinking, Block::Thinking { thinking: "", signature: "" });
                self.delta(out, Delta::ThinkingDelta { thinking });
            }
            StreamEvent::ToolCallStart { index, id, name } => {
                let id = &tool_id(id);
                self.switch(out, Open::Call(*index), Block::ToolUse { id, name, input: wire::no_input() });
            }
            StreamEvent::ToolCallArguments { index, fragment } => {
                if self.open != Some(Open::Call(*index)) {
                    return Err(OutOfOrder);
                }
                self.delta(out, Delta::InputJsonDelta { partial_json: fragment });
            }
            StreamEvent::Finish(reason) => {
                self.close(out);
                self.finish.get_or_insert(*reason);
            }
            StreamEvent::Usage(usage) => self.usage = *usage,
        }
        Ok(())
    }

    /// Appends the end of the message: reason, usage, end mark.
    pub fn end(&mut self, out: &mut BytesMut) {
        self.close(out);
        let stop_reason = self.finish.unwrap_or(FinishReason::Stop).as_anthropic();
        let delta = MessageEnd { stop_reason, stop_sequence: () };
        Data::MessageDelta { delta, usage: UsageBody::from(&self.usage) }.write(out);
        out.extend_from_slice(&message_stop());
    }

    fn switch(&mut self, out: &mut BytesMut, to: Open, content_block: Block<'_>) {
        if self.open == Some(to) {
            return;
        }
        self.close(out);
        Data::ContentBlockStart { index: self.next, content_block }.write(out);
        self.next += 1;
        self.open = Some(to);
    }

    fn close(&mut self, out: &mut BytesMut) {
        if self.open.take().is_some() {
            Data::ContentBlockStop { index: self.next.saturating_sub(1) }.write(out);
        }
    }

    fn delta(&self, out: &mut BytesMut, delta: Delta<'_>) {
        Data::ContentBlockDelta { index: self.next.saturating_sub(1), delta }.write(out);
    }
}

/// The end mark of a stream.
#[must_use]
pub const fn message_stop() -> Bytes {
    Bytes::from_static(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
}

/// Writes a whole answer.
///
/// # Errors
/// When the arguments of a tool call are not a JSON object: this dialect has no place for anything else.
pub fn response_body(response: &ChatResponse<'_>) -> Result<Bytes, serde_json::Error> {
    let mut content = Vec::new();
    if let Some(thinking) = response.reasoning.as_deref().filter(|text| !text.is_empty()) {
        content.push(Block::Thinking { thinking, signature: "" });
    }
    if let Some(text) = response.text.as_deref().filter(|text| !text.is_empty()) {
        content.push(Block::Text { text });
    }
    let calls: Vec<_> =
        response.tool_calls.iter().map(|(id, name, arguments)| (tool_id(id), name, arguments)).collect();
    for (id, name, arguments) in &calls {
        content.push(Block::ToolUse { id, name, input: input(arguments)? });
    }
    let stop_reason = Some(response.finish.as_anthropic());
    Ok(json::to_bytes(&Message::new(&response.id, &response.model, content, stop_reason, &response.usage)))
}

/// Ids of tool calls in this dialect have letters, digits, `_` and `-` only. Other providers' (Kimi's `functions.f:0`) are
/// mapped, the same way in calls and in results, so that they still match and so that a conversation that began elsewhere
/// may go on at Anthropic.
#[must_use]
pub fn tool_id(id: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if id.chars().all(fits) { id.into() } else { id.chars().map(|c| if fits(c) { c } else { '_' }).collect() }
}

/// The arguments of a call as written; none at all stand for no arguments.
fn input(arguments: &str) -> Result<&RawValue, serde_json::Error> {
    if arguments.trim().is_empty() {
        return Ok(wire::no_input());
    }
    let input: &RawValue = serde_json::from_str(arguments)?;
    if !input.get().starts_with('{') {
        return Err(serde::de::Error::custom("not an object"));
    }
    Ok(input)
}

#[cfg(test)]
mod tests;
