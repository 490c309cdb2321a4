//! From chat completion chunks to Messages events.

use std::collections::BTreeMap;

use bytes::BytesMut;
use meridian_llm::anthropic::EventWriter;
use meridian_llm::openai::{ChunkData, ChunkFacts, inspect_chunk};
use meridian_llm::{Failure, StreamEvent};
use meridian_sse::Event;

use super::super::error;
use super::{finish_reason, wire};
use crate::{CallContext, Step, StreamTranslator};

/// Most tool calls in one answer. Real answers make a handful; each costs a few bytes of state.
const MAX_TOOL_CALLS: u32 = 256;

/// The state of one stream.
pub(in super::super) struct Translator {
    context: CallContext,
    /// Set by the first chunk that has a choice: id and model come from there.
    writer: Option<EventWriter>,
    /// Our index of each call, by the upstream's.
    calls: BTreeMap<u64, u32>,
    finished: bool,
}

impl StreamTranslator for Translator {
    fn event(&mut self, event: Event) -> Result<Step, Failure> {
        let Some(data) = event.data() else {
            // A keep-alive comment is one in any dialect.
            return Ok(Step { bytes: event.into_raw(), finished: self.finished, ..Step::default() });
        };
        match inspect_chunk(data) {
            Ok(ChunkData::Chunk(facts)) if facts.error => Err(error::in_band(data)),
            Ok(ChunkData::Chunk(facts)) => self.chunk(data, facts),
            // Proxies write an end mark after whatever came. Only `finish_reason` tells a whole answer from one that was cut.
            Ok(ChunkData::Done) => self.end(),
            Err(_) => Err(Failure::malformed("a stream event is not a JSON object")),
        }
    }

    fn end(&mut self) -> Result<Step, Failure> {
        if !self.finished {
            return Err(Failure::truncated("the stream ended before the answer was complete"));
        }
        let mut out = BytesMut::new();
        if let Some(writer) = self.writer.as_mut() {
            writer.end(&mut out);
        }
        Ok(Step { bytes: out.freeze(), finished: true, done: true, ..Step::default() })
    }
}

impl Translator {
    pub(in super::super) const fn new(context: CallContext) -> Self {
        Self { context, writer: None, calls: BTreeMap::new(), finished: false }
    }

    fn chunk(&mut self, data: &[u8], facts: ChunkFacts) -> Result<Step, Failure> {
        let usage = facts.usage;
        let mut events = Vec::new();
        if let Some(usage) = usage {
            events.push(StreamEvent::Usage(usage));
        }
        // Usage alone, and Azure's verdict on the prompt, have no choice in them.
        if facts.choices == 0 {
            let step = self.write(&events)?;
            return Ok(Step { usage, ..step });
        }
        let malformed = |_| Failure::malformed("a stream event is not a chunk of a chat completion");
        let chunk: wire::Answer<'_> = serde_json::from_slice(data).map_err(malformed)?;
        if self.writer.is_none() {
            let (id, model) = chunk.name(&self.context.upstream_model);
            self.writer = Some(EventWriter::new(id.into_owned(), model.into_owned()));
            events.push(StreamEvent::Start);
        }
        for choice in chunk.choices {
            self.said(choice.message.unwrap_or_default(), &mut events)?;
            if let Some(reason) = choice.finish_reason.filter(|_| !self.finished) {
                self.finished = true;
                events.push(StreamEvent::Finish(finish_reason(&reason.0, !self.calls.is_empty())));
            }
        }
        let step = self.write(&events)?;
        Ok(Step { usage, ..step })
    }

    fn said<'a>(&mut self, said: wire::Said<'a>, events: &mut Vec<StreamEvent<'a>>) -> Result<(), Failure> {
        if let Some(text) = said.reasoning_content.or(said.reasoning) {
            events.push(StreamEvent::Reasoning(text.0));
        }
        events.extend([said.content, said.refusal].into_iter().flatten().map(|text| StreamEvent::Text(text.0)));
        for (at, call) in said.tool_calls.unwrap_or_default().into_iter().enumerate() {
            self.call(at, call, events)?;
        }
        Ok(())
    }

    fn call<'a>(
        &mut self,
        at: usize,
        call: wire::SaidCall<'a>,
        events: &mut Vec<StreamEvent<'a>>,
    ) -> Result<(), Failure> {
        let function = call.function.unwrap_or_default();
        // Imitations that send calls whole number them by their place only.
        let theirs = call.index.unwrap_or(at as u64);
        let index = match self.calls.get(&theirs) {
            Some(index) => *index,
            None => {
                let (Some(id), Some(name)) = (call.id, function.name) else {
                    return Err(Failure::malformed("a tool call lacks id or name"));
                };
                let index = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
                if index >= MAX_TOOL_CALLS {
                    return Err(Failure::malformed("the answer makes too many tool calls"));
                }
                self.calls.insert(theirs, index);
                events.push(StreamEvent::ToolCallStart { index, id: id.0, name: name.0 });
                index
            }
        };
        if let Some(fragment) = function.arguments.filter(|fragment| !fragment.0.is_empty()) {
            events.push(StreamEvent::ToolCallArguments { index, fragment: fragment.0 });
        }
        Ok(())
    }

    fn write(&mut self, events: &[StreamEvent<'_>]) -> Result<Step, Failure> {
        let mut out = BytesMut::new();
        let mut content = false;
        for event in events {
            // Usage before the first choice is repeated at the end by whoever sends it with every chunk.
            let Some(writer) = self.writer.as_mut() else { continue };
            let late = |_| Failure::malformed("a piece of a tool call came after the call was over");
            writer.write(&mut out, event).map_err(late)?;
            content |= event.is_content();
        }
        Ok(Step { bytes: out.freeze(), content, finished: self.finished, done: false, usage: None })
    }
}
