//! Anthropic's messages: request reading, documents and events.

use std::sync::LazyLock;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::call::{Choice, Content, Offer, choose};
use super::{Call, Events, Identity, Prompt, Refusal, usage};
use crate::answer::{Finish, Reply};
use crate::template::Template;

macro_rules! fixture {
    ($file:literal) => {
        include_str!(concat!("../../fixtures/anthropic/", $file))
    };
}

static DOCUMENT: LazyLock<Template> = LazyLock::new(|| Template::json(fixture!("message.json")));
static TOOL_DOCUMENT: LazyLock<Template> = LazyLock::new(|| Template::json(fixture!("message_tool.json")));
static EVENTS: LazyLock<EventSet> = LazyLock::new(|| EventSet {
    message_start: event("message_start", fixture!("message_start.json")),
    ping: event("ping", fixture!("ping.json")),
    text_start: event("content_block_start", fixture!("text_start.json")),
    text_delta: event("content_block_delta", fixture!("text_delta.json")),
    tool_start: event("content_block_start", fixture!("tool_start.json")),
    tool_delta: event("content_block_delta", fixture!("tool_delta.json")),
    block_stop: event("content_block_stop", fixture!("block_stop.json")),
    message_delta: event("message_delta", fixture!("message_delta.json")),
    message_stop: event("message_stop", fixture!("message_stop.json")),
});

struct EventSet {
    message_start: Template,
    ping: Template,
    text_start: Template,
    text_delta: Template,
    tool_start: Template,
    tool_delta: Template,
    block_stop: Template,
    message_delta: Template,
    message_stop: Template,
}

fn event(name: &str, source: &str) -> Template {
    Template::json(source).framed(&format!("event: {name}\ndata: "), "\n\n")
}

#[derive(Deserialize)]
struct Body {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    max_tokens: Option<u32>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    system: Option<Content>,
    #[serde(default)]
    tools: Vec<Tool>,
    #[serde(default)]
    tool_choice: Option<ToolChoice>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Content,
}

#[derive(Deserialize)]
struct Tool {
    name: String,
    #[serde(default)]
    input_schema: Option<Value>,
}

#[derive(Deserialize)]
struct ToolChoice {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
}

/// Reads a request as the provider would, and refuses what it would refuse. `max_tokens` is checked by the caller, because
/// `count_tokens` takes none.
pub(super) fn read(body: &[u8]) -> Result<Call, Refusal> {
    let body: Body = serde_json::from_slice(body).map_err(|error| Refusal::invalid(error.to_string(), None))?;
    let prompt = prompt(&body)?;
    let offers: Vec<Offer<'_>> =
        body.tools.iter().map(|tool| Offer { name: &tool.name, schema: tool.input_schema.as_ref() }).collect();
    let choice = match &body.tool_choice {
        Some(choice) => match choice.kind.as_str() {
            "any" => Choice::Any,
            "tool" => Choice::Named(&choice.name),
            "none" => Choice::None,
            _ => Choice::Auto,
        },
        None => Choice::Auto,
    };
    let tool = choose(&offers, choice, &prompt);
    Ok(Call {
        model: body.model,
        stream: body.stream,
        include_usage: true,
        max_tokens: body.max_tokens,
        prompt,
        tool,
        json: None,
    })
}

fn prompt(body: &Body) -> Result<Prompt, Refusal> {
    let invalid = |message: String| Err(Refusal::invalid(message, None));
    if body.messages.is_empty() {
        return invalid("messages: at least one message is required".into());
    }
    let text_bytes = body.system.as_ref().map_or(0, |system| system.text().len() as u64);
    let mut prompt = Prompt { text_bytes, ..Prompt::default() };
    let mut uses: Vec<&str> = Vec::new();
    for (index, message) in body.messages.iter().enumerate() {
        let role = message.role.as_str();
        if !["user", "assistant"].contains(&role) {
            return invalid(format!("messages.{index}.role: Input should be 'user' or 'assistant'"));
        }
        let parts = message.content.parts();
        let results: Vec<&str> = parts.iter().filter_map(|part| part.tool_use_id.as_deref()).collect();
        // Every use must be answered by the very next message, and nothing else may be answered.
        if let Some(unanswered) = uses.iter().find(|id| !results.contains(*id)) {
            return invalid(format!(
                "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: {unanswered}"
            ));
        }
        if let Some(unasked) = results.iter().find(|id| !uses.contains(*id)) {
            return invalid(format!(
                "messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {unasked}"
            ));
        }
        uses = parts.iter().filter(|part| part.kind == "tool_use").filter_map(|part| part.id.as_deref()).collect();
        let text = message.content.text();
        prompt.text_bytes += text.len() as u64;
        prompt.user_spoke_last = role == "user" && results.is_empty();
        prompt.prefill = (role == "assistant").then(|| text.clone());
        if role == "user" && !text.is_empty() {
            prompt.last_user = text;
        }
    }
    if prompt.prefill.as_ref().is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return invalid("messages: final assistant content cannot end with trailing whitespace".into());
    }
    Ok(prompt)
}

fn stop_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Tool => "tool_use",
        Finish::Refusal => "refusal",
    }
}

fn values(call: &Call, reply: &Reply, identity: &Identity) -> Vec<(&'static str, Value)> {
    let mut values = vec![
        ("id", format!("msg_{}", identity.digits).into()),
        ("model", call.model.as_str().into()),
        ("finish_reason", stop_reason(reply.finish()).into()),
    ];
    values.extend(usage(call, reply));
    if let Some(tool) = &call.tool {
        values.push(("call_id", format!("toolu_{}", identity.digits).into()));
        values.push(("tool", tool.name.as_str().into()));
        values.push(("input", tool.arguments.clone()));
    }
    values
}

pub(super) fn document(call: &Call, reply: &Reply, identity: &Identity) -> Bytes {
    let mut values = values(call, reply, identity);
    if call.tool.is_some() {
        return TOOL_DOCUMENT.render(&values);
    }
    values.push(("content", reply.text().into()));
    DOCUMENT.render(&values)
}

pub(super) fn events(call: &Call, reply: &Reply, identity: &Identity) -> Events {
    let set: &EventSet = &EVENTS;
    let values = values(call, reply, identity);
    let (start, piece) = match &call.tool {
        Some(_) => (&set.tool_start, &set.tool_delta),
        None => (&set.text_start, &set.text_delta),
    };
    let ping = set.ping.render(&[]);
    Events {
        opening: vec![set.message_start.render(&values), start.render(&values), ping.clone()],
        piece: piece.bind(&values),
        closing: vec![set.block_stop.render(&[]), set.message_delta.render(&values)],
        terminator: set.message_stop.render(&[]),
        ping,
        malformed: Bytes::from_static(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"ind\n\n"),
    }
}

pub(super) fn count_tokens(call: &Call) -> Bytes {
    Template::json(fixture!("count_tokens.json")).render(&[("prompt_tokens", call.prompt.tokens().into())])
}

pub(super) fn models(models: &[String]) -> Bytes {
    let data: Vec<Value> = models.iter().filter_map(|name| serde_json::from_slice(&model(name)).ok()).collect();
    let id = |model: Option<&String>| model.map_or(Value::Null, |model| model.as_str().into());
    Template::json(fixture!("models.json")).render(&[
        ("first_id", id(models.first())),
        ("last_id", id(models.last())),
        ("data", data.into()),
    ])
}

pub(super) fn model(model: &str) -> Bytes {
    Template::json(fixture!("model.json")).render(&[("model", model.into())])
}
