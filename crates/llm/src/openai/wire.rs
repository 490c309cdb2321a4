//! OpenAI's request as it stands on the wire: what translation reads of it, and the rest by name.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, Visitor};
use serde_json::value::RawValue;

use crate::wire::{OneOrMany, Rest, Str};

#[derive(Deserialize)]
pub(super) struct Request<'a> {
    #[serde(rename = "model")]
    pub(super) _model: IgnoredAny,
    #[serde(borrow)]
    pub(super) messages: Vec<Message<'a>>,
    #[serde(borrow, default)]
    pub(super) tools: Option<Vec<Tool<'a>>>,
    #[serde(borrow, default)]
    pub(super) tool_choice: Option<ToolChoice<'a>>,
    #[serde(default)]
    pub(super) parallel_tool_calls: Option<bool>,
    #[serde(borrow, default)]
    pub(super) response_format: Option<ResponseFormat<'a>>,
    #[serde(default)]
    pub(super) max_tokens: Option<u64>,
    #[serde(default)]
    pub(super) max_completion_tokens: Option<u64>,
    #[serde(default)]
    pub(super) temperature: Option<f64>,
    #[serde(default)]
    pub(super) top_p: Option<f64>,
    #[serde(borrow, default)]
    pub(super) stop: Option<OneOrMany<'a, Str<'a>>>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(rename = "stream_options", default)]
    pub(super) _stream_options: IgnoredAny,
    #[serde(default)]
    pub(super) n: Option<u64>,
    #[serde(default)]
    pub(super) logprobs: Option<bool>,
    #[serde(borrow, default)]
    pub(super) modalities: Option<Vec<Str<'a>>>,
    #[serde(default)]
    pub(super) functions: Option<IgnoredAny>,
    #[serde(borrow, default)]
    pub(super) user: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) safety_identifier: Option<Str<'a>>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) role: Str<'a>,
    #[serde(borrow, default)]
    pub(super) content: Option<OneOrMany<'a, Part<'a>>>,
    #[serde(borrow, default)]
    pub(super) refusal: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<Vec<ToolCall<'a>>>,
    #[serde(borrow, default)]
    pub(super) tool_call_id: Option<Str<'a>>,
    #[serde(flatten)]
    pub(super) rest: Rest,
}

#[derive(Deserialize)]
pub(super) struct Part<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) text: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) refusal: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) image_url: Option<ImageUrl<'a>>,
    #[serde(borrow, default)]
    pub(super) file: Option<File<'a>>,
}

#[derive(Deserialize)]
pub(super) struct ImageUrl<'a> {
    #[serde(borrow)]
    pub(super) url: Str<'a>,
}

#[derive(Deserialize)]
pub(super) struct File<'a> {
    #[serde(borrow, default)]
    pub(super) file_data: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) filename: Option<Str<'a>>,
}

#[derive(Deserialize)]
pub(super) struct ToolCall<'a> {
    #[serde(borrow)]
    pub(super) id: Str<'a>,
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) function: Option<Call<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Call<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow, default)]
    pub(super) arguments: Option<Str<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Tool<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) function: Option<Function<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Function<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
    #[serde(borrow, default)]
    pub(super) description: Option<Str<'a>>,
    #[serde(borrow, default)]
    pub(super) parameters: Option<&'a RawValue>,
    #[serde(default)]
    pub(super) strict: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct NamedChoice<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) function: Option<FunctionName<'a>>,
}

#[derive(Deserialize)]
pub(super) struct FunctionName<'a> {
    #[serde(borrow)]
    pub(super) name: Str<'a>,
}

#[derive(Deserialize)]
pub(super) struct ResponseFormat<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Str<'a>,
    #[serde(borrow, default)]
    pub(super) json_schema: Option<JsonSchema<'a>>,
}

#[derive(Deserialize)]
pub(super) struct JsonSchema<'a> {
    #[serde(borrow, default)]
    pub(super) schema: Option<&'a RawValue>,
}

/// `"auto"` and its like, or an object that names a function.
pub(super) enum ToolChoice<'a> {
    Mode(Cow<'a, str>),
    Named(NamedChoice<'a>),
}

impl<'de: 'a, 'a> Deserialize<'de> for ToolChoice<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<'a>(PhantomData<&'a str>);
        impl<'de: 'a, 'a> Visitor<'de> for Either<'a> {
            type Value = ToolChoice<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(ToolChoice::Mode(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ToolChoice::Mode(Cow::Owned(text.to_owned())))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let named = NamedChoice::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(ToolChoice::Named(named))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}
