//! A chat request in canonical form: what translation to another dialect needs.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::Message;

/// A chat request. Strings are borrowed from the client's body where possible.
#[derive(Debug, Clone)]
pub struct ChatRequest<'a> {
    /// The conversation.
    pub messages: Vec<Message<'a>>,
    /// Functions the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Whether it must.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether it may call several at once.
    pub parallel_tool_calls: Option<bool>,
    /// The form of the answer.
    pub response_format: ResponseFormat<'a>,
    /// Limits and randomness.
    pub sampling: Sampling<'a>,
    /// An opaque id of the end user, for the provider's abuse detection.
    pub end_user: Option<Cow<'a, str>>,
    /// Streamed or whole.
    pub stream: bool,
    /// Names of parameters that were sent but have no canonical form, in the order sent, each a plain identifier.
    pub unknown: Vec<String>,
}

/// Limits and randomness of generation.
#[derive(Debug, Clone, Default)]
pub struct Sampling<'a> {
    /// Most tokens to generate.
    pub max_tokens: Option<u64>,
    /// 0 to 2 in OpenAI's scale.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// Texts that end generation.
    pub stop: Vec<Cow<'a, str>>,
}

/// A function the model may call.
#[derive(Debug, Clone)]
pub struct Tool<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// What it does.
    pub description: Option<Cow<'a, str>>,
    /// JSON schema of its arguments, as written; `None` for no arguments.
    pub parameters: Option<&'a RawValue>,
    /// Whether arguments must follow the schema.
    pub strict: Option<bool>,
}

/// Whether the model must call a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// The model decides.
    Auto,
    /// It must not.
    None,
    /// It must call some tool.
    Required,
    /// It must call this one.
    Function(Cow<'a, str>),
}

/// The form of the answer.
#[derive(Debug, Clone, Default)]
pub enum ResponseFormat<'a> {
    /// Free text.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that follows a schema, kept as written.
    JsonSchema(&'a RawValue),
}
