//! Chat completion chunks: what they say, and how they become chunks of another completion.

use bytes::BytesMut;
use meridian_sse::{Event, write_data};
use serde_json::value::{RawValue, to_raw_value};

use super::object::{self, Malformed, Object};
use super::{Said, Seam};
use crate::json;
use crate::openai::{ChunkData, inspect_chunk};

/// What all chunks of one completion share.
#[derive(Clone, Default)]
pub(super) struct Head {
    id: Option<String>,
    model: Option<String>,
    created: Option<u64>,
}

impl Head {
    /// Reads a chunk that goes to the client.
    pub(super) fn read(&mut self, data: &[u8], said: &mut Said) -> Result<(), Malformed> {
        let facts = match inspect_chunk(data)? {
            ChunkData::Chunk(facts) => facts,
            ChunkData::Done => {
                said.unfit();
                return Ok(());
            }
        };
        said.reported = facts.usage.or(said.reported);
        // Only the first of several answers is kept track of.
        if facts.finished != 0 || facts.choices > 1 {
            said.unfit();
            return Ok(());
        }
        let chunk = object::read(data)?;
        if self.id.is_none() {
            self.id = object::string(&chunk, "id")?;
            self.model = object::string(&chunk, "model")?;
            self.created = object::number(&chunk, "created");
        }
        for choice in choices(&chunk)? {
            let delta = object::inner(&choice, "delta")?;
            if object::carries(&choice, "logprobs") || object::carries_besides(&delta, &["role", "content"]) {
                said.unfit();
                return Ok(());
            }
            said.text(&object::string(&delta, "content")?.unwrap_or_default());
        }
        Ok(())
    }
}

impl Head {
    /// Makes a chunk one of this completion; what imitations left out stays as it is.
    fn sign(&self, chunk: &mut Object<'_>) -> Result<(), Malformed> {
        if let Some(id) = &self.id {
            object::set(chunk, "id", id)?;
        }
        if let Some(model) = &self.model {
            object::set(chunk, "model", model)?;
        }
        if let Some(created) = &self.created {
            object::set(chunk, "created", created)?;
        }
        Ok(())
    }
}

/// Turns the chunks of one completion into chunks of the one that it continues.
pub(super) struct Splice {
    head: Head,
}

impl Splice {
    pub(super) const fn new(head: Head) -> Self {
        Self { head }
    }

    pub(super) fn event(
        &self,
        event: Event,
        said: &Said,
        seam: &mut Seam,
        out: &mut BytesMut,
    ) -> Result<(), Malformed> {
        let facts = match event.data().map(|data| inspect_chunk(data)).transpose()? {
            Some(ChunkData::Chunk(facts)) => facts,
            // A comment, or the end mark.
            None | Some(ChunkData::Done) => {
                out.extend_from_slice(event.raw());
                return Ok(());
            }
        };
        let data = event.data().map(|data| &**data).unwrap_or_default();
        let original = object::read(data)?;
        let mut chunk = original.clone();
        let mut says = false;
        let mut rewritten = Vec::new();
        for choice in choices(&original)? {
            says |= object::carries(&choice, "finish_reason");
            let delta = delta(&choice, seam)?;
            says |= object::carries_besides(&delta, &[]);
            let mut choice = choice.clone();
            object::set(&mut choice, "delta", &delta)?;
            rewritten.push(to_raw_value(&choice)?);
        }
        if let Some(usage) = facts.usage {
            says = true;
            let mut members = object::inner(&original, "usage")?;
            let prompt = said.prompt_of(usage.prompt_tokens);
            let completion = usage.completion_tokens.saturating_add(said.tokens());
            object::set(&mut members, "prompt_tokens", &prompt)?;
            object::set(&mut members, "completion_tokens", &completion)?;
            object::set(&mut members, "total_tokens", &prompt.saturating_add(completion))?;
            object::set(&mut chunk, "usage", &members)?;
        }
        // The role again, and start-up events: the client has seen its own.
        if !says {
            return Ok(());
        }
        object::set(&mut chunk, "choices", &rewritten)?;
        self.head.sign(&mut chunk)?;
        write_data(out, &json::to_bytes(&chunk));
        Ok(())
    }
}

/// What a choice adds, without its role and without what its text repeats.
fn delta<'a>(choice: &'a Object<'_>, seam: &mut Seam) -> Result<Object<'a>, Malformed> {
    let mut delta = object::inner(choice, "delta")?;
    delta.remove("role");
    // Half a surrogate pair cannot be read, and repeats no white space.
    if let Ok(Some(text)) = object::string(&delta, "content") {
        object::set(&mut delta, "content", &seam.join(&text))?;
    }
    Ok(delta)
}

fn choices<'a>(chunk: &'a Object<'_>) -> Result<Vec<Object<'a>>, Malformed> {
    let Some(list) = chunk.get("choices").filter(|list| list.get().starts_with('[')) else { return Ok(Vec::new()) };
    let list: Vec<&'a RawValue> = serde_json::from_str(list.get())?;
    list.into_iter().map(|choice| object::read(choice.get().as_bytes())).collect()
}
