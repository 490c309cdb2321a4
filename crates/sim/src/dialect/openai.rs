//! OpenAI's chat completions: request reading, documents and events.

use std::sync::LazyLock;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::call::{Choice, Content, Offer, choose};
use super::{Call, Events, Identity, Prompt, Refusal, usage};
use crate::answer::{Finish, Reply, sample};
use crate::template::Template;

macro_rules! fixture {
    ($file:literal) => {
        include_str!(concat!("../../fixtures/openai/", $file))
    };
}

const ROLES: [&str; 6] = ["developer", "system", "user", "assistant", "tool", "function"];

/// Events for a stream whose request did not set `include_usage`: no chunk has the member.
static PLAIN: LazyLock<Chunks> = LazyLock::new(|| Chunks::new(|source| Template::json_without(source, "usage")));
/// Events for one that did: each chunk has it, null but in the last.
static WITH_USAGE: LazyLock<Chunks> = LazyLock::new(|| Chunks::new(Template::json));
static DOCUMENT: LazyLock<Template> = LazyLock::new(|| Template::json(fixture!("completion.json")));
static TOOL_DOCUMENT: LazyLock<Template> = LazyLock::new(|| Template::json(fixture!("completion_tool.json")));

struct Chunks {
    role: Template,
    content: Template,
    tool_start: Template,
    tool_arguments: Template,
    finish: Template,
    usage: Template,
}

impl Chunks {
    fn new(compile: impl Fn(&str) -> Template) -> Self {
        let event = |template: Template| template.framed("data: ", "\n\n");
        Self {
            role: event(compile(fixture!("chunk_role.json"))),
            content: event(compile(fixture!("chunk_content.json"))),
            tool_start: event(compile(fixture!("chunk_tool_start.json"))),
            tool_arguments: event(compile(fixture!("chunk_tool_arguments.json"))),
            finish: event(compile(fixture!("chunk_finish.json"))),
            usage: event(Template::json(fixture!("chunk_usage.json"))),
        }
    }
}

#[derive(Deserialize)]
struct Body {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    max_completion_tokens: Option<u32>,
    #[serde(default)]
    n: Option<u32>,
    #[serde(default)]
    tools: Vec<Tool>,
    #[serde(default)]
    tool_choice: Option<Value>,
    #[serde(default)]
    response_format: Option<Value>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default)]
    tool_calls: Vec<CallId>,
    #[serde(default)]
    tool_call_id: Option<String>,
}

#[derive(Deserialize)]
struct CallId {
    id: String,
}

#[derive(Deserialize)]
struct Tool {
    #[serde(default)]
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    #[serde(default)]
    parameters: Option<Value>,
}

/// Reads a request as the provider would, and refuses what it would refuse.
pub(super) fn read(body: &[u8]) -> Result<Call, Refusal> {
    let body: Body = serde_json::from_slice(body).map_err(|error| Refusal::invalid(error.to_string(), None))?;
    if body.messages.is_empty() {
        return Err(Refusal::invalid("Invalid 'messages': empty array.", Some("messages")));
    }
    if body.n.is_some_and(|n| n != 1) {
        return Err(Refusal::invalid("the simulator answers one choice: n must be 1", Some("n")));
    }
    if body.stream_options.is_some() && body.stream != Some(true) {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Refusal::invalid(message, Some("stream_options")));
    }
    let prompt = prompt(&body.messages)?;
    let offers: Vec<Offer<'_>> = body
        .tools
        .iter()
        .filter_map(|tool| tool.function.as_ref())
        .map(|function| Offer { name: &function.name, schema: function.parameters.as_ref() })
        .collect();
    let choice = match &body.tool_choice {
        Some(Value::String(word)) if word == "none" => Choice::None,
        Some(Value::String(word)) if word == "required" => Choice::Any,
        Some(choice) => choice.pointer("/function/name").and_then(Value::as_str).map_or(Choice::Auto, Choice::Named),
        None => Choice::Auto,
    };
    let tool = choose(&offers, choice, &prompt);
    Ok(Call {
        stream: body.stream.unwrap_or(false),
        include_usage: body.stream_options.is_some_and(|options| options.include_usage),
        max_tokens: body.max_completion_tokens.or(body.max_tokens),
        json: body.response_format.as_ref().and_then(wanted_json),
        model: body.model,
        prompt,
        tool,
    })
}

fn wanted_json(format: &Value) -> Option<Value> {
    match format.get("type").and_then(Value::as_str) {
        Some("json_schema") => Some(sample(format.pointer("/json_schema/schema"))),
        Some("json_object") => Some(sample(None)),
        _ => None,
    }
}

fn prompt(messages: &[Message]) -> Result<Prompt, Refusal> {
    let mut prompt = Prompt::default();
    let mut open_calls: Vec<&str> = Vec::new();
    for message in messages {
        let role = message.role.as_str();
        if !ROLES.contains(&role) {
            return Err(Refusal::invalid(format!("Invalid value: '{role}'."), Some("messages")));
        }
        let answered = message.tool_call_id.as_deref();
        if role == "tool" && !answered.is_some_and(|id| open_calls.contains(&id)) {
            let message = "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'.";
            return Err(Refusal::invalid(message, Some("messages")));
        }
        open_calls.extend(message.tool_calls.iter().map(|call| call.id.as_str()));
        let text = message.content.as_ref().map(Content::text).unwrap_or_default();
        prompt.text_bytes += text.len() as u64;
        prompt.user_spoke_last = role == "user";
        prompt.prefill = (role == "assistant" && message.tool_calls.is_empty()).then(|| text.clone());
        if role == "user" {
            prompt.last_user = text;
        }
    }
    Ok(prompt)
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Tool => "tool_calls",
        Finish::Refusal => "content_filter",
    }
}

fn values(call: &Call, reply: &Reply, identity: &Identity) -> Vec<(&'static str, Value)> {
    let mut values = vec![
        ("id", format!("chatcmpl-{}", identity.digits).into()),
        ("created", identity.created.into()),
        ("model", call.model.as_str().into()),
        ("finish_reason", finish_reason(reply.finish()).into()),
    ];
    values.extend(usage(call, reply));
    if let Some(tool) = &call.tool {
        values.push(("call_id", format!("call_{}", identity.digits).into()));
        values.push(("tool", tool.name.as_str().into()));
    }
    values
}

pub(super) fn document(call: &Call, reply: &Reply, identity: &Identity) -> Bytes {
    let mut values = values(call, reply, identity);
    let text = reply.text();
    match &call.tool {
        Some(_) => {
            values.push(("arguments", text.into()));
            TOOL_DOCUMENT.render(&values)
        }
        None => {
            values.push(("content", text.into()));
            DOCUMENT.render(&values)
        }
    }
}

pub(super) fn events(call: &Call, reply: &Reply, identity: &Identity) -> Events {
    let chunks: &Chunks = if call.include_usage { &WITH_USAGE } else { &PLAIN };
    let values = values(call, reply, identity);
    let (opening, piece) = match &call.tool {
        Some(_) => (&chunks.tool_start, &chunks.tool_arguments),
        None => (&chunks.role, &chunks.content),
    };
    let mut closing = vec![chunks.finish.render(&values)];
    if call.include_usage {
        closing.push(chunks.usage.render(&values));
    }
    Events {
        opening: vec![opening.render(&values)],
        piece: piece.bind(&values),
        closing,
        terminator: Bytes::from_static(b"data: [DONE]\n\n"),
        ping: Bytes::from_static(b": keep-alive\n\n"),
        malformed: Bytes::from_static(
            b"data: {\"id\":\"chatcmpl-broken\",\"object\":\"chat.completion.chunk\",\"choi\n\n",
        ),
    }
}

pub(super) fn prompt_filter() -> Bytes {
    Template::json(fixture!("chunk_prompt_filter.json")).framed("data: ", "\n\n").render(&[])
}

pub(super) fn models(models: &[String]) -> Bytes {
    let data: Vec<Value> = models.iter().filter_map(|name| serde_json::from_slice(&model(name)).ok()).collect();
    Template::json(fixture!("models.json")).render(&[("data", data.into())])
}

pub(super) fn model(model: &str) -> Bytes {
    Template::json(fixture!("model.json")).render(&[("model", model.into())])
}
