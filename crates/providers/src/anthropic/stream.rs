//! From Messages events to chat completion chunks: one small method an event.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::BytesMut;
use meridian_llm::anthropic::Counts;
use meridian_llm::openai::ChunkWriter;
use meridian_llm::{Failure, FinishReason, StreamEvent};
use meridian_sse::Event;

use super::wire::BlockKind;
use super::{error, wire};
use crate::{CallContext, Step, StreamTranslator};

/// Most tool calls in one answer. Real answers make a handful; each costs a few bytes of state.
const MAX_TOOL_CALLS: u32 = 256;

/// The state of one stream.
pub(super) struct Translator {
    context: CallContext,
    /// Set by `message_start`: id and model come from there.
    writer: Option<ChunkWriter>,
    counts: Counts,
    /// Calls whose block is open, by block index.
    open_calls: BTreeMap<u64, OpenCall>,
    calls: u32,
    finish: Option<FinishReason>,
}

/// A tool call whose arguments are arriving.
struct OpenCall {
    index: u32,
    /// Arguments given whole with the start of the block, used if no fragment follows.
    whole: String,
    has_fragments: bool,
}

impl StreamTranslator for Translator {
    fn event(&mut self, event: Event) -> Result<Step, Failure> {
        let Some(data) = event.data() else {
            return Ok(self.nothing());
        };
        let malformed = || Failure::malformed("a stream event is not what the Messages API promises");
        let parsed: wire::Event<'_> = match serde_json::from_slice(data) {
            Ok(parsed) => parsed,
            Err(_) if wire::is_unknown_event(data) => return Ok(self.nothing()),
            // An error event need not carry its type at the top.
            Err(_) => return Err(error::in_band(data).unwrap_or_else(malformed)),
        };
        use wire::EventKind as Kind;
        match parsed.kind {
            Kind::MessageStart => self.message_start(parsed.message.ok_or_else(malformed)?),
            Kind::ContentBlockStart => {
                self.block_start(parsed.index.ok_or_else(malformed)?, parsed.content_block.ok_or_else(malformed)?)
            }
            Kind::ContentBlockDelta => {
                self.block_delta(parsed.index.ok_or_else(malformed)?, parsed.delta.ok_or_else(malformed)?)
            }
            Kind::ContentBlockStop => self.block_stop(parsed.index.ok_or_else(malformed)?),
            Kind::MessageDelta => self.message_delta(parsed.delta, parsed.usage),
            Kind::MessageStop => self.complete(),
            Kind::Error => Err(error::in_band(data).unwrap_or_else(malformed)),
            Kind::Other => Ok(self.nothing()),
        }
    }

    fn end(&mut self) -> Result<Step, Failure> {
        // With the stop reason in hand only `message_stop` was lost.
        self.complete()
    }
}

impl Translator {
    pub(super) fn new(context: CallContext) -> Self {
        Self { context, writer: None, counts: Counts::default(), open_calls: BTreeMap::new(), calls: 0, finish: None }
    }

    fn message_start(&mut self, message: wire::Message<'_>) -> Result<Step, Failure> {
        if self.writer.is_some() {
            return Err(Failure::malformed("a second message began in one stream"));
        }
        let (id, model) = (message.id.0.into_owned(), message.model.0.into_owned());
        self.writer = Some(ChunkWriter::new(id, model, self.context.created, self.context.include_usage));
        self.counts.update(message.usage);
        let mut step = self.write(&[StreamEvent::Start])?;
        step.usage = Some(self.counts.usage());
        Ok(step)
    }

    fn block_start(&mut self, at: u64, block: wire::ContentBlock<'_>) -> Result<Step, Failure> {
        match (block.kind, block) {
            (BlockKind::ToolUse, wire::ContentBlock { id: Some(id), name: Some(name), input, .. }) => {
                if self.calls == MAX_TOOL_CALLS {
                    return Err(Failure::malformed("the answer makes too many tool calls"));
                }
                let index = self.calls;
                self.calls += 1;
                let whole = input.map_or("{}", |input| input.get()).to_owned();
                self.open_calls.insert(at, OpenCall { index, whole, has_fragments: false });
                self.write(&[StreamEvent::ToolCallStart { index, id: id.0, name: name.0 }])
            }
            (BlockKind::ToolUse, _) => Err(Failure::malformed("a tool call lacks id or name")),
            (BlockKind::Text, wire::ContentBlock { text: Some(text), .. }) if !text.0.is_empty() => {
                self.write(&[StreamEvent::Text(text.0)])
            }
            _ => self.write(&[]),
        }
    }

    fn block_delta(&mut self, at: u64, delta: wire::Delta<'_>) -> Result<Step, Failure> {
        match delta {
            wire::Delta { text: Some(text), .. } => self.write(&[StreamEvent::Text(text.0)]),
            wire::Delta { thinking: Some(thinking), .. } => self.write(&[StreamEvent::Reasoning(thinking.0)]),
            wire::Delta { partial_json: Some(json), .. } => self.arguments(at, json.0),
            // Signatures, citations, and whatever is added later.
            _ => self.write(&[]),
        }
    }

    fn arguments(&mut self, at: u64, fragment: Cow<'_, str>) -> Result<Step, Failure> {
        // Blocks of kinds that are not translated (server tools) have arguments too.
        let Some(call) = self.open_calls.get_mut(&at).filter(|_| !fragment.is_empty()) else {
            return self.write(&[]);
        };
        call.has_fragments = true;
        let index = call.index;
        self.write(&[StreamEvent::ToolCallArguments { index, fragment }])
    }

    /// A call that had no fragments has its arguments from the start of its block, mostly `{}`: clients parse the
    /// concatenation, and nothing is not JSON.
    fn block_stop(&mut self, at: u64) -> Result<Step, Failure> {
        match self.open_calls.remove(&at) {
            Some(call) if !call.has_fragments => {
                self.write(&[StreamEvent::ToolCallArguments { index: call.index, fragment: call.whole.into() }])
            }
            _ => self.write(&[]),
        }
    }

    fn message_delta(&mut self, delta: Option<wire::Delta<'_>>, counts: Option<Counts>) -> Result<Step, Failure> {
        self.counts.update(counts.unwrap_or_default());
        let reason = delta.and_then(|delta| delta.stop_reason).map(|reason| wire::finish_reason(&reason.0));
        let mut step = match reason {
            Some(reason) if self.finish.is_none() => {
                self.finish = Some(reason);
                self.write(&[StreamEvent::Finish(reason)])?
            }
            _ => self.write(&[])?,
        };
        step.usage = Some(self.counts.usage());
        Ok(step)
    }

    fn complete(&mut self) -> Result<Step, Failure> {
        if self.finish.is_none() {
            return Err(Failure::truncated("the stream ended before the answer was complete"));
        }
        let usage = self.counts.usage();
        let step = self.write(&[StreamEvent::Usage(usage)])?;
        let mut bytes = BytesMut::from(&*step.bytes);
        bytes.extend_from_slice(&meridian_sse::done());
        Ok(Step { bytes: bytes.freeze(), done: true, usage: Some(usage), ..step })
    }

    fn nothing(&self) -> Step {
        Step { finished: self.finish.is_some(), ..Step::default() }
    }

    fn write(&self, events: &[StreamEvent<'_>]) -> Result<Step, Failure> {
        let writer = self.writer.as_ref().ok_or(Failure::malformed("the stream does not begin with message_start"))?;
        let mut out = BytesMut::new();
        for event in events {
            writer.write(&mut out, event);
        }
        let content = events.iter().any(StreamEvent::is_content);
        Ok(Step { bytes: out.freeze(), content, finished: self.finish.is_some(), done: false, usage: None })
    }
}
