//! Forwards a stream event by event, as it came, once each is known to be sound.

use meridian_llm::Failure;
use meridian_llm::openai::{ChunkData, ChunkFacts, inspect_chunk};
use meridian_sse::Event;

use super::error;
use crate::{Step, StreamTranslator};

/// The state of one stream: which choices were seen and which have ended.
pub(super) struct Translator {
    include_usage: bool,
    choices: u128,
    finished: u128,
}

impl Translator {
    pub(super) const fn new(include_usage: bool) -> Self {
        Self { include_usage, choices: 0, finished: 0 }
    }

    /// Every choice that began has its `finish_reason`.
    const fn is_finished(&self) -> bool {
        self.choices != 0 && self.choices == self.finished
    }

    fn chunk(&mut self, event: Event, facts: ChunkFacts) -> Result<Step, Failure> {
        if facts.error {
            return Err(error::in_band(event.data().map(|data| &**data).unwrap_or_default()));
        }
        self.choices |= facts.choices;
        self.finished |= facts.finished;
        let wanted = self.include_usage || !facts.is_usage_only();
        Ok(Step {
            bytes: if wanted { event.into_raw() } else { bytes::Bytes::new() },
            content: facts.content,
            finished: self.is_finished(),
            done: false,
            usage: facts.usage,
        })
    }

    fn finish() -> Step {
        Step { bytes: meridian_sse::done(), finished: true, done: true, ..Step::default() }
    }
}

impl StreamTranslator for Translator {
    fn event(&mut self, event: Event) -> Result<Step, Failure> {
        // Comments are the upstream's keep-alive and reach the client as such.
        let Some(data) = event.data() else {
            return Ok(Step { bytes: event.into_raw(), finished: self.is_finished(), ..Step::default() });
        };
        match inspect_chunk(data) {
            Ok(ChunkData::Chunk(facts)) => self.chunk(event, facts),
            // Proxies write an end mark after whatever came. Only `finish_reason` tells a whole answer from one that was cut.
            Ok(ChunkData::Done) => self.end(),
            Err(_) => Err(Failure::malformed("a stream event is not a JSON object")),
        }
    }

    fn end(&mut self) -> Result<Step, Failure> {
        if self.is_finished() {
            return Ok(Self::finish());
        }
        Err(Failure::truncated("the stream ended before the answer was complete"))
    }
}
