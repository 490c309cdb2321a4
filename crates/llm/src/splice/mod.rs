//! One stream made of the pieces of several: what has reached the client of an answer, and how another target's stream goes
//! on where that ends.
//!
//! A [`Transcript`] reads along what is sent to the client, in the client's dialect. When the stream dies, it gives what was
//! said ([`Transcript::begun`], for the request to the next target) and a [`Splice`], which turns that target's events into
//! those of the same message: one id, one model, one role, one end; block indexes that go on; usage of all parts together.

mod anthropic;
mod object;
mod openai;
mod seam;

use bytes::{Bytes, BytesMut};
use meridian_sse::Framer;

use crate::{Begun, Dialect, Usage};
use object::Malformed;
use seam::Seam;

/// Most text that is kept of one answer: some 64,000 tokens, more than nearly all answers have. A thousand streams that
/// long hold 256 MiB, and only models that ask for it keep any.
pub const MAX_KEPT_BYTES: usize = 256 * 1024;

/// What has reached the client of one streamed answer.
pub struct Transcript {
    said: Said,
    form: Form,
}

/// What the dialect has besides the text.
enum Form {
    OpenAi(openai::Head),
    Anthropic(anthropic::Blocks),
}

/// The part that both dialects have.
#[derive(Clone, Default)]
struct Said {
    text: String,
    /// Events with text in them; each took a token at least.
    pieces: u64,
    /// The last that the upstream said of its tokens.
    reported: Option<Usage>,
    /// Something else than text was said, or too much of it, or the answer has ended.
    unfit: bool,
}

impl Said {
    fn text(&mut self, piece: &str) {
        if piece.is_empty() || self.unfit {
            return;
        }
        self.pieces += 1;
        if self.text.len() + piece.len() > MAX_KEPT_BYTES {
            self.unfit();
            return;
        }
        self.text.push_str(piece);
    }

    /// It cannot be continued any more: the text is of no use.
    fn unfit(&mut self) {
        self.unfit = true;
        self.text = String::new();
    }

    /// Tokens of what was said: what was reported, and never fewer than were seen. An upstream that dies takes the exact
    /// number with it.
    fn tokens(&self) -> u64 {
        self.reported.map_or(0, |usage| usage.completion_tokens).max(self.pieces)
    }

    /// Tokens of the client's own prompt, if the upstream has told.
    fn prompt(&self) -> Option<u64> {
        self.reported.map(|usage| usage.prompt_tokens).filter(|tokens| *tokens > 0)
    }

    /// How the prompt is told, given what the continuing upstream counted: that includes what was said.
    fn prompt_of(&self, counted: u64) -> u64 {
        self.prompt().unwrap_or_else(|| counted.saturating_sub(self.tokens()))
    }
}

impl Transcript {
    /// Of an answer of which nothing was sent yet.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        let form = match dialect {
            Dialect::OpenAi => Form::OpenAi(openai::Head::default()),
            Dialect::Anthropic => Form::Anthropic(anthropic::Blocks::default()),
        };
        Self { said: Said::default(), form }
    }

    /// Whole events go to the client now.
    pub fn add(&mut self, events: &Bytes) {
        if self.said.unfit {
            return;
        }
        let mut framer = Framer::default();
        framer.feed(events.clone());
        while let Ok(Some(event)) = framer.next_event() {
            let Some(data) = event.data() else { continue };
            let read = match &mut self.form {
                Form::OpenAi(head) => head.read(data, &mut self.said),
                Form::Anthropic(blocks) => blocks.read(data, &mut self.said),
            };
            if read.is_err() {
                self.said.unfit();
            }
        }
    }

    /// What was said, for a target that is to go on; `None` if that cannot be: it was not only text, too much, or all.
    #[must_use]
    pub fn begun(&self) -> Option<Begun<'_>> {
        let Said { text, unfit, .. } = &self.said;
        (!unfit).then(|| Begun { text: text.trim_end(), tokens: self.said.tokens() })
    }

    /// For the stream of a target that goes on.
    #[must_use]
    pub fn splice(&self) -> Splice {
        let said = Said { text: String::new(), ..self.said.clone() };
        let text = &self.said.text;
        let space = text.get(text.trim_end().len()..).unwrap_or_default();
        let form = match &self.form {
            Form::OpenAi(head) => SpliceForm::OpenAi(openai::Splice::new(head.clone())),
            Form::Anthropic(blocks) => SpliceForm::Anthropic(anthropic::Splice::new(blocks.clone())),
        };
        Splice { said, seam: Seam::new(space), form }
    }
}

/// What was said is a completion.
impl std::fmt::Debug for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcript").field("bytes", &self.said.text.len()).finish_non_exhaustive()
    }
}

/// Makes the events of a continuing target those of the message that was begun.
pub struct Splice {
    said: Said,
    seam: Seam,
    form: SpliceForm,
}

enum SpliceForm {
    OpenAi(openai::Splice),
    Anthropic(anthropic::Splice),
}

/// Events cannot be made part of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event does not fit into the stream that it continues")]
pub struct Unspliceable;

impl From<Malformed> for Unspliceable {
    fn from(_: Malformed) -> Self {
        Self
    }
}

impl Splice {
    /// Whole events of the continuing stream, in the client's dialect, as the client is to get them. May be empty.
    ///
    /// # Errors
    /// When an event is not what the dialect promises.
    pub fn rewrite(&mut self, events: &Bytes) -> Result<Bytes, Unspliceable> {
        let mut framer = Framer::default();
        framer.feed(events.clone());
        let mut out = BytesMut::new();
        while let Some(event) = framer.next_event().map_err(|_| Unspliceable)? {
            match &mut self.form {
                SpliceForm::OpenAi(splice) => splice.event(event, &self.said, &mut self.seam, &mut out)?,
                SpliceForm::Anthropic(splice) => splice.event(event, &self.said, &mut self.seam, &mut out)?,
            }
        }
        Ok(out.freeze())
    }
}

impl std::fmt::Debug for Splice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Splice").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
