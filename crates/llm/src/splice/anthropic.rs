//! Messages events: what they say, and how they become events of another message.

use bytes::BytesMut;
use meridian_sse::{Event, named};

use super::object::{self, Malformed, Object};
use super::{Said, Seam};
use crate::anthropic::{Counts, EventKind, inspect_event};
use crate::json;

/// The blocks of the message so far, and what it said of its prompt.
#[derive(Clone, Default)]
pub(super) struct Blocks {
    /// The index of the text block that is open.
    open: Option<u64>,
    /// The index of the next block.
    next: u64,
    counts: Counts,
    /// The counts of the prompt, as the client was shown them.
    prompt: Object<'static>,
}

/// The members of `usage` that count the prompt.
const PROMPT: [&str; 3] = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];

impl Blocks {
    /// Reads an event that goes to the client.
    pub(super) fn read(&mut self, data: &[u8], said: &mut Said) -> Result<(), Malformed> {
        let facts = inspect_event(data)?;
        if let Some(counts) = facts.counts {
            self.counts.update(counts);
            said.reported = Some(self.counts.usage());
        }
        match facts.kind {
            EventKind::MessageStart => {
                let event = object::read(data)?;
                let message = object::inner(&event, "message")?;
                let usage = object::inner(&message, "usage")?;
                for name in PROMPT {
                    if let Some(tokens) = object::number(&usage, name) {
                        object::set(&mut self.prompt, name, &tokens)?;
                    }
                }
            }
            EventKind::BlockStart => {
                let event = object::read(data)?;
                let index = object::number(&event, "index").ok_or(Malformed)?;
                let block = object::inner(&event, "content_block")?;
                let text = object::string(&block, "type")?.as_deref() == Some("text");
                if !text || object::carries_besides(&block, &["type", "text"]) {
                    said.unfit();
                    return Ok(());
                }
                said.text(&object::string(&block, "text")?.unwrap_or_default());
                self.open = Some(index);
                self.next = index.saturating_add(1);
            }
            EventKind::BlockDelta => {
                let event = object::read(data)?;
                let delta = object::inner(&event, "delta")?;
                if object::carries_besides(&delta, &["type", "text"]) {
                    said.unfit();
                    return Ok(());
                }
                said.text(&object::string(&delta, "text")?.unwrap_or_default());
            }
            EventKind::BlockStop => self.open = None,
            // Nothing may follow.
            EventKind::MessageDelta if facts.finished => said.unfit(),
            EventKind::MessageStop | EventKind::Error => said.unfit(),
            EventKind::MessageDelta | EventKind::Other => {}
        }
        Ok(())
    }
}

/// Turns the events of one message into events of the one that it continues.
pub(super) struct Splice {
    blocks: Blocks,
    /// The first block of the continuing message, and the index that the client knows it by.
    shift: Option<(u64, u64)>,
    /// What the continuing message says of its own tokens.
    counts: Counts,
}

impl Splice {
    pub(super) fn new(blocks: Blocks) -> Self {
        Self { blocks, shift: None, counts: Counts::default() }
    }

    pub(super) fn event(
        &mut self,
        event: Event,
        said: &Said,
        seam: &mut Seam,
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        let Some(data) = event.data() else {
            out.extend_from_slice(event.raw());
            return Ok(());
        };
        let facts = inspect_event(data)?;
        if let Some(counts) = facts.counts {
            self.counts.update(counts);
        }
        match facts.kind {
            // The client has its own.
            EventKind::MessageStart => Ok(()),
            EventKind::BlockStart => self.block_start(object::read(data)?, seam, out),
            EventKind::BlockDelta => self.block_delta(object::read(data)?, seam, out),
            EventKind::BlockStop => {
                let mut event = object::read(data)?;
                self.place(&mut event)?;
                write(out, "content_block_stop", &event);
                Ok(())
            }
            EventKind::MessageDelta => {
                self.close(out);
                self.message_delta(object::read(data)?, said, out)
            }
            EventKind::MessageStop | EventKind::Error | EventKind::Other => {
                out.extend_from_slice(event.raw());
                Ok(())
            }
        }
    }

    /// The first block goes on with the text block that is open; another kind of block closes that first.
    fn block_start(&mut self, mut event: Object<'_>, seam: &mut Seam, out: &mut BytesMut) -> Result<(), Malformed> {
        let index = object::number(&event, "index").ok_or(Malformed)?;
        let block = object::inner(&event, "content_block")?;
        let is_text = object::string(&block, "type")?.as_deref() == Some("text");
        if self.shift.is_none() {
            if let Some(open) = self.blocks.open.take_if(|_| is_text) {
                self.shift = Some((index, open));
                let text = object::string(&block, "text")?.unwrap_or_default();
                let text = seam.join(&text);
                if !text.is_empty() {
                    let delta = serde_json::json!({"type": "text_delta", "text": text});
                    let event = serde_json::json!({"type": "content_block_delta", "index": open, "delta": delta});
                    out.extend_from_slice(&named("content_block_delta", &json::to_bytes(&event)));
                }
                return Ok(());
            }
            self.close(out);
            self.shift = Some((index, self.blocks.next));
        }
        self.place(&mut event)?;
        write(out, "content_block_start", &event);
        Ok(())
    }

    fn block_delta(&self, event: Object<'_>, seam: &mut Seam, out: &mut BytesMut) -> Result<(), Malformed> {
        let mut delta = object::inner(&event, "delta")?;
        // Half a surrogate pair cannot be read, and repeats no white space.
        if let Ok(Some(text)) = object::string(&delta, "text") {
            let rest = seam.join(&text);
            if rest.is_empty() {
                return Ok(());
            }
            object::set(&mut delta, "text", &rest)?;
        }
        let mut placed = event.clone();
        object::set(&mut placed, "delta", &delta)?;
        self.place(&mut placed)?;
        write(out, "content_block_delta", &placed);
        Ok(())
    }

    /// The tokens of both parts; of the prompt, what the client was shown before.
    fn message_delta(&self, event: Object<'_>, said: &Said, out: &mut BytesMut) -> Result<(), Malformed> {
        let theirs = self.counts.usage();
        let mut usage = object::inner(&event, "usage")?;
        object::set(&mut usage, "output_tokens", &theirs.completion_tokens.saturating_add(said.tokens()))?;
        if said.prompt().is_some() {
            for (name, tokens) in &self.blocks.prompt {
                if usage.contains_key(name) {
                    usage.insert(name.clone(), tokens.clone());
                }
            }
        } else if let Some(counted) = object::number(&usage, "input_tokens") {
            object::set(&mut usage, "input_tokens", &counted.saturating_sub(said.tokens()))?;
        }
        let mut told = event.clone();
        object::set(&mut told, "usage", &usage)?;
        write(out, "message_delta", &told);
        Ok(())
    }

    /// Closes the block that was open when the other stream died, if nothing has gone on with it.
    fn close(&mut self, out: &mut BytesMut) {
        if let Some(index) = self.blocks.open.take() {
            let event = serde_json::json!({"type": "content_block_stop", "index": index});
            out.extend_from_slice(&named("content_block_stop", &json::to_bytes(&event)));
        }
    }

    /// Gives a block's event the index that the client knows the block by.
    fn place(&self, event: &mut Object<'_>) -> Result<(), Malformed> {
        let index = object::number(event, "index").ok_or(Malformed)?;
        let (first, known) = self.shift.ok_or(Malformed)?;
        object::set(event, "index", &known.saturating_add(index.checked_sub(first).ok_or(Malformed)?))
    }
}

fn write(out: &mut BytesMut, name: &str, event: &Object<'_>) {
    out.extend_from_slice(&named(name, &json::to_bytes(event)));
}
