//! A whole answer in canonical form.

use std::borrow::Cow;

use crate::Usage;

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// A natural end or a stop text.
    Stop,
    /// The token limit or the context was reached.
    Length,
    /// The model called tools.
    ToolCalls,
    /// A content filter stepped in.
    ContentFilter,
}

impl FinishReason {
    /// OpenAI's `finish_reason`.
    #[must_use]
    pub const fn as_openai(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
        }
    }

    /// Anthropic's `stop_reason`. Which stop text ended an answer is not known here, so that none is named.
    #[must_use]
    pub const fn as_anthropic(self) -> &'static str {
        match self {
            Self::Stop => "end_turn",
            Self::Length => "max_tokens",
            Self::ToolCalls => "tool_use",
            Self::ContentFilter => "refusal",
        }
    }
}

/// A whole answer with one choice.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatResponse<'a> {
    /// The provider's id of the answer.
    pub id: Cow<'a, str>,
    /// The model that answered, as the provider names it.
    pub model: Cow<'a, str>,
    /// The text; `None` when there is none (only tool calls).
    pub text: Option<String>,
    /// Reasoning in words, where the provider gives it.
    pub reasoning: Option<String>,
    /// Calls: id, name and arguments (JSON text).
    pub tool_calls: Vec<(Cow<'a, str>, Cow<'a, str>, Cow<'a, str>)>,
    /// Why it ended.
    pub finish: FinishReason,
    /// Tokens used.
    pub usage: Usage,
}
