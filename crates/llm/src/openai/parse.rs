//! Reads a whole OpenAI request into canonical form, for upstreams that speak another dialect.
//!
//! What the canonical form cannot express is either refused, naming the field (where ignoring it would change the
//! shape of the answer), or listed in [`ChatRequest::unknown`] (where it only tunes).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::wire;
use crate::wire::{OneOrMany, Str, note_rest, read_body};
use crate::{
    AssistantPart, ChatRequest, ClientError, Message, Part, ResponseFormat, Sampling, Tool, ToolCall, ToolChoice,
};

/// Reads `body`.
///
/// # Errors
/// A 400 that names the field at fault.
pub fn parse_request(body: &[u8]) -> Result<ChatRequest<'_>, ClientError> {
    convert(read_body(body)?)
}

fn convert(request: wire::Request<'_>) -> Result<ChatRequest<'_>, ClientError> {
    if request.n.is_some_and(|n| n != 1) {
        return Err(ClientError::unsupported("n", "this model gives one answer a request"));
    }
    if request.logprobs == Some(true) {
        return Err(ClientError::unsupported("logprobs", "this model gives no log probabilities"));
    }
    if request.modalities.is_some_and(|all| all.iter().any(|m| m.0 != "text")) {
        return Err(ClientError::unsupported("modalities", "this model answers with text only"));
    }
    if request.functions.is_some() {
        return Err(ClientError::unsupported("functions", "use tools"));
    }
    let mut unknown = Vec::new();
    note_rest(&mut unknown, "", &request.rest);
    let mut messages = Vec::with_capacity(request.messages.len());
    for (at, message) in request.messages.into_iter().enumerate() {
        note_rest(&mut unknown, "messages.", &message.rest);
        messages.push(convert_message(message, at)?);
    }
    Ok(ChatRequest {
        messages,
        tools: request.tools.unwrap_or_default().into_iter().enumerate().map(tool).collect::<Result<_, _>>()?,
        tool_choice: request.tool_choice.map(tool_choice).transpose()?,
        parallel_tool_calls: request.parallel_tool_calls,
        response_format: request.response_format.map_or(Ok(ResponseFormat::Text), response_format)?,
        sampling: Sampling {
            max_tokens: request.max_completion_tokens.or(request.max_tokens),
            temperature: request.temperature,
            top_p: request.top_p,
            stop: match request.stop {
                None => Vec::new(),
                Some(OneOrMany::One(text)) => vec![text],
                Some(OneOrMany::Many(texts)) => texts.into_iter().map(|text| text.0).collect(),
            },
        },
        end_user: request.safety_identifier.or(request.user).map(|id| id.0),
        stream: request.stream.unwrap_or(false),
        unknown,
    })
}

fn convert_message(message: wire::Message<'_>, at: usize) -> Result<Message<'_>, ClientError> {
    let content_path = format!("messages[{at}].content");
    match &*message.role.0 {
        "system" | "developer" => Ok(Message::System(texts(message.content, &content_path)?)),
        "user" => Ok(Message::User(user_parts(message.content, &content_path)?)),
        "assistant" => {
            let mut parts = assistant_parts(message.content, &content_path)?;
            parts.extend(message.refusal.map(|text| AssistantPart::Refusal(text.0)));
            let calls = message.tool_calls.unwrap_or_default().into_iter().enumerate();
            let tool_calls = calls
                .map(|(i, call)| tool_call(call, &format!("messages[{at}].tool_calls[{i}]")))
                .collect::<Result<_, _>>()?;
            Ok(Message::Assistant { parts, tool_calls })
        }
        "tool" => {
            let id = message.tool_call_id;
            let call_id =
                id.ok_or_else(|| ClientError::invalid(format!("messages[{at}].tool_call_id"), "is required"))?;
            Ok(Message::Tool { call_id: call_id.0, parts: texts(message.content, &content_path)? })
        }
        _ => Err(ClientError::invalid(
            format!("messages[{at}].role"),
            "must be one of system, developer, user, assistant, tool",
        )),
    }
}

/// The parts of a content; a plain string is one part, `null` is none.
fn each_part<'a, P>(
    content: Option<OneOrMany<'a, wire::Part<'a>>>,
    path: &str,
    text: impl Fn(Cow<'a, str>) -> P,
    other: impl Fn(wire::Part<'a>) -> Option<P>,
) -> Result<Vec<P>, ClientError> {
    match content {
        None => Ok(Vec::new()),
        Some(OneOrMany::One(one)) => Ok(vec![text(one)]),
        Some(OneOrMany::Many(parts)) => parts
            .into_iter()
            .enumerate()
            .map(|(i, part)| {
                let converted = match part {
                    wire::Part { kind, text: Some(words), .. } if kind.0 == "text" => Some(text(words.0)),
                    part => other(part),
                };
                let wrong =
                    || ClientError::unsupported(format!("{path}[{i}]"), "this kind of content is not supported here");
                converted.ok_or_else(wrong)
            })
            .collect(),
    }
}

fn texts<'a>(content: Option<OneOrMany<'a, wire::Part<'a>>>, path: &str) -> Result<Vec<Cow<'a, str>>, ClientError> {
    each_part(content, path, |text| text, |_| None)
}

fn user_parts<'a>(content: Option<OneOrMany<'a, wire::Part<'a>>>, path: &str) -> Result<Vec<Part<'a>>, ClientError> {
    each_part(content, path, Part::Text, |part| match (&*part.kind.0, part.image_url, part.file) {
        ("image_url", Some(image), _) => Some(Part::Image { url: image.url.0 }),
        ("file", _, Some(wire::File { file_data: Some(data), filename })) => {
            Some(Part::File { data: data.0, name: filename.map(|name| name.0) })
        }
        _ => None,
    })
}

fn assistant_parts<'a>(
    content: Option<OneOrMany<'a, wire::Part<'a>>>,
    path: &str,
) -> Result<Vec<AssistantPart<'a>>, ClientError> {
    each_part(content, path, AssistantPart::Text, |part| match (&*part.kind.0, part.refusal) {
        ("refusal", Some(text)) => Some(AssistantPart::Refusal(text.0)),
        _ => None,
    })
}

fn tool_call<'a>(call: wire::ToolCall<'a>, path: &str) -> Result<ToolCall<'a>, ClientError> {
    let unsupported = || ClientError::unsupported(path, "only function tools are supported by this model");
    if call.kind.is_some_and(|kind| kind.0 != "function") {
        return Err(unsupported());
    }
    let function = call.function.ok_or_else(unsupported)?;
    let written = function.arguments.map_or(Cow::Borrowed(""), |arguments| arguments.0);
    let written = if written.trim().is_empty() { Cow::Borrowed("{}") } else { written };
    let wrong = || ClientError::invalid(format!("{path}.function.arguments"), "must be a JSON object");
    let arguments = RawValue::from_string(written.into_owned()).map_err(|_| wrong())?;
    if !arguments.get().starts_with('{') {
        return Err(wrong());
    }
    Ok(ToolCall { id: call.id.0, name: function.name.0, arguments })
}

fn tool((at, tool): (usize, wire::Tool<'_>)) -> Result<Tool<'_>, ClientError> {
    match (tool.kind, tool.function) {
        (kind, Some(function)) if kind.as_ref().is_none_or(|kind| kind.0 == "function") => Ok(Tool {
            name: function.name.0,
            description: function.description.map(|text| text.0),
            parameters: function.parameters,
            strict: function.strict,
        }),
        _ => Err(ClientError::unsupported(format!("tools[{at}]"), "only function tools are supported by this model")),
    }
}

fn tool_choice(choice: wire::ToolChoice<'_>) -> Result<ToolChoice<'_>, ClientError> {
    match choice {
        wire::ToolChoice::Mode(mode) => match &*mode {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(ClientError::invalid("tool_choice", "must be auto, none, required or a named function")),
        },
        wire::ToolChoice::Named(wire::NamedChoice { kind: Str(kind), function: Some(function) })
            if kind == "function" =>
        {
            Ok(ToolChoice::Function(function.name.0))
        }
        wire::ToolChoice::Named(_) => {
            Err(ClientError::unsupported("tool_choice", "only named functions are supported by this model"))
        }
    }
}

fn response_format(format: wire::ResponseFormat<'_>) -> Result<ResponseFormat<'_>, ClientError> {
    match (&*format.kind.0, format.json_schema.and_then(|s| s.schema)) {
        ("text", _) => Ok(ResponseFormat::Text),
        ("json_object", _) => Ok(ResponseFormat::JsonObject),
        ("json_schema", Some(schema)) => Ok(ResponseFormat::JsonSchema(schema)),
        ("json_schema", None) => Err(ClientError::invalid("response_format.json_schema.schema", "is required")),
        _ => Err(ClientError::invalid("response_format.type", "must be text, json_object or json_schema")),
    }
}

#[cfg(test)]
mod tests;
