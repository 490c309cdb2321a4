//! Messages of a conversation, in canonical form: borrowed from the client's body where its strings have no escapes.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// One message. Roles that only differ in name between dialects (`system`, `developer`) are one variant.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// Instructions.
    System(Vec<Cow<'a, str>>),
    /// What the user said.
    User(Vec<Part<'a>>),
    /// What the model said.
    Assistant {
        /// Text and refusals in order.
        parts: Vec<AssistantPart<'a>>,
        /// Calls the model made.
        tool_calls: Vec<ToolCall<'a>>,
    },
    /// The result of one tool call.
    Tool {
        /// The id of the call.
        call_id: Cow<'a, str>,
        /// The result.
        parts: Vec<Cow<'a, str>>,
    },
}

/// A piece of a user message.
#[derive(Debug, Clone)]
pub enum Part<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// An image: a `data:` URL or an `http(s):` one.
    Image {
        /// The URL.
        url: Cow<'a, str>,
    },
    /// A file given inline as a `data:` URL.
    File {
        /// The URL.
        data: Cow<'a, str>,
        /// Its name.
        name: Option<Cow<'a, str>>,
    },
}

/// A piece of an assistant message.
#[derive(Debug, Clone)]
pub enum AssistantPart<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A refusal in words.
    Refusal(Cow<'a, str>),
}

/// A call the model made in an earlier turn.
#[derive(Debug, Clone)]
pub struct ToolCall<'a> {
    /// Its id, which the result names.
    pub id: Cow<'a, str>,
    /// The function.
    pub name: Cow<'a, str>,
    /// Its arguments: a JSON object, kept as written.
    pub arguments: Box<RawValue>,
}
