//! What the simulator needs to know of a request, whichever the dialect.

use serde::Deserialize;
use serde_json::Value;

/// Bytes of text that stand for one token when a prompt is counted: the usual rule of thumb for English.
const BYTES_PER_TOKEN: u64 = 4;

/// A request, as far as the answer depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// OpenAI's `stream_options.include_usage`.
    pub(crate) include_usage: bool,
    /// Cap on the tokens of the answer.
    pub(crate) max_tokens: Option<u32>,
    pub(crate) prompt: Prompt,
    /// The tool to call, if the answer is a tool call.
    pub(crate) tool: Option<ToolUse>,
    /// The document to answer when the request wants JSON.
    pub(crate) json: Option<Value>,
}

/// The conversation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prompt {
    /// Text of the last user message.
    pub(crate) last_user: String,
    /// Bytes of all text in all messages.
    pub(crate) text_bytes: u64,
    /// The last message's text, if it is the assistant's own: the answer goes on where it ends.
    pub(crate) prefill: Option<String>,
    /// Whether a user's text is the last thing said, and not a tool's result.
    pub(crate) user_spoke_last: bool,
}

impl Prompt {
    /// Tokens of the prompt, as usage shows them.
    pub(crate) fn tokens(&self) -> u64 {
        self.text_bytes.div_ceil(BYTES_PER_TOKEN).max(1)
    }
}

/// A tool call: what is answered instead of text.
#[derive(Clone, Debug)]
pub(crate) struct ToolUse {
    pub(crate) name: String,
    pub(crate) arguments: Value,
}

/// A tool on offer.
pub(crate) struct Offer<'a> {
    pub(crate) name: &'a str,
    pub(crate) schema: Option<&'a Value>,
}

/// How the request wants tools to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// As the model likes: it calls a tool when the user says "call NAME".
    Auto,
    /// Not at all.
    None,
    /// Some tool; the simulator takes the first.
    Any,
    /// This one.
    Named(&'a str),
}

/// The tool that the answer calls.
pub(crate) fn choose(offers: &[Offer<'_>], choice: Choice<'_>, prompt: &Prompt) -> Option<ToolUse> {
    let chosen = match choice {
        Choice::None => None,
        Choice::Any => offers.first(),
        Choice::Named(name) => offers.iter().find(|offer| offer.name == name),
        Choice::Auto if prompt.user_spoke_last => asked_for(&prompt.last_user, offers),
        Choice::Auto => None,
    }?;
    Some(ToolUse { name: chosen.name.to_owned(), arguments: super::super::answer::sample(chosen.schema) })
}

fn asked_for<'a, 'o>(text: &str, offers: &'o [Offer<'a>]) -> Option<&'o Offer<'a>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let called = words.windows(2).find_map(|pair| match pair {
        [verb, name] if verb.eq_ignore_ascii_case("call") => {
            Some(name.trim_matches(|c: char| c.is_ascii_punctuation()))
        }
        _ => None,
    })?;
    // The name as it stands, too: tool names may end in punctuation such as `_`.
    offers.iter().find(|offer| offer.name == called || text.ends_with(&format!("call {}", offer.name)))
}

/// Message content: a string, or parts of which only text matters here.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// One part of a message; other members are not looked at.
#[derive(Debug, Deserialize)]
pub(crate) struct Part {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) text: Option<String>,
    /// Anthropic: of a `tool_use` block.
    #[serde(default)]
    pub(crate) id: Option<String>,
    /// Anthropic: of a `tool_result` block.
    #[serde(default)]
    pub(crate) tool_use_id: Option<String>,
}

impl Content {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => {
                let texts: Vec<&str> = parts.iter().filter_map(|part| part.text.as_deref()).collect();
                texts.join(" ")
            }
        }
    }

    pub(crate) fn parts(&self) -> &[Part] {
        match self {
            Self::Text(_) => &[],
            Self::Parts(parts) => parts,
        }
    }
}
