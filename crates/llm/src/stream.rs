//! Events of a streamed answer in canonical form.

use std::borrow::Cow;

use crate::{FinishReason, Usage};

/// One step of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent<'a> {
    /// The answer begins; says who speaks. Not content.
    Start,
    /// A piece of text.
    Text(Cow<'a, str>),
    /// A piece of reasoning.
    Reasoning(Cow<'a, str>),
    /// A tool call begins. `index` counts the calls of this answer from 0.
    ToolCallStart {
        /// Which call.
        index: u32,
        /// Its id.
        id: Cow<'a, str>,
        /// The function.
        name: Cow<'a, str>,
    },
    /// A piece of a call's arguments (JSON text).
    ToolCallArguments {
        /// Which call.
        index: u32,
        /// The piece.
        fragment: Cow<'a, str>,
    },
    /// Generation ended.
    Finish(FinishReason),
    /// Tokens used, cumulative.
    Usage(Usage),
}

impl StreamEvent<'_> {
    /// True when the event carries something the model wrote. Until the first such event nothing semantic has reached
    /// the client, and another target may still serve the request.
    #[must_use]
    pub fn is_content(&self) -> bool {
        match self {
            Self::Text(text) | Self::Reasoning(text) => !text.is_empty(),
            Self::ToolCallStart { .. } | Self::ToolCallArguments { .. } => true,
            Self::Start | Self::Finish(_) | Self::Usage(_) => false,
        }
    }
}
