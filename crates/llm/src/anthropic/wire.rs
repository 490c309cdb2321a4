//! Anthropic's request as it stands on the wire: what translation reads of it, and the rest by name.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::wire::{OneOrMany, Rest, Str};

#[derive(Deserialize)]
pub(super) struct Request<'a> {
    #[serde(rename = "model")]
    pub(super) _model: IgnoredAny,
    pub(super) max_tokens: u64,
    #[serde(borrow)]
    pub(super) messages: Vec<Turn<'a>>,
    #[serde(borrow, default)]
    pub(super) system: Option<OneOrMany<'a, Block<'a>>>,
    #[serde(borrow, default)]
    pub(super) tools: Option<Vec<Tool<'a>>>,
    #[serde(borrow, default)]
    pub(super) tool_choice: Option<ToolChoice<'a>>,
    #[serde(default)]
    pub(super) temperature: Option<f64>,
    #[serde(default)]
    pub(super) top_p: Option<f64>,
    #[serde(borrow, default)]
    pub(super) stop_sequences: Option<Vec<Str<'a>>>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(borrow, default)]
    pub(super) metadata: Option<Metadata<'a>>,
    #[serde(borrow, default)]
    pub(super) output_config: Option<OutputConfig<'a>>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<Thinking<'a>>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Deserialize)]
pub(super) struct Turn<'a> {
    #[serde(borrow)]
    pub(super) role: Str<'a>,
    #[serde(borrow)]
    pub(super) content: OneOrMany<'a, Block<'a>>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

/// A block of a request; which fields are set depends on `kind`.
#[derive(Deserialize)]
pub(super) struct Block<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) text: Option<Str<'a>>,
    /// Of `image` and `document`.
    #[serde(borrow, default)]
    pub(super) source: Option<Source<'a>>,
    #[serde(borrow, default)]
    pub(super) title: Option<Str<'a>>,
    /// Of `tool_use`.
    #[serde(borrow, default)]
    pub(super) id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
    /// Of `tool_result`.
    #[serde(borrow, default)]
    pub(super) tool_use_id: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) content: Option<OneOrMany<'a, Block<'a>>>,
    /// Of `thinking` and `redacted_thinking`, which are left out as a whole.
    #[serde(rename = "thinking", default)]
    _thinking: IgnoredAny,
    #[serde(rename = "signature", default)]
    _signature: IgnoredAny,
    #[serde(rename = "data", default)]
    _data: IgnoredAny,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Deserialize)]
pub(super) struct Source<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) media_type: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) data: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) url: Option<Str<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Tool<'a> {
    /// None or `custom` for functions; the names of the provider's own tools otherwise.
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow, default)]
    pub(super) description: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) input_schema: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) strict: Option<bool>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Deserialize)]
pub(super) struct ToolChoice<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) name: Option<Str<'a>>,
    #[serde(default)]
    pub(super) disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Metadata<'a> {
    #[serde(borrow, default)]
    pub(super) user_id: Option<Str<'a>>,
}

#[derive(Deserialize)]
pub(super) struct OutputConfig<'a> {
    #[serde(borrow, default)]
    pub(super) format: Option<OutputFormat<'a>>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Deserialize)]
pub(super) struct OutputFormat<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) schema: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Thinking<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
}
